"""The parts of a study as frozen values; what each word of a study file means is said where it is declared."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from automl.outcome import OBJECTIVES

INDECISIVE = ("name", "budget", "storage", "search.workers", "search.executor")  # may change when a study goes on
LATER = (  # keys that a study's digest leaves out where they have their defaults: older studies do not know them
    "model", "pruning", "quantization", "target.runtimes", "distillation.methods", "distillation.unlabelled",
    "distillation.data", "teacher.others", "teacher.assistant", "training.start", "data.length", "data.vocabulary",
)  # fmt: skip


def _no_truth(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a number")
    return value


Whole = Annotated[int, BeforeValidator(_no_truth)]
Real = Annotated[float, BeforeValidator(_no_truth)]
Positive = Annotated[Whole, Field(ge=1)]
Seed = Annotated[Whole, Field(ge=0, lt=2**32)]
Share = Annotated[Real, Field(gt=0, lt=1)]


class Part(BaseModel):
    """A frozen part of the spec that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Range(Part):
    """A range of a hyperparameter: `levels` values from `low` to `high`, evenly spaced (in the logarithm if `log`)."""

    low: Real
    high: Real
    log: bool = False
    levels: Annotated[Whole, Field(ge=2, le=100)] = 5

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.low >= self.high:
            raise ValueError("a range with low below high")
        if self.log and self.low <= 0:
            raise ValueError("a range with low above 0 where log is true")
        return self


def _kind(entry: object) -> str:
    if isinstance(entry, Mapping | Range):
        return "<range>"
    return "<list>" if isinstance(entry, list | tuple) else "<value>"


RealEntry = Annotated[
    Annotated[Real, Tag("<value>")]
    | Annotated[tuple[Real, ...], Field(min_length=1), Tag("<list>")]
    | Annotated[Range, Tag("<range>")],
    Discriminator(_kind),
]
WholeEntry = Annotated[
    Annotated[Whole, Tag("<value>")]
    | Annotated[tuple[Whole, ...], Field(min_length=1), Tag("<list>")]
    | Annotated[Range, Tag("<range>")],
    Discriminator(_kind),
]
Entry = float | tuple[float, ...] | Range


def _within(says: str, holds: Callable[[float], bool]) -> AfterValidator:
    """Return the check that a value, every one of a list, or both ends of a range hold."""

    def check(entry: Entry) -> Entry:
        values = (entry.low, entry.high) if isinstance(entry, Range) else entry
        if not all(holds(value) for value in (values if isinstance(values, tuple) else (values,))):
            raise ValueError(says)
        return entry

    return AfterValidator(check)


AboveZero = _within("above 0", lambda value: value > 0)
NotNegative = _within("at least 0", lambda value: value >= 0)
BelowOne = _within("at least 0 and below 1", lambda value: 0 <= value < 1)
Countable = _within("a whole number of at least 1", lambda value: value >= 1 and value == int(value))


def _different(given: tuple[str, ...]) -> tuple[str, ...]:
    if not given or len(set(given)) < len(given):
        raise ValueError("at least one choice, each once")
    return given


Different = AfterValidator(_different)
Criteria = Annotated[
    tuple[Literal["l1", "l2", "taylor", "sensitivity", "bn_scale", "geometric_median", "learned", "random"], ...],
    Different,
]
Schedules = Annotated[tuple[Literal["one_shot", "iterative", "gradual", "adaptive"], ...], Different]
Patterns = Annotated[tuple[Literal["unstructured", "2:4"], ...], Different]
WeightCodings = Annotated[tuple[Literal["uniform", "codebook", "power_of_two"], ...], Different]
Scales = Annotated[tuple[Literal["channel", "tensor"], ...], Different]
Activations = Annotated[tuple[Literal["static", "dynamic"], ...], Different]
Calibrations = Annotated[tuple[Literal["min_max", "percentile", "mse"], ...], Different]
Awareness = Annotated[tuple[Literal["none", "qat", "lsq"], ...], Different]
DistillationMethods = Annotated[tuple[Literal["response", "feature", "relation", "self"], ...], Different]
Runtimes = Annotated[tuple[Literal["onnxruntime", "openvino"], ...], Different]


class DataSpec(Part):
    """What to learn from, and how it is split; `seed` decides the splits and the subsets of the search.

    `resize` is the shorter side in pixels that images of a folder are brought to before a square is cut from their
    centre. The limits keep a seeded, stratified subset for the search; finalists train on everything. `length` (in
    tokens) and `vocabulary` are those of text.
    """

    source: Literal["digits", "npz", "folder", "text"]
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
        if self.resize is not None and self.source != "folder":
            raise ValueError("without resize where source is not folder")
        if self.source != "text" and (self.length is not None or self.vocabulary is not None):
            raise ValueError("without length and vocabulary where source is not text")
        return self


class TargetSpec(Part):
    """The device: cpu, cuda, or recorded:FILE. `channel_multiple` is what kept widths are rounded to.

    More than one of `runtimes` make the runtime that serves the file a dimension.
    """

    name: str = "cpu"
    batch: Positive = 1
    channel_multiple: Positive = 16
    runtime: Literal["onnxruntime"] = "onnxruntime"  # of the study's own measurements, such as a teacher's
    runtimes: Runtimes = ("onnxruntime",)


class SpaceSpec(Part):
    """Start widths, numbers of cells, and what the user knows: `fix` a dimension or `allow` some of its choices."""

    name: str = "darts_cells"
    widths: Annotated[tuple[Positive, ...], Field(min_length=1)] = (16, 32, 48)
    cells: Annotated[tuple[Annotated[Whole, Field(ge=2, le=40)], ...], Field(min_length=1)] = (3, 4, 5)
    fix: dict[str, int | float | str] = {}
    allow: dict[str, tuple[int | float | str, ...]] = {}


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


def _workers(value: object) -> int | str:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError("auto, or a whole number of at least 1")


class SearchSpec(Part):
    """How candidates are proposed and where they run; `enqueue` names known cells to begin with."""

    method: Literal["nsga2", "tpe", "random", "sklearn_grid", "sklearn_random"] = "nsga2"
    seed: Seed = 0
    population: Annotated[Whole, Field(ge=2)] = 12
    workers: Annotated[int | str, BeforeValidator(_workers)] = "auto"
    executor: Literal["ray", "inline"] = "ray"
    enqueue: tuple[str | dict[str, int | float | str], ...] = ()


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
