"""The parts of a study as frozen values; what each word of a study file means is said where it is declared."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from automl import plugins
from automl.outcome import OBJECTIVES
from automl.study_spec.methods import (
    CRITERIA,
    DistillationSpec,
    ModelSpec,
    PruningSpec,
    QuantizationSpec,
    Runtimes,
    TeacherSpec,
)
from automl.study_spec.names import named
from automl.study_spec.search import METHODS, SearchSpec, TrackingSpec
from automl.study_spec.values import (
    AboveZero,
    BelowOne,
    Countable,
    NotNegative,
    Part,
    Positive,
    Real,
    RealEntry,
    Seed,
    Share,
    Whole,
    WholeEntry,
)

INDECISIVE = (  # may change when a study goes on
    "name", "budget", "storage", "search.workers", "search.executor", "search.ray", "search.timeout_seconds",
    "tracking",
)  # fmt: skip
LATER = (  # keys that a study's digest leaves out where they have their defaults: older studies do not know them
    "model", "pruning", "quantization", "target.runtimes", "distillation.methods", "distillation.unlabelled",
    "distillation.data", "teacher.others", "teacher.assistant", "training.start", "data.length", "data.vocabulary",
    "search.stopping",
)  # fmt: skip

SOURCES = ("digits", "npz", "folder", "text")
SPACE = "darts_cells"
OURS: Mapping[str, tuple[str, ...]] = {  # the names of parts that no plugin may have, by group of entry points
    plugins.SPACES: (SPACE,), plugins.SAMPLERS: METHODS, plugins.CRITERIA: CRITERIA,
    plugins.TARGETS: ("cpu", "cuda", "recorded"), plugins.DATASETS: SOURCES,
}  # fmt: skip


class DataSpec(Part):
    """What to learn from, and how it is split; `seed` decides the splits and the subsets of the search.

    `source` is one of `SOURCES`, or a plugin's. `resize` is the shorter side in pixels that images of a folder are
    brought to before a square is cut from their centre. The limits keep a seeded, stratified subset for the search;
    finalists train on everything. `length` (in tokens) and `vocabulary` are those of text.
    """

    source: Annotated[str, named(plugins.DATASETS, SOURCES)]
    path: Path | None = None
    validation: Share = 0.2
    test: Share = 0.2
    resize: Annotated[Whole, Field(ge=4, le=1024)] | None = None
    train_limit: Positive | None = None
    validation_limit: Positive | None = None
    augmentation: Literal["shift", "shift_flip", "none"] = "shift"
    seed: Seed = 0
    length: Annotated[Whole, Field(ge=4, le=4096)] | None = None
    vocabulary: Annotated[Whole, Field(ge=258, le=1_000_000)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _bears_no_shift(cls, given: Any) -> Any:
        """Leave texts as they are where nothing is said: what shifts an image means nothing to them."""
        if isinstance(given, Mapping) and given.get("source") == "text":
            return {"augmentation": "none", **given}
        return given

    @model_validator(mode="after")
    def _leaves_something(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError("split so that validation + test are below 1")
        if self.resize is not None and self.source in SOURCES and self.source != "folder":
            raise ValueError("without resize where source is not folder")
        if self.source != "text" and (self.length is not None or self.vocabulary is not None):
            raise ValueError("without length and vocabulary where source is not text")
        return self


class TargetSpec(Part):
    """The device: cpu, cuda, recorded:FILE, or a plugin's NAME or NAME:ARGUMENT.

    Kept widths are rounded to `channel_multiple`. More than one of `runtimes` make the runtime that serves the file a
    dimension.
    """

    name: str = "cpu"
    batch: Positive = 1
    channel_multiple: Positive = 16
    runtime: Literal["onnxruntime"] = "onnxruntime"  # of the study's own measurements, such as a teacher's
    runtimes: Runtimes = ("onnxruntime",)


class SpaceSpec(Part):
    """Start widths, numbers of cells, and what the user knows: `fix` a dimension or `allow` some of its choices.

    `name` is ours, a plugin's, or `package.module:SPACE`; one that is not ours has its own widths and cells.
    """

    name: Annotated[str, Field(min_length=1)] = SPACE
    widths: Annotated[tuple[Positive, ...], Field(min_length=1)] = (16, 32, 48)
    cells: Annotated[tuple[Annotated[Whole, Field(ge=2, le=40)], ...], Field(min_length=1)] = (3, 4, 5)
    fix: dict[str, int | float | str] = Field(default_factory=dict)
    allow: dict[str, tuple[int | float | str, ...]] = Field(default_factory=dict)


class TrainingSpec(Part):
    """Each hyperparameter is a value, a list of values, or a range; more than one value make it a dimension.

    With `start: teacher` a candidate whose unpruned network is the teacher's begins with the teacher's weights.
    """

    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Annotated[RealEntry, AboveZero] = 3.0e-3
    weight_decay: Annotated[RealEntry, NotNegative] = 5.0e-4
    batch_size: Annotated[WholeEntry, Countable] = 64
    epochs: Annotated[WholeEntry, Countable] = 10
    dropout: Annotated[RealEntry, BelowOne] = 0.0
    label_smoothing: Annotated[RealEntry, BelowOne] = 0.0
    clip_norm: Annotated[RealEntry, NotNegative] = 5.0
    start: Literal["scratch", "teacher"] = "scratch"


class LimitsSpec(Part):
    """What a candidate must not exceed; the latency is checked before any training."""

    latency_ms: Annotated[Real, Field(gt=0)] | None = None
    size_bytes: Annotated[Real, Field(gt=0)] | None = None

    def bounds(self) -> dict[str, float]:
        """Return the limits that are given."""
        return {name: value for name, value in self.model_dump().items() if value is not None}


class BudgetSpec(Part):
    """Whichever comes first ends the search: all trials, those that were trained, or seconds of clock time.

    `seconds` counts the whole study: teacher, search and finalists.
    """

    trials: Positive | None = None
    trained: Positive | None = None
    seconds: Annotated[Real, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.trials is None and self.trained is None and self.seconds is None:
            raise ValueError("given at least one of trials, trained and seconds")
        return self


class FinalistsSpec(Part):
    """How many of the front are retrained on all training data, for how long.

    Each training ends after `epochs`, or annealed to its end in its part of `share` x budget.seconds, which the
    search leaves for the finalists.
    """

    count: Positive = 3
    epochs: Positive = 20
    share: Share = 0.25


def _objectives(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names or len(set(names)) < len(names) or not set(names) <= set(OBJECTIVES):
        raise ValueError(f"different ones of {', '.join(OBJECTIVES)}")
    return names


def _name(value: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", value) is None:
        raise ValueError("1 to 64 letters, digits, dots, dashes or underscores, the first a letter or digit")
    return value


class StudySpec(Part):
    """A whole study."""

    name: Annotated[str, AfterValidator(_name)]
    data: DataSpec
    task: Literal["classification"] = "classification"
    target: TargetSpec = TargetSpec()
    space: SpaceSpec = SpaceSpec()
    model: ModelSpec | None = None
    pruning: PruningSpec = PruningSpec()
    quantization: QuantizationSpec = QuantizationSpec()
    training: TrainingSpec = TrainingSpec()
    distillation: DistillationSpec = DistillationSpec()
    objectives: Annotated[tuple[str, ...], AfterValidator(_objectives)] = ("accuracy", "latency_ms", "size_bytes")
    limits: LimitsSpec = LimitsSpec()
    budget: BudgetSpec
    teacher: TeacherSpec = TeacherSpec()
    search: SearchSpec = SearchSpec()
    finalists: FinalistsSpec = FinalistsSpec()
    tracking: TrackingSpec = TrackingSpec()
    storage: str | None = None

    @field_validator("teacher")
    @classmethod
    def _teaches(cls, teacher: TeacherSpec, info: ValidationInfo) -> TeacherSpec:
        distillation = info.data.get("distillation")  # absent where it has faults of its own
        if teacher.source == "none" and distillation is not None and not distillation.needs_no_teacher():
            raise ValueError("there (space, or a bundle) unless distillation.alphas is [1.0] or its methods are [self]")
        return teacher

    @model_validator(mode="after")
    def _pays_in_size(self) -> Self:
        only_size = set(self.pruning.sparsities) != {0.0} or set(self.quantization.weights) != {"uniform"}
        if only_size and "size_bytes" not in self.objectives:
            raise ValueError("with size_bytes among its objectives: sparsities and coded weights change the size only")
        return self

    def foreign_parts(self) -> tuple[tuple[str, str], ...]:
        """Return (group of entry points, name or place) of each part that is not ours, see `automl.plugins`."""
        target = self.target.name.partition(":")[0]
        said = {
            plugins.SPACES: [self.space.name], plugins.SAMPLERS: [self.search.method],
            plugins.CRITERIA: self.pruning.criteria, plugins.TARGETS: [target], plugins.DATASETS: [self.data.source],
        }  # fmt: skip
        return tuple((group, name) for group, names in said.items() for name in names if name not in OURS[group])

    def to_json(self) -> dict[str, Any]:
        """Return the resolved spec, defaults included, as plain JSON values; `parse_study_spec` reads it back."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        """Return the resolved spec as the text of a study file."""
        return str(yaml.safe_dump(self.to_json(), sort_keys=False, default_flow_style=None, width=100))

    def decisive(self) -> dict[str, Any]:
        """Return what decides results: all but the keys in `INDECISIVE`, which may change when a study goes on."""
        document = self.to_json()
        for key in INDECISIVE:
            *parents, last = key.split(".")
            part = document
            for parent in parents:
                part = part[parent]
            del part[last]
        for key in LATER:
            *parents, last = key.split(".")
            part, defaults = document, _DEFAULTS
            for parent in parents:
                part, defaults = part[parent], defaults[parent]
            if part[last] == defaults[last]:
                del part[last]
        return document

    def digest(self) -> str:
        """Return 16 hex digits over `decisive()`: two studies with the same one may share their trials."""
        text = json.dumps(self.decisive(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


_DEFAULTS = StudySpec(name="defaults", data=DataSpec(source="digits"), budget=BudgetSpec(trials=1)).to_json()
