"""A study as one YAML file, parsed once into frozen values with every fault named at once.

The only home of pydantic and of YAML: what comes from outside is checked here and nowhere else, so that the rest of
the library takes plain frozen values. It may import what lies below it (`automl.data` for `open_dataset`); it knows
no particular search space, so whether a width or a dimension exists is said by `search_spaces.joint`.
"""

from automl.study_spec.document import (
    is_factory,
    load_study_spec,
    open_dataset,
    parse_override,
    parse_study_spec,
    shipped_studies,
)
from automl.study_spec.parts import INDECISIVE, OURS, DataSpec, StudySpec
from automl.study_spec.values import Range

__all__ = [
    "INDECISIVE",
    "OURS",
    "DataSpec",
    "Range",
    "StudySpec",
    "is_factory",
    "load_study_spec",
    "open_dataset",
    "parse_override",
    "parse_study_spec",
    "shipped_studies",
]
