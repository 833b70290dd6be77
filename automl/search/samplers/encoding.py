"""Points as columns for a kernel: choices of a dimension one-hot or by rank, then what is known of a point for nothing.

Two different choices of an unordered dimension are one apart, and so are the ends of an ordered one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from automl.search.samplers.moves import as_point, free_dimensions
from automl.search.samplers.plan import Features, SamplerPlan
from automl.space import SearchSpace

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

SCALED_OVER = 256  # drawn points
SPREAD = 0.5  # of a block of features over them, so that no block starts with a louder voice than a dimension


@dataclass(frozen=True)
class Encoder:
    """Encodes rows of indices; `groups` names for each column the group that shares a length scale."""

    plan: SamplerPlan
    free: tuple[int, ...]
    groups: Indices

    def __call__(self, rows: Indices) -> Array:
        """Return the rows as an `n x p` array."""
        if len(rows) == 0:
            return np.zeros((0, len(self.groups)))
        columns: list[Array] = [np.zeros((len(rows), 0))]
        for place in self.free:
            dimension = self.plan.space.dimensions[place]
            count = len(dimension.choices)
            ranked = rows[:, [place]] / (count - 1)
            columns.append(ranked if dimension.ordered else np.eye(count)[rows[:, place]] / np.sqrt(2))
        if self.plan.features is not None:
            columns.append(self.plan.features.of([as_point(self.plan.space, row) for row in rows]))
        return np.hstack(columns)


def encoder_of(plan: SamplerPlan) -> Encoder:
    """Return the encoder of a plan."""
    dimensions = plan.space.dimensions
    free = tuple(free_dimensions(plan.space))
    widths = [1 if dimensions[place].ordered else len(dimensions[place].choices) for place in free]
    widths += plan.features.blocks if plan.features is not None else ()
    return Encoder(plan, free, np.repeat(np.arange(len(widths)), widths))


@dataclass(frozen=True)
class _Scaled:
    raw: Features
    offset: Array
    scale: Array

    def __call__(self, points: Sequence[Mapping[str, int]]) -> Array:
        return (_finite(self.raw.of(points)) - self.offset) * self.scale


def scaled_features(space: SearchSpace, raw: Features) -> Features:
    """Return the features centred, each block with the same spread over points drawn from the space.

    A figure that is not finite counts as 0 before.
    """
    rng = np.random.default_rng(len(space.dimensions))
    drawn = _finite(raw.of([space.sample(rng) for _ in range(SCALED_OVER)]))
    parts = np.split(drawn.var(axis=0), np.cumsum(raw.blocks)[:-1])
    scales = [SPREAD / np.sqrt(part.sum()) if part.sum() > 0 else 0.0 for part in parts]
    return Features(raw.blocks, _Scaled(raw, drawn.mean(axis=0), np.repeat(scales, raw.blocks)))


def _finite(table: npt.ArrayLike) -> Array:
    return np.nan_to_num(np.asarray(table, dtype=np.float64), posinf=0.0, neginf=0.0)


def drawn_rows(space: SearchSpace, count: int, rng: np.random.Generator) -> Indices:
    """Return `count` points drawn uniformly, as rows."""
    counts = np.array([len(dimension.choices) for dimension in space.dimensions])
    return np.asarray(rng.integers(counts, size=(count, len(counts))))
