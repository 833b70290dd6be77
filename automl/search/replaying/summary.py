"""Many runs of one method as the figures that are printed: medians and quartiles over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from automl.search.replaying.judging import GOALS, Truth, first_at
from automl.search.replaying.playing import Run
from automl.search.replaying.table import Array

MARKS = (50, 100, 200, 500)  # evaluations at which shares are compared


@dataclass(frozen=True)
class Spread:
    """A median with its quartiles."""

    low: float
    median: float
    high: float


@dataclass(frozen=True)
class MethodSummary:
    """One method over its seeds. Shares are of the true front's hypervolume.

    `shares` by evaluations; `reached` by share, the median number of evaluations (infinite where half never got there);
    `distance` is IGD+ at the end; `scoring` the share on the scoring columns at the end; `seconds` and `slowest` the
    mean and the 95th percentile of a proposal. `curve` is `seeds x evaluations`.
    """

    method: str
    seeds: int
    shares: Mapping[int, Spread]
    reached: Mapping[float, float]
    distance: float
    scoring: float
    seconds: float
    slowest: float
    curve: Array


def summarise(runs: Sequence[Run], truth: Truth) -> MethodSummary:
    """Return the summary of the runs of one method."""
    curves = [truth.shares(run.rows) for run in runs]
    length = max(len(curve) for curve in curves)
    curve = np.array([np.pad(each, (0, length - len(each)), mode="edge") for each in curves])
    seconds = np.concatenate([np.asarray(run.seconds) for run in runs])
    return MethodSummary(
        runs[0].method,
        len(runs),
        {mark: spread_of(curve[:, mark - 1]) for mark in MARKS if mark <= length},
        {goal: float(np.median([first_at(each, goal) for each in curves])) for goal in GOALS},
        float(np.median([truth.distance(run.rows) for run in runs])),
        float(np.median([truth.scoring_share(run.rows) for run in runs])),
        float(seconds.mean()),
        float(np.quantile(seconds, 0.95)),
        curve,
    )


def spread_of(values: Array) -> Spread:
    """Return the median and the quartiles."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return Spread(float(low), float(median), float(high))
