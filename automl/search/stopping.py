"""Early stopping: asynchronous successive halving by non-dominated rank, a pure function of what arrived at a rung.

Li et al., "A System for Massively Parallel Hyperparameter Tuning" (2020), in the form that stops instead of promoting:
whoever arrives at a rung is ranked against those that arrived before and goes on at once, or ends; nobody waits. With
several objectives the rank is that of Schmucker et al., "Multi-objective Asynchronous Successive Halving" (2021):
non-dominated fronts, and within one of them an epsilon-net, which spreads what goes on along the front.

Nothing is remembered here: the same arrivals give the same verdicts, so a driver that starts again decides as the last
one did.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from automl.evaluation.rungs import Rung
from automl.pareto import Losses, normalise

WINDOW = 500  # of the latest arrivals at a rung are ranked: a sampler that learns is held to what it does now


class StoppingValues(Protocol):
    """How a study asks for early stopping: `method` is "none" or "halving"."""

    @property
    def method(self) -> str:
        """Return which rule ends trials."""
        ...

    @property
    def eta(self) -> int:
        """Return of how many trials one goes on."""
        ...

    @property
    def rungs(self) -> int:
        """Return how many rungs there are, the top one among them."""
        ...

    @property
    def by(self) -> Literal["epochs", "data"]:
        """Return what a rung has a share of."""
        ...


@dataclass(frozen=True)
class StoppingPlan:
    """One of `eta` goes on from each of the `rungs` below the top; each has `eta` times the one below."""

    eta: int
    rungs: int
    by: Literal["epochs", "data"] = "epochs"

    def rung_shares(self) -> tuple[float, ...]:
        """Return the share of a whole training at each rung, rising; the last one is 1."""
        return tuple(1 / self.eta**left for left in reversed(range(self.rungs)))

    def rung(self, index: int) -> Rung:
        """Return a rung, counted from 0, the lowest.

        Raises:
            IndexError: where there is none.
        """
        if not 0 <= index < self.rungs:
            raise IndexError(f"the rung must be between 0 and {self.rungs - 1}, but got {index}")
        return Rung(index, self.rung_shares()[index], self.by)

    def verdict(self, index: int, losses: npt.ArrayLike) -> str | None:
        """Return why the last of the arrivals at a rung ends there, None where it goes on; see `goes_on`."""
        if goes_on(losses, self.eta):
            return None
        rank, count = rank_of_last(losses)
        return stopped_reason(self.rung(index), rank, count, self.eta)


def stopping_plan(values: StoppingValues | None) -> StoppingPlan | None:
    """Return the plan that a study asks for; None where no trial is ended early."""
    if values is None or values.method == "none":
        return None
    return StoppingPlan(values.eta, values.rungs, values.by)


def goes_on(losses: npt.ArrayLike, eta: int) -> bool:
    """Tell whether the last of the arrivals at a rung goes on: it is among the best of them, one in `eta`.

    The first `eta - 1` arrivals go on, since there is nothing to hold them against; what is not finite never does.

    Args:
        losses: `n x m`, at least one row, in the order of arrival; only the latest `WINDOW` are looked at.
        eta: at least 2.
    """
    table = np.asarray(losses, dtype=np.float64)
    if not np.isfinite(table[-1]).all():
        return False
    rank, count = rank_of_last(table)
    return count < eta or rank <= math.ceil(count / eta)


def rank_of_last(losses: npt.ArrayLike) -> tuple[int, int]:
    """Return the rank of the last arrival, 1 being the best, and among how many it is ranked.

    Args:
        losses: see `goes_on`.
    """
    table = np.asarray(losses, dtype=np.float64)[-WINDOW:]
    last, better = len(table) - 1, 0
    for front in _fronts(table):
        if last in front:
            return better + _spread(table[front]).index(int(np.flatnonzero(front == last)[0])) + 1, len(table)
        better += len(front)
    return len(table), len(table)


def stopped_reason(rung: Rung, rank: int, count: int, eta: int) -> str:
    """Return in words for a person why a trial was ended: where, at which share, and how it ranked."""
    rungs = rung.index + 1 + round(-math.log(rung.share, eta))
    of = "its epochs" if rung.by == "epochs" else "the training images"
    return (
        f"stopped at rung {rung.index + 1} of {rungs} ({100 * rung.share:.0f} % of {of}): "
        f"rank {rank} of {count}, and one in {eta} goes on"
    )


def _fronts(table: Losses) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the indices of each non-dominated front, the best first; rows that are not finite come last, together."""
    finite = np.isfinite(table).all(axis=1)
    rows = np.flatnonzero(finite)
    values = table[rows]
    no_worse = np.ones((len(rows), len(rows)), dtype=np.bool_)
    for column in values.T:
        no_worse &= column[:, None] <= column[None, :]
    dominates = no_worse & ~no_worse.T  # row by column
    dominators = dominates.sum(axis=0)
    left = np.ones(len(rows), dtype=np.bool_)
    while left.any():
        front = np.flatnonzero(left & (dominators == 0))
        yield rows[front]
        left[front] = False
        dominators = dominators - dominates[front].sum(axis=0)
    if not finite.all():
        yield np.flatnonzero(~finite)


def _spread(front: Losses) -> list[int]:
    """Return the rows of one front by an epsilon-net: first the best by the first loss, then always the farthest one.

    Losses are scaled to the front's own span; of what is equally far the earlier arrival comes first.
    """
    finite = np.isfinite(front).all()
    scaled = normalise(front, front.min(axis=0), front.max(axis=0)) if finite else np.zeros_like(front)
    chosen = [int(np.argmin(scaled[:, 0]))]
    distance = np.full(len(front), np.inf)
    while len(chosen) < len(front):
        distance = np.minimum(distance, np.linalg.norm(scaled - scaled[chosen[-1]], axis=1))
        distance[chosen] = -1.0
        chosen.append(int(np.argmax(distance)))
    return chosen
