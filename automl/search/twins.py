"""The twin's turn: where compression does not pay but the network is good, its uncompressed twin is worth a trial.

Such a candidate may not stand on the front, and what it shows (this architecture is accurate and fast) would be lost:
its twin is no slower and was never trained. So the twin is proposed next.
"""

from __future__ import annotations

from collections.abc import Sequence

from automl.outcome import Measured
from automl.pareto import dominates
from automl.search.front import objective_losses, study_front
from automl.search.record_view import RecordView
from automl.space import Point, SearchSpace
from automl.storage import TrialRecord


def due_twin(space: SearchSpace, objectives: Sequence[str], view: RecordView) -> Point | None:
    """Return the point of the first twin whose turn it is, or None.

    It is the turn of the unknown twin of a trial that does not pay and that nothing on the front dominates, size
    apart: size is what compression did change.
    """
    names = [name for name in objectives if name != "size_bytes"]
    refused = [trial for trial in view.trials if _fails_to_pay(trial)]
    if not refused or not names:
        return None
    front = objective_losses(study_front(view.trials, objectives), names)
    for trial, loss in zip(refused, objective_losses(refused, names), strict=True):
        point = twin_point(space, trial)
        if point is None or space.decode(point).candidate_hash() in view.known:
            continue
        if not any(dominates(other, loss) for other in front):
            return point
    return None


def twin_point(space: SearchSpace, trial: TrialRecord) -> Point | None:
    """Return the point of the trial's uncompressed twin; None where the space does not have it."""
    choices = space.choices(trial.point)
    for dimension in space.dimensions:
        if dimension.plain is not None:
            if dimension.plain not in dimension.choices:
                return None
            choices[dimension.name] = dimension.plain
    point = space.point(choices)
    return point if space.decode(point) == trial.candidate.twin().canonical() else None


def _fails_to_pay(trial: TrialRecord) -> bool:
    return isinstance(trial.outcome, Measured) and trial.outcome.stable and not trial.outcome.gain.pays
