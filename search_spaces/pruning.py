"""Pruning: a ratio per stage, rounded to the channel multiple that the target is fast at."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from automl.candidate import STAGES, Genotype, PruningPlan
from automl.errors import Fault
from automl.space import Choice, Dimension, SearchSpace

RATIOS = (0.0, 0.25, 0.5, 0.75)


def pruning_dimensions(ratios: Iterable[float] = RATIOS) -> tuple[Dimension, ...]:
    """Return one dimension a stage over the ratios, rising."""
    choices = tuple(sorted({float(ratio) for ratio in ratios}))
    return tuple(Dimension(f"prune_{stage}", "pruning", choices, ordered=True, plain=0.0) for stage in range(STAGES))


def kept_width(width: int, ratio: float, channel_multiple: int) -> int:
    """Return the channels of `width` that stay when the share `ratio` goes.

    Rounded half up to the multiple, at least one multiple, at most `width`.
    """
    asked = width * (1 - Fraction(str(ratio))) / channel_multiple
    rounded = math.floor(asked + Fraction(1, 2)) * channel_multiple
    return min(max(rounded, channel_multiple), width)


def decode_pruning(choices: Mapping[str, Choice], genotype: Genotype, channel_multiple: int) -> PruningPlan:
    """Return the widths that each stage keeps."""
    return PruningPlan(
        tuple(
            kept_width(width, float(choices[f"prune_{stage}"]), channel_multiple)
            for stage, width in enumerate(genotype.stage_widths())
        )
    )


def width_faults(widths: Iterable[int], channel_multiple: int) -> list[Fault]:
    """Return a fault for each start width that the target's channel multiple does not divide."""
    return [
        Fault(
            "space.widths",
            f"multiples of {channel_multiple}, the channel multiple of the target",
            str(width),
            f"Take {max(round(width / channel_multiple), 1) * channel_multiple}, or change target.channel_multiple.",
        )
        for width in widths
        if width < 1 or width % channel_multiple != 0
    ]


@dataclass(frozen=True)
class StageShapes:
    """The distinct widths, in channels and falling, that pruning can leave of one stage at one start width."""

    width: int
    stage: int
    kept_widths: tuple[int, ...]


def describe_shapes(space: SearchSpace, channel_multiple: int) -> tuple[StageShapes, ...]:
    """Return what pruning can make of each stage at each start width of `space`, narrowed as it is."""
    choices = {dimension.name: dimension.choices for dimension in space.dimensions}
    shapes: list[StageShapes] = []
    for width in choices.get("width", ()):  # a user's model has its own widths
        for stage in range(STAGES):
            full = int(width) * 2**stage
            kept = {kept_width(full, float(ratio), channel_multiple) for ratio in choices[f"prune_{stage}"]}
            shapes.append(StageShapes(int(width), stage, tuple(sorted(kept, reverse=True))))
    return tuple(shapes)
