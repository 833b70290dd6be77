"""The front of a study: which of its trials may stand on it, which do, and which one to take from it.

The driver, the pages, the command line and the export all ask here, so that they never disagree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from automl.errors import input_error
from automl.outcome import OBJECTIVES, Gain, Measured
from automl.pareto import Losses, as_losses, front_mask, knee, losses
from automl.storage.records import PointRecord, TrialRecord

if TYPE_CHECKING:
    from automl.outcome import Measurement
    from automl.storage import Store, StudyRecord
    from automl.storage.records import PointValue

Choice = Literal["accuracy", "latency", "knee"]
UNSTABLE = "unstable latency"
KINDS = ("measured", "recorded", "predicted")  # the most trustworthy first
Trial = TypeVar("Trial", bound=TrialRecord | PointRecord)  # in whole, or only as far as a front needs it


def study_front(trials: Sequence[Trial], objective_names: Sequence[str]) -> list[Trial]:
    """Return the trials that no other admitted one dominates, in the order of their numbers.

    Of trials with equal values the first one stands there. See `admitted` for who may stand on a front.
    """
    eligible = sorted(admitted(trials, objective_names), key=lambda trial: trial.number)
    mask = front_mask(objective_losses(eligible, objective_names))
    return [trial for trial, on_front in zip(eligible, mask, strict=True) if on_front]


def recorded_front(store: Store, study: StudyRecord) -> list[TrialRecord]:
    """Return the study's front, reading nothing but figures of the trials that do not stand there."""
    light = store.points(study.id, sorted({*study.objectives, "latency_ms"}))
    return store.trials(study.id, numbers=[trial.number for trial in study_front(light, study.objectives)])


def admitted(trials: Sequence[Trial], objective_names: Sequence[str]) -> list[Trial]:
    """Return the trials that may stand on a front: measured, stable, paying, finite in every objective.

    Only figures of one kind are compared: where measured latencies exist, predicted ones stay off the front.
    """
    eligible = [trial for trial in trials if refusal(trial, objective_names) is None]
    kinds = [latency_kind(trial) for trial in eligible]
    kind = next((kind for kind in KINDS if kind in kinds), None)
    return [trial for trial, own in zip(eligible, kinds, strict=True) if own in (kind, None)]


def refusal(trial: TrialRecord | PointRecord, objective_names: Sequence[str]) -> str | None:
    """Return why the trial may not stand on a front, as a few words; None where it may."""
    if trial.state != "measured":
        return trial.state
    gain, is_stable = _merits(trial)
    if not gain.pays:
        return gain.verdict
    if not is_stable:
        return UNSTABLE
    figures = _figures(trial)
    missing = [name for name in objective_names if name not in figures or not math.isfinite(figures[name].value)]
    return f"no {', '.join(missing)}" if missing else None


def latency_kind(trial: TrialRecord | PointRecord) -> str | None:
    """Return how the trial's latency came about; None where it has none."""
    if isinstance(trial, PointRecord):
        latency = trial.values.get("latency_ms") if trial.state == "measured" else None
        return None if latency is None else latency.kind
    measurements = trial.outcome.measurements if isinstance(trial.outcome, Measured) else ()
    return next((measurement.kind for measurement in measurements if measurement.name == "latency_ms"), None)


def objective_losses(trials: Sequence[Trial], objective_names: Sequence[str]) -> Losses:
    """Return the measured trials' losses as an `n x m` array in the order of `objective_names`."""
    figures = [_figures(trial) for trial in trials]
    rows = [[known[name].value for name in objective_names] for known in figures]
    return losses(as_losses(rows, len(objective_names)), [OBJECTIVES[name] for name in objective_names])


def _merits(trial: TrialRecord | PointRecord) -> tuple[Gain, bool]:
    """Return whether a measured trial's compression pays, and whether its latency is stable."""
    if isinstance(trial, PointRecord):
        assert trial.verdict is not None and trial.stable is not None
        return Gain(trial.verdict, None, None), trial.stable
    assert isinstance(trial.outcome, Measured)
    return trial.outcome.gain, trial.outcome.stable


def _figures(trial: TrialRecord | PointRecord) -> Mapping[str, Measurement] | Mapping[str, PointValue]:
    """Return a measured trial's figures by name."""
    if isinstance(trial, PointRecord):
        return trial.values
    assert isinstance(trial.outcome, Measured), f"trial {trial.number} has no values"
    return {measurement.name: measurement for measurement in trial.outcome.measurements}


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
