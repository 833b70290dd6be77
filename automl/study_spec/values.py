"""The values that the parts of a study are made of: frozen parts, numbers that are no truth values, ranges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator


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
