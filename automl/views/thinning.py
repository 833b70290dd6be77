"""Which marks of a crowd are drawn: of those that would lie on each other one, so that the picture stays the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from automl.views.axes import SCALES
from automl.views.facts import PointFacts

CROWD = 1_000  # marks off the front from which a page becomes slow
CELLS = (96, 64, 48, 32, 24, 16, 8, 4)  # along each axis, until there are few enough

Span = tuple[float, float]
Place = Callable[[PointFacts], tuple[float, ...]]


def thinned(points: Sequence[PointFacts], place: Place, most: int = CROWD) -> list[PointFacts]:
    """Return at most `most` of the points in their order, the first one of each standing in each cell of a grid.

    `place` tells where a point lies, from 0 to 1 along each axis; all beyond an end lie in one cell there. Nothing is
    left out of what is no crowd.
    """
    if len(points) <= most:
        return list(points)
    standings = sorted({point.standing for point in points})
    shares = np.clip(np.array([place(point) for point in points]), -0.5, 1.5)  # n x axes
    kinds = np.array([standings.index(point.standing) for point in points])[:, None]
    for cells in CELLS:
        keys = np.hstack([kinds, np.floor(shares * cells)])
        _, first = np.unique(keys, axis=0, return_index=True)
        if len(first) <= most:
            break
    return [points[index] for index in np.sort(first)[:most]]


def along(name: str, value: float, span: Span) -> float:
    """Return how far along its axis, which spans `span`, a value lies: 0 at the low end, 1 at the high one."""
    low, high = span
    if not SCALES[name].log:
        return (value - low) / (high - low)
    return math.log(value / low) / math.log(high / low) if value > 0 else -math.inf
