"""The front of a study: which of its trials may stand on it, which do, and which one to take from it.

The driver, the pages, the command line and the export all ask here, so that they never disagree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from automl.errors import input_error
from automl.outcome import OBJECTIVES, Kind, Measured
from automl.pareto import Losses, as_losses, front_mask, knee, losses

if TYPE_CHECKING:
    from automl.storage import TrialRecord

Choice = Literal["accuracy", "latency", "knee"]
KINDS: tuple[Kind, ...] = ("measured", "recorded", "predicted")  # the most trustworthy first


def study_front(trials: Sequence[TrialRecord], objective_names: Sequence[str]) -> list[TrialRecord]:
    """Return the trials that no other admitted one dominates, in the order of their numbers.

    Of trials with equal values the first one stands there. See `admitted` for who may stand on a front.
    """
    eligible = sorted(admitted(trials, objective_names), key=lambda trial: trial.number)
    mask = front_mask(objective_losses(eligible, objective_names))
    return [trial for trial, on_front in zip(eligible, mask, strict=True) if on_front]


def admitted(trials: Sequence[TrialRecord], objective_names: Sequence[str]) -> list[TrialRecord]:
    """Return the trials that may stand on a front: measured, stable, paying, finite in every objective.

    Only figures of one kind are compared: where measured latencies exist, predicted ones stay off the front.
    """
    eligible = [trial for trial in trials if refusal(trial, objective_names) is None]
    kind = next((kind for kind in KINDS if any(latency_kind(trial) == kind for trial in eligible)), None)
    return [trial for trial in eligible if latency_kind(trial) in (kind, None)]


def refusal(trial: TrialRecord, objective_names: Sequence[str]) -> str | None:
    """Return why the trial may not stand on a front, as a few words; None where it may."""
    outcome = trial.outcome
    if not isinstance(outcome, Measured):
        return trial.state
    if not outcome.gain.pays:
        return outcome.gain.verdict
    if not outcome.stable:
        return "unstable latency"
    values = {measurement.name: measurement.value for measurement in outcome.measurements}
    missing = [name for name in objective_names if not math.isfinite(values.get(name, math.nan))]
    return f"no {', '.join(missing)}" if missing else None


def latency_kind(trial: TrialRecord) -> Kind | None:
    """Return how the trial's latency came about; None where it has none."""
    outcome = trial.outcome
    measurements = outcome.measurements if isinstance(outcome, Measured) else ()
    return next((measurement.kind for measurement in measurements if measurement.name == "latency_ms"), None)


def objective_losses(trials: Sequence[TrialRecord], objective_names: Sequence[str]) -> Losses:
    """Return the measured trials' losses as an `n x m` array in the order of `objective_names`."""
    rows = [[_value(trial, name) for name in objective_names] for trial in trials]
    return losses(as_losses(rows, len(objective_names)), [OBJECTIVES[name] for name in objective_names])


def choose(front: Sequence[TrialRecord], by: Choice, max_latency_ms: float | None = None) -> TrialRecord:
    """Return the trial to deploy: the most accurate one, the fastest one, or the best compromise of the two.

    Only trials within `max_latency_ms` are considered where it is given. Ties go to the smaller file.

    Raises:
        InputError: where no trial of the front is within the limit, or the front is empty.
    """
    within = [trial for trial in front if max_latency_ms is None or _value(trial, "latency_ms") <= max_latency_ms]
    if not within:
        raise _nothing_to_choose(front, max_latency_ms)
    table = objective_losses(within, ("accuracy", "latency_ms"))
    sizes = np.array([_value(trial, "size_bytes") for trial in within])
    if by == "knee":
        flat = np.flatnonzero(front_mask(table))
        return within[int(flat[knee(table[flat])])]
    first, second = (0, 1) if by == "accuracy" else (1, 0)
    return within[int(np.lexsort((sizes, table[:, second], table[:, first]))[0])]


def _nothing_to_choose(front: Sequence[TrialRecord], max_latency_ms: float | None) -> Exception:
    if not front:
        return input_error("the study's front", "at least one trial", "none", "Search with a larger budget.")
    fastest = min(_value(trial, "latency_ms") for trial in front)
    return input_error("the greatest latency", f"at least {fastest:.4g} ms, the fastest on the front", max_latency_ms)


def _value(trial: TrialRecord, name: str) -> float:
    assert isinstance(trial.outcome, Measured), f"trial {trial.number} has no values"
    return trial.outcome.value(name)
