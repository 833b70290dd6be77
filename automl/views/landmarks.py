"""The points of a front that pictures and pages single out: those on its line, its ends, its best compromise."""

from __future__ import annotations

from collections.abc import Sequence

from automl.outcome import OBJECTIVES
from automl.pareto import as_losses, front_mask, knee, losses
from automl.views.facts import PointFacts


def line_points(front: Sequence[PointFacts], x: str, y: str) -> list[PointFacts]:
    """Return those points of the front that none dominates by `x` and `y` alone, ordered by `x`."""
    table = as_losses([[point.value(x), point.value(y)] for point in front], 2)
    mask = front_mask(losses(table, [OBJECTIVES[x], OBJECTIVES[y]]))
    kept = [point for point, on_line in zip(front, mask, strict=True) if on_line]
    return sorted(kept, key=lambda point: point.value(x))


def stepped(line: Sequence[PointFacts], x: str, y: str, x_end: float, y_end: float) -> tuple[list[float], list[float]]:
    """Return the corners of what the line attains, from `y_end` below its first point to `x_end` after its last."""
    xs = [line[0].value(x), *(point.value(x) for point in line), max(x_end, line[-1].value(x))]
    ys = [y_end, *(point.value(y) for point in line), line[-1].value(y)]
    return xs, ys


def landmarks(line: Sequence[PointFacts], x: str, y: str) -> dict[str, PointFacts]:
    """Return the points of a line, ordered by `x`, that a reader looks for first, by what they are.

    A point that is two of them at once appears once; nothing for an empty line.
    """
    if not line:
        return {}
    table = losses([[point.value(x), point.value(y)] for point in line], [OBJECTIVES[x], OBJECTIVES[y]])
    words = {"most accurate": line[-1], "best compromise": line[knee(table)], "fastest": line[0]}
    first = {point.number: word for word, point in reversed(words.items())}
    return {word: point for word, point in words.items() if first[point.number] == word}
