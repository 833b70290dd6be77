"""Small steps in a space: mutations, crossover, neighbours that nobody has tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain, islice

import numpy as np
import numpy.typing as npt

from automl.space import Point, SearchSpace

Indices = npt.NDArray[np.int64]  # points as an `n x dimensions` array
NEIGHBOURS = 64  # that are looked at, near and then further away


def as_indices(space: SearchSpace, points: Sequence[Mapping[str, int]]) -> Indices:
    """Return points as rows of indices."""
    names = space.names()
    return np.array([[point[name] for name in names] for point in points], dtype=np.int64).reshape(-1, len(names))


def as_point(space: SearchSpace, row: Indices) -> Point:
    """Return one row as a point."""
    return dict(zip(space.names(), row.tolist(), strict=True))


def free_dimensions(space: SearchSpace) -> list[int]:
    """Return the places of the dimensions that leave a choice."""
    return [place for place, dimension in enumerate(space.dimensions) if len(dimension.choices) > 1]


def mutated(space: SearchSpace, rows: Indices, steps: Indices, rng: np.random.Generator) -> Indices:
    """Return each row with as many dimensions changed as `steps` says: another choice, drawn uniformly.

    A dimension may be drawn twice, so that a row may be changed in fewer, or come back to what it was.
    """
    free = np.array(free_dimensions(space), dtype=np.int64)
    changed = rows.copy()
    if len(free) == 0:
        return changed
    counts = np.array([len(dimension.choices) for dimension in space.dimensions])
    for step in range(int(steps.max(initial=0))):
        places = free[rng.integers(len(free), size=len(rows))]
        shift = rng.integers(1, counts[places])  # to another choice, never the same
        here = steps > step
        who = np.flatnonzero(here)
        at = places[here]
        changed[who, at] = (changed[who, at] + shift[here]) % counts[at]
    return changed


def crossed(rows: Indices, others: Indices, rng: np.random.Generator) -> Indices:
    """Return rows that take each dimension from one of two parents (uniform crossover; Syswerda, 1989)."""
    return np.asarray(np.where(rng.random(rows.shape) < 0.5, rows, others))


def unseen_neighbour(
    space: SearchSpace, point: Mapping[str, int], known: AbstractSet[str], rng: np.random.Generator
) -> Point | None:
    """Return a point near `point` whose candidate is not known; None where none of those looked at is new.

    The points one step away in drawn order, then mutations of two and more steps.
    """
    near = list(space.neighbours(point))
    order = (near[index] for index in rng.permutation(len(near)))
    row = as_indices(space, [point])
    far = (as_point(space, mutated(space, row, np.array([2 + n // 16]), rng)[0]) for n in range(NEIGHBOURS))
    candidates = chain(islice(order, NEIGHBOURS), far)
    return next((each for each in candidates if space.decode(each).candidate_hash() not in known), None)


def near_rows(space: SearchSpace, row: Indices) -> Indices:
    """Return every neighbour of one row: by one step where a dimension is ordered, else by any choice."""
    near: list[Indices] = [np.zeros((0, len(row)), dtype=np.int64)]
    for place in free_dimensions(space):
        dimension = space.dimensions[place]
        here, count = int(row[place]), len(dimension.choices)
        steps = [here - 1, here + 1] if dimension.ordered else range(count)
        others = [index for index in steps if index != here and 0 <= index < count]
        moved = np.repeat(row[None, :], len(others), axis=0)
        moved[:, place] = others
        near.append(moved)
    return np.concatenate(near)
