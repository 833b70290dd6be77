"""Dominance and what follows from it: front, hypervolume, IGD+, knee. Everything here minimises.

A set of points is an `n x m` float array of losses: `n` points, `m` objectives, smaller is better. Turn values
that are maximised into losses first (`losses`). A point with a NaN or an infinite loss is never on a front.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from automl.outcome import Objective

Losses = npt.NDArray[np.float64]


def losses(values: npt.ArrayLike, objectives: Sequence[Objective]) -> Losses:
    """Return an `n x m` array of values as losses, each column in its objective's direction."""
    table = as_losses(values, len(objectives))
    signs = [objective.loss(1.0) for objective in objectives]
    return np.asarray(table * np.array(signs), dtype=np.float64)


def as_losses(points: npt.ArrayLike, objectives: int) -> Losses:
    """Return `points` as an `n x objectives` float array; no points give a `0 x objectives` one.

    Raises:
        ValueError: where the shape is another one.
    """
    table = np.asarray(points, dtype=np.float64)
    if table.size == 0:
        return np.zeros((0, objectives))
    if table.ndim != 2 or table.shape[1] != objectives:
        raise ValueError(f"points must be an n x {objectives} array, but got shape {table.shape}")
    return table


def dominates(first: npt.ArrayLike, second: npt.ArrayLike) -> bool:
    """Tell whether the point `first` is nowhere worse than `second` and somewhere better; False with any NaN."""
    left, right = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    return bool(np.all(left <= right) and np.any(left < right))


def front_mask(points: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return `n` booleans: the point is finite, dominated by none, and the first of those equal to it.

    Takes `O(n log n + n f)` time, where `f` is the size of the front.
    """
    table = np.asarray(points, dtype=np.float64)
    mask = np.zeros(len(table), dtype=np.bool_)
    if table.size == 0:
        return mask
    order = np.lexsort((np.arange(len(table)), *table.T[::-1]))  # what dominates a point comes before it
    left = order[np.all(np.isfinite(table[order]), axis=1)]
    while left.size:
        mask[left[0]] = True
        left = left[np.any(table[left] < table[left[0]], axis=1)]
    return mask


def hypervolume(points: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Return the exact volume that `points` (`n x m`) dominate below `reference` (`m`); 0 for no points.

    Points that are not below the reference in every objective, and those that are not finite, add nothing. Slices
    along the last objective (HSO; While et al., 2006), `O(n log n)` for two objectives and `O(n^2 log n)` for three.
    """
    corner = np.asarray(reference, dtype=np.float64)
    table = as_losses(points, len(corner))
    inside = np.all(np.isfinite(table), axis=1) & np.all(table < corner, axis=1)
    table = table[inside]
    return _volume(table[front_mask(table)], corner)


def _volume(front: Losses, corner: Losses) -> float:
    if len(front) == 0:
        return 0.0
    if len(corner) == 1:
        return float(corner[0] - front[:, 0].min())
    if len(corner) == 2:
        return _area(front, corner)
    order = np.argsort(front[:, -1], kind="stable")
    front = front[order]
    depths = np.diff(np.append(front[:, -1], corner[-1]))
    slices = (depth * _volume(front[: index + 1, :-1], corner[:-1]) for index, depth in enumerate(depths) if depth > 0)
    return float(sum(slices))


def _area(points: Losses, corner: Losses) -> float:
    table = points[np.lexsort((points[:, 1], points[:, 0]))]
    ceilings = np.minimum.accumulate(table[:, 1])
    widths = np.diff(np.append(table[:, 0], corner[0]))
    return float(np.sum(widths * (corner[1] - ceilings)))


def normalise(points: npt.ArrayLike, ideal: npt.ArrayLike, nadir: npt.ArrayLike) -> Losses:
    """Return `points` scaled so that `ideal` becomes 0 and `nadir` 1; 0 in an objective where the two are equal."""
    low, high = np.asarray(ideal, dtype=np.float64), np.asarray(nadir, dtype=np.float64)
    table = as_losses(points, len(low))
    span = high - low
    return np.asarray(np.where(span > 0, (table - low) / np.where(span > 0, span, 1.0), 0.0), dtype=np.float64)


def reference_point(fronts: Sequence[npt.ArrayLike], margin: float = 0.1) -> Losses:
    """Return one reference point that is worse than every point of `fronts`, by `margin` of their common span.

    A hypervolume means something only next to another one on the same reference point. An objective in which all
    agree is given the span 1.

    Raises:
        ValueError: where all fronts are empty.
    """
    tables = [np.asarray(front, dtype=np.float64) for front in fronts]
    tables = [table for table in tables if table.size]
    if not tables:
        raise ValueError("fronts must hold at least one point, but got none")
    table = np.concatenate(tables)
    span = np.ptp(table, axis=0)
    return np.asarray(table.max(axis=0) + margin * np.where(span > 0, span, 1.0), dtype=np.float64)


def igd_plus(points: npt.ArrayLike, reference_front: npt.ArrayLike) -> float:
    """Return IGD+ of `points` to `reference_front` (Ishibuchi et al., 2015, equation 8); smaller is better.

    The mean over the reference front of how far its closest point in `points` is worse; infinite for no points.
    Normalise both first, or the objective with the largest numbers decides.

    Raises:
        ValueError: where the reference front is empty.
    """
    reference = np.asarray(reference_front, dtype=np.float64)
    if reference.size == 0:
        raise ValueError("the reference front must hold at least one point, but got none")
    table = as_losses(points, reference.shape[1])
    if len(table) == 0:
        return float("inf")
    worse = np.maximum(table[None, :, :] - reference[:, None, :], 0.0)  # reference x points x objectives
    return float(np.linalg.norm(worse, axis=2).min(axis=1).mean())


def knee(front: npt.ArrayLike) -> int:
    """Return the index of the best compromise: the point nearest to the ideal one, the front scaled to [0, 1].

    The first one where several are equally near.

    Raises:
        ValueError: where the front is empty.
    """
    table = np.asarray(front, dtype=np.float64)
    if table.size == 0:
        raise ValueError("a front must hold at least one point to have a knee, but got none")
    scaled = normalise(table, table.min(axis=0), table.max(axis=0))
    return int(np.argmin(np.linalg.norm(scaled, axis=1)))
