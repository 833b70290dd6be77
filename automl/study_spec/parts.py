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


class DataSpec(Part):
    """What to learn from, and how it is split; `seed` decides the splits and the subsets of the search.

    `resize` is the shorter side in pixels that images of a folder are brought to before a square is cut from their
    centre. The limits keep a seeded, stratified subset for the search; finalists train on everything.
    """

    source: Literal["digits", "npz", "folder"]
    path: Path | None = None
    validation: Share = 0.2
    test: Share = 0.2
    resize: Annotated[Whole, Field(ge=4, le=1024)] | None = None
    train_limit: Positive | None = None
    validation_limit: Positive | None = None
    augmentation: Literal["shift", "shift_flip", "none"] = "shift"
    seed: Seed = 0

    @model_validator(mode="after")
    def _leaves_something(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError("split so that validation + test are below 1")
        if self.resize is not None and self.source != "folder":
            raise ValueError("without resize where source is not folder")
        return self


class TargetSpec(Part):
    """The device: cpu, cuda, or recorded:FILE. `channel_multiple` is what kept widths are rounded to."""

    name: str = "cpu"
    batch: Positive = 1
    channel_multiple: Positive = 16
    runtime: Literal["onnxruntime"] = "onnxruntime"


class SpaceSpec(Part):
    """Start widths, numbers of cells, and what the user knows: `fix` a dimension or `allow` some of its choices."""

    name: str = "darts_cells"
    widths: Annotated[tuple[Positive, ...], Field(min_length=1)] = (16, 32, 48)
    cells: Annotated[tuple[Annotated[Whole, Field(ge=2, le=40)], ...], Field(min_length=1)] = (3, 4, 5)
    fix: dict[str, int | float | str] = {}
    allow: dict[str, tuple[int | float | str, ...]] = {}


class TrainingSpec(Part):
    """Each hyperparameter is a value, a list of values, or a range; more than one value make it a dimension."""

    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Annotated[RealEntry, AboveZero] = 3.0e-3
    weight_decay: Annotated[RealEntry, NotNegative] = 5.0e-4
    batch_size: Annotated[WholeEntry, Countable] = 64
    epochs: Annotated[WholeEntry, Countable] = 10
    dropout: Annotated[RealEntry, BelowOne] = 0.0
    label_smoothing: Annotated[RealEntry, BelowOne] = 0.0
    clip_norm: Annotated[RealEntry, NotNegative] = 5.0


class DistillationSpec(Part):
    """Choices of alpha x hard + (1 - alpha) x T^2 x soft; alpha 1 means no teacher."""

    alphas: Annotated[tuple[Annotated[Real, Field(ge=0, le=1)], ...], Field(min_length=1)] = (1.0, 0.7, 0.4)
    temperatures: Annotated[tuple[Annotated[Real, Field(gt=0)], ...], Field(min_length=1)] = (1.0, 2.0, 4.0, 8.0)


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


class TeacherSpec(Part):
    """Who teaches: `space` (its largest network, trained within `share` of budget.seconds), `none`, or a bundle."""

    source: str = "space"
    share: Share = 0.15
    epochs: Positive = 12


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
        if teacher.source == "none" and distillation is not None and set(distillation.alphas) != {1.0}:
            raise ValueError("there (space, or a bundle) unless distillation.alphas is [1.0]")
        return teacher

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
        return document

    def digest(self) -> str:
        """Return 16 hex digits over `decisive()`: two studies with the same one may share their trials."""
        text = json.dumps(self.decisive(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]
