"""How good a run was: its share of what the whole table holds, on the searched columns and on those that only score.

Normalised for every method alike: a share from its best to its 90th percentile, a cost's logarithm from its least to
its 99th percentile, the reference point at (1, 1). Repeated candidates are not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from automl.errors import input_error
from automl.pareto import front_mask, hypervolume, igd_plus
from automl.search.replaying.recorded_space import RecordedRows
from automl.search.replaying.table import Array

WORST_SHARE, COSTLIEST_SHARE = 0.9, 0.99
GOALS = (0.95, 0.97)


@dataclass(frozen=True)
class Truth:
    """What the whole table holds. `searched` and `scoring` are normalised losses (`n x m`), 1 where worth nothing."""

    searched: Array
    scoring: Array

    @cached_property
    def front(self) -> npt.NDArray[np.int64]:
        """Return the rows of the true front on the searched columns."""
        return np.flatnonzero(front_mask(self.searched))

    @cached_property
    def volume(self) -> float:
        """Return the hypervolume of the true front on the searched columns."""
        return _volume(self.searched[self.front])

    @cached_property
    def scoring_volume(self) -> float:
        """Return that on the scoring columns."""
        return _volume(self.scoring)

    @property
    def ceiling(self) -> float:
        """Return the share on the scoring columns of a search that found the whole true front."""
        return _volume(self.scoring[self.front]) / self.scoring_volume

    def share(self, rows: Sequence[int]) -> float:
        """Return the share of the hypervolume on the searched columns."""
        return _volume(self.searched[list(rows)]) / self.volume

    def scoring_share(self, rows: Sequence[int]) -> float:
        """Return the share on the scoring columns of the front that was found on the searched ones."""
        found = np.array(list(rows), dtype=np.int64)
        front = found[front_mask(self.searched[found])]
        return _volume(self.scoring[front]) / self.scoring_volume

    def distance(self, rows: Sequence[int]) -> float:
        """Return IGD+ to the part of the true front within the reference point."""
        true = self.searched[self.front]
        inside = true[np.all(true < 1, axis=1)]
        return igd_plus(self.searched[list(rows)], inside if len(inside) else true)

    def shares(self, rows: Sequence[int]) -> Array:
        """Return the share after each evaluation."""
        shares = np.zeros(len(rows))
        front = np.zeros((0, self.searched.shape[1]))
        for place, row in enumerate(rows):
            point = self.searched[row]
            grows = np.all(point < 1) and not np.any(np.all(front <= point, axis=1))
            if grows:
                front = np.vstack([front[~np.all(front >= point, axis=1)], point])
            shares[place] = _volume(front) / self.volume if grows or place == 0 else shares[place - 1]
        return shares


def truth_of(recorded: RecordedRows) -> Truth:
    """Return what the table holds.

    Raises:
        InputError: where no row is better than the reference point: there is nothing to share.
    """
    searched = [_normalised(recorded, each.column, index) for index, each in enumerate(recorded.objectives)]
    scoring = [
        _normalised(recorded, each.score if each.score else each.column, index)
        for index, each in enumerate(recorded.objectives)
    ]
    truth = Truth(np.stack(searched, axis=1), np.stack(scoring, axis=1))
    if truth.volume <= 0 or truth.scoring_volume <= 0:
        columns = ", ".join(each.column for each in recorded.objectives)
        raise input_error(columns, "columns in which rows differ", "no row better than the reference point")
    return truth


def _normalised(recorded: RecordedRows, column: str, index: int) -> Array:
    objective, values = recorded.objectives[index], recorded.figure(column)
    if objective.logarithmic:
        losses, share = np.log(values), COSTLIEST_SHARE
    else:
        losses, share = (-values if objective.direction == "maximize" else values), WORST_SHARE
    low, high = np.nanmin(losses), np.nanquantile(losses, share)
    return np.where(np.isfinite(losses), (losses - low) / (high - low if high > low else 1.0), np.inf)


def first_at(shares: Array, goal: float) -> float:
    """Return after how many evaluations the share first reached `goal`; infinite where it never did."""
    reached = np.flatnonzero(shares >= goal)
    return float(reached[0] + 1) if len(reached) else float("inf")


def _volume(points: Array) -> float:
    return hypervolume(points, np.ones(points.shape[1]))
