"""A study's record as plain facts: what is plotted, marked and said on hover, decided before anything is drawn."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from automl.candidate import Candidate
from automl.errors import input_error
from automl.outcome import Failed, Infeasible, Measured, Measurement, Stopped, Timing
from automl.search.front import admitted, latency_kind, refusal, study_front

if TYPE_CHECKING:
    from automl.storage import FinalistRecord, Store, StudyRecord, TeacherRecord, TrialRecord

Role = Literal["trial", "finalist", "twin", "teacher"]
Standing = Literal["front", "dominated", "not paying", "unstable", "infeasible", "stopped", "failed", "open"]
COMPRESSIONS = ("uncompressed", "pruned", "quantized", "pruned + quantized")
# The finalists are scored on the test set; they are drawn beside the validation figure of the same quantity.
TEST_NAMES: Mapping[str, str] = {
    "accuracy": "test_accuracy",
    "balanced_accuracy": "test_balanced_accuracy",
}


@dataclass(frozen=True)
class Reading:
    """A value with its 95 % interval and where it came from."""

    value: float
    low: float
    high: float
    kind: str
    samples: int


@dataclass(frozen=True)
class PointFacts:
    """One mark: a trial, a finalist, an uncompressed twin or the teacher.

    `number` is the trial's; a finalist's is that of the trial it comes from. `standing` says why a trial is where it
    is; `reason` says it in words. `sequence` orders trials by when they were finished.
    """

    role: Role
    number: int | None
    standing: Standing
    reason: str
    candidate: Candidate
    candidate_hash: str
    readings: Mapping[str, Reading]
    protocol: str
    twin_ratio: tuple[float, float, float] | None
    verdict: str
    reused_from: int | None

    @property
    def compression(self) -> str:
        """Return which kinds of compression the candidate has, as one of `COMPRESSIONS`."""
        kinds = [("pruned", self.candidate.is_pruned()), ("quantized", self.candidate.is_quantized())]
        return " + ".join(kind for kind, present in kinds if present) or COMPRESSIONS[0]

    def value(self, name: str) -> float:
        """Return the named value, NaN where there is none."""
        return self.readings[name].value if name in self.readings else math.nan


@dataclass(frozen=True)
class StudyFacts:
    """All that the pictures of one study need.

    `points` holds the trials in the order of their numbers, then finalists and twins, then the teacher. `counts` is
    the number of trials by state; those that reuse another one's outcome are counted as "reused" instead.
    """

    name: str
    seed: int
    device: str
    objectives: tuple[str, ...]
    limits: Mapping[str, float]
    latency_kind: str
    created_at: datetime
    finished_at: datetime | None
    points: tuple[PointFacts, ...]
    counts: Mapping[str, int]

    @property
    def trials(self) -> tuple[PointFacts, ...]:
        """Return the points that are trials."""
        return tuple(point for point in self.points if point.role == "trial")

    @property
    def front(self) -> tuple[PointFacts, ...]:
        """Return the trials on the front, the fastest first."""
        standing = [point for point in self.trials if point.standing == "front"]
        return tuple(sorted(standing, key=lambda point: (point.value("latency_ms"), point.number)))


def study_facts(store: Store, name: str) -> StudyFacts:
    """Return the facts of the study `name`.

    Raises:
        InputError: where there is no such study; names those that there are.
    """
    study = store.find_study(name)
    if study is None:
        known = ", ".join(record.name for record in store.studies())
        raise input_error("the study", f"one of: {known}" if known else "in the storage, which is empty", repr(name))
    return facts_of(study, store.trials(study.id), store.finalists(study.id), store.teacher(study.id))


def facts_of(
    study: StudyRecord,
    trials: Sequence[TrialRecord],
    finalists: Sequence[FinalistRecord],
    teacher: TeacherRecord | None,
) -> StudyFacts:
    """Return the facts of records that are already read."""
    on_front = {trial.number for trial in study_front(trials, study.objectives)}
    eligible = {trial.number for trial in admitted(trials, study.objectives)}
    ordered = sorted(trials, key=lambda trial: trial.number)
    points = [_trial_point(trial, study.objectives, trial.number in on_front, eligible) for trial in ordered]
    points += [_finalist_point(finalist) for finalist in finalists if finalist.role in ("finalist", "twin")]
    points += [] if teacher is None else [_teacher_point(teacher)]
    kinds = {kind for trial in trials if trial.number in eligible and (kind := latency_kind(trial)) is not None}
    counts = Counter(trial.state if trial.reused_from is None else "reused" for trial in trials)
    return StudyFacts(
        study.name, study.seed, study.device, tuple(study.objectives), _limits(study.spec),
        next(iter(kinds), "measured"), study.created_at, study.finished_at, tuple(points), dict(counts),
    )  # fmt: skip


def front_trials(store: Store, name: str) -> list[TrialRecord]:
    """Return the trials on the front of the study `name`, in the order of their numbers.

    Raises:
        InputError: where there is no such study.
    """
    study = store.find_study(name)
    if study is None:
        raise input_error("the study", "in the storage", repr(name))
    return study_front(store.trials(study.id), study.objectives)


def _trial_point(trial: TrialRecord, objectives: Sequence[str], on_front: bool, eligible: set[int]) -> PointFacts:
    outcome = trial.outcome
    measurements = outcome.measurements if isinstance(outcome, Measured | Infeasible) else ()
    timings = outcome.timings if isinstance(outcome, Measured | Infeasible) else ()
    standing = _standing(trial, on_front, trial.number in eligible)
    return PointFacts(
        "trial", trial.number, standing, _reason(trial, objectives, standing), trial.candidate, trial.candidate_hash,
        _readings(measurements), _protocol(measurements), _twin_ratio(outcome, timings),
        outcome.gain.verdict if isinstance(outcome, Measured) else "", trial.reused_from,
    )  # fmt: skip


def _standing(trial: TrialRecord, on_front: bool, eligible: bool) -> Standing:
    outcome = trial.outcome
    if isinstance(outcome, Measured):
        if on_front:
            return "front"
        if eligible:
            return "dominated"
        return "unstable" if outcome.gain.pays else "not paying"
    if isinstance(outcome, Infeasible):
        return "infeasible"
    if isinstance(outcome, Stopped):
        return "stopped"
    return "failed" if isinstance(outcome, Failed) else "open"


def _reason(trial: TrialRecord, objectives: Sequence[str], standing: Standing) -> str:
    if isinstance(trial.outcome, Infeasible | Stopped | Failed):
        return trial.outcome.reason
    if standing in ("front", "dominated"):
        return ""
    return refusal(trial, objectives) or "its latency is of another kind"


def _finalist_point(finalist: FinalistRecord) -> PointFacts:
    outcome = finalist.outcome
    return PointFacts(
        "twin" if finalist.role == "twin" else "finalist", finalist.trial, "front", "", finalist.candidate,
        finalist.candidate.candidate_hash(), _readings(outcome.measurements), _protocol(outcome.measurements),
        _twin_ratio(outcome, outcome.timings), outcome.gain.verdict, None,
    )  # fmt: skip


def _teacher_point(teacher: TeacherRecord) -> PointFacts:
    return PointFacts(
        "teacher", None, "front", "", teacher.candidate, teacher.candidate.candidate_hash(),
        _readings(teacher.measurements), _protocol(teacher.measurements), None, "", None,
    )  # fmt: skip


def _readings(measurements: Sequence[Measurement]) -> dict[str, Reading]:
    return {
        measurement.name: Reading(
            measurement.value, measurement.low, measurement.high, measurement.kind, measurement.samples
        )
        for measurement in measurements
    }


def _protocol(measurements: Sequence[Measurement]) -> str:
    return next((measurement.protocol for measurement in measurements if measurement.name == "latency_ms"), "")


def _twin_ratio(outcome: object, timings: Sequence[Timing]) -> tuple[float, float, float] | None:
    ratio = outcome.gain.twin_ratio if isinstance(outcome, Measured) else None
    if ratio is None:
        ratio = next((timing.twin_ratio for timing in reversed(timings) if timing.twin_ratio is not None), None)
    return None if ratio is None else (ratio.value, ratio.low, ratio.high)


def _limits(spec: Mapping[str, object]) -> dict[str, float]:
    limits = spec.get("limits")
    if not isinstance(limits, Mapping):
        return {}
    return {str(name): float(bound) for name, bound in limits.items() if bound is not None}
