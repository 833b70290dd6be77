"""The one place where samplers hear the record, and what is heard as arrays of losses for those that count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from automl.outcome import OBJECTIVES, Infeasible, Measured
from automl.pareto import front_mask
from automl.search.hearing import Heard, hear
from automl.search.record_view import OPEN, RecordView
from automl.search.samplers.plan import SamplerPlan
from automl.storage import TrialRecord

Array = npt.NDArray[np.float64]
SMALLEST = 1e-9  # of a time or a size whose logarithm is taken
SMALLEST_ERROR = 1e-3  # finer differences than a tenth of a point are not worth a search


@dataclass(frozen=True)
class Losses:
    """Heard trials as arrays, by number.

    `table` holds a loss for each objective (`n x m`), see `as_loss`; NaN where nothing was measured. `violation` is the
    greatest relative one of each trial, at most 0 where it is within every limit; `admitted` tells who may stand on a
    front.
    """

    trials: Sequence[TrialRecord]
    table: Array
    violation: Array

    @property
    def admitted(self) -> npt.NDArray[np.bool_]:
        """Return `n` booleans."""
        return np.asarray((self.violation <= 0) & np.isfinite(self.table).all(axis=1))

    def front(self) -> npt.NDArray[np.int64]:
        """Return the places of those on the front; of the least violating ones where none is admitted."""
        admitted = np.flatnonzero(self.admitted)
        if len(admitted) == 0:
            least = self.violation == self.violation.min(initial=np.inf)
            return np.flatnonzero(least & np.isfinite(self.table).all(axis=1))
        return np.asarray(admitted[front_mask(self.table[admitted])])


def heard_trials(plan: SamplerPlan, view: RecordView, trials: Sequence[TrialRecord] | None = None) -> list[Heard]:
    """Return what is heard of the view's trials, or of some of them."""
    return hear(view.trials if trials is None else trials, plan.objectives, plan.limits, view.partial)


def heard_losses(plan: SamplerPlan, view: RecordView) -> Losses:
    """Return what is heard of the view's trials as arrays, what was never measured left out."""
    heard = heard_trials(plan, view)
    table = np.array([each.values for each in heard], dtype=np.float64).reshape(len(heard), len(plan.objectives))
    for row, each in enumerate(heard):
        if isinstance(each.trial.outcome, Infeasible):
            known = {measurement.name for measurement in each.trial.outcome.measurements}
            table[row, [name not in known for name in plan.objectives]] = np.nan
    violation = np.array([max(each.constraints.values(), default=0.0) for each in heard], dtype=np.float64)
    columns = [as_loss(name, table[:, place]) for place, name in enumerate(plan.objectives)]
    return Losses([each.trial for each in heard], np.stack(columns, axis=1), violation)


def as_loss(name: str, values: npt.ArrayLike) -> Array:
    """Return values of an objective as losses: the logarithm of a time or size, or of the error, 1 - share.

    From 6 % to 3 % error is as far as from 60 % to 30 %: what an architecture does to the error is closer to a factor.
    """
    given = np.asarray(values, dtype=np.float64)
    if OBJECTIVES[name].direction == "maximize":
        return np.asarray(np.log(np.maximum(1.0 - given, SMALLEST_ERROR)))
    return np.asarray(np.log(np.maximum(given, SMALLEST)))


def refused(trial: TrialRecord) -> bool:
    """Tell whether the trial was measured and may not stand on a front: it does not pay, or is unstable."""
    outcome = trial.outcome
    return isinstance(outcome, Measured) and not (outcome.gain.pays and outcome.stable)


def open_trials(view: RecordView) -> list[TrialRecord]:
    """Return the trials that are under way."""
    return [trial for trial in view.trials if trial.state == OPEN]
