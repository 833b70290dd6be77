"""The parts of a study that say how networks are compressed and taught; each method's paper is where it is built."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from automl import plugins
from automl.study_spec.names import named
from automl.study_spec.values import Part, Positive, Real, Share, Whole


def _different(given: tuple[str, ...]) -> tuple[str, ...]:
    if not given or len(set(given)) < len(given):
        raise ValueError("at least one choice, each once")
    return given


Different = AfterValidator(_different)
CRITERIA = ("l1", "l2", "taylor", "sensitivity", "bn_scale", "geometric_median", "learned", "random")
Criteria = Annotated[tuple[Annotated[str, named(plugins.CRITERIA, CRITERIA)], ...], Different]
Schedules = Annotated[tuple[Literal["one_shot", "at_start", "iterative", "gradual", "adaptive"], ...], Different]
Patterns = Annotated[tuple[Literal["unstructured", "2:4"], ...], Different]
WeightCodings = Annotated[tuple[Literal["uniform", "codebook", "power_of_two"], ...], Different]
Scales = Annotated[tuple[Literal["channel", "tensor"], ...], Different]
Activations = Annotated[tuple[Literal["static", "dynamic"], ...], Different]
Calibrations = Annotated[tuple[Literal["min_max", "percentile", "mse"], ...], Different]
Awareness = Annotated[tuple[Literal["none", "qat", "lsq"], ...], Different]
DistillationMethods = Annotated[tuple[Literal["response", "feature", "relation", "self"], ...], Different]
Runtimes = Annotated[tuple[Literal["onnxruntime", "openvino"], ...], Different]


class ModelSpec(Part):
    """The user's own model, searched in place of cells: a `package.module:factory`, an ONNX file or a model folder.

    `weights` is a safetensors file or a state dict without code. `stages` gives prefixes of layer names, one for each
    part whose ratio and bits are chosen together; without them they are found.
    """

    source: Annotated[str, Field(min_length=1)]
    weights: Path | None = None
    stages: tuple[str, ...] | None = None


Ratio = Annotated[Real, Field(ge=0, lt=1)]


class PruningSpec(Part):
    """What may be removed; each list with more than one entry is a dimension of the space.

    `ratios` of channels by stage; how they are chosen (`criteria`) and over how many steps they go (`schedules`);
    `drop` names operations or layers that may go whole, "" none; `sparsities` of single weights (the stored file's size
    only) in `patterns`; `ranks` of 1x1 convolutions and linear layers; `separable` in place of dense convolutions.
    """

    ratios: Annotated[tuple[Ratio, ...], Field(min_length=1)] = (0.0, 0.25, 0.5, 0.75)
    criteria: Criteria = ("l1",)
    schedules: Schedules = ("one_shot",)
    drop: Annotated[tuple[str, ...], Field(min_length=1)] = ("",)
    sparsities: Annotated[tuple[Ratio, ...], Field(min_length=1)] = (0.0,)
    patterns: Patterns = ("unstructured",)
    ranks: Annotated[tuple[Annotated[Real, Field(gt=0, le=1)], ...], Field(min_length=1)] = (1.0,)
    separable: Annotated[tuple[bool, ...], Field(min_length=1)] = (False,)


class QuantizationSpec(Part):
    """How weights and activations are coded; each list with more than one entry is a dimension of the space.

    Which bits there are is the target's; `pairs` keeps some of them ("w8a8").
    """

    pairs: tuple[str, ...] | None = None
    weights: WeightCodings = ("uniform",)
    scales: Scales = ("channel",)
    activations: Activations = ("static",)
    blocks: Annotated[tuple[Annotated[Whole, Field(ge=0, le=1024)], ...], Field(min_length=1)] = (0,)
    calibrations: Calibrations = ("min_max",)
    training: Awareness = ("none",)


class DistillationSpec(Part):
    """Choices of alpha x hard + (1 - alpha) x T^2 x soft; alpha 1 means no teacher.

    `methods` say what is soft. `unlabelled` is an archive or folder of samples without labels that the teacher answers
    besides; `data` other than real teaches on samples made from the teacher, for who has a model and no data.
    """

    alphas: Annotated[tuple[Annotated[Real, Field(ge=0, le=1)], ...], Field(min_length=1)] = (1.0, 0.7, 0.4)
    temperatures: Annotated[tuple[Annotated[Real, Field(gt=0)], ...], Field(min_length=1)] = (1.0, 2.0, 4.0, 8.0)
    methods: DistillationMethods = ("response",)
    unlabelled: Path | None = None
    data: Literal["real", "inverted", "generated"] = "real"

    def needs_no_teacher(self) -> bool:
        """Tell whether no candidate asks a teacher."""
        return set(self.alphas) == {1.0} or set(self.methods) == {"self"}


class OtherTeacher(Part):
    """A further teacher: an ONNX file or a bundle, and its weight beside the main one's, which is 1."""

    source: str
    weight: Annotated[Real, Field(gt=0)] = 1.0


class TeacherSpec(Part):
    """Who teaches: `space` (its largest network), a `package.module:factory`, `none`, or an ONNX file or bundle.

    What is no file is trained for the study within `share` of budget.seconds. `others` answer beside it, their
    logits weighted. With `assistant` a network of middle size learns from the teacher
    first and teaches the students that are much smaller than it.
    """

    source: str = "space"
    share: Share = 0.15
    epochs: Positive = 12
    others: tuple[OtherTeacher, ...] = ()
    assistant: bool = False
