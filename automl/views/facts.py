"""A study's record as plain facts: what is plotted, marked and said on hover, decided before anything is drawn."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from automl.candidate import Candidate
from automl.errors import input_error
from automl.outcome import Failed, Infeasible, Measured, Measurement, Stopped, Timing
from automl.search.front import UNSTABLE, admitted, latency_kind, recorded_front, refusal, study_front
from automl.storage.records import PointRecord, PointValue

if TYPE_CHECKING:
    from automl.storage import FinalistRecord, Store, StudyRecord, TeacherRecord, TrialRecord

Role = Literal["trial", "finalist", "twin", "teacher"]
Standing = Literal["front", "dominated", "not paying", "unstable", "infeasible", "stopped", "failed", "open"]
FIGURES = ("accuracy", "balanced_accuracy", "latency_ms", "size_bytes")  # what the many of a long study are read for
LONG = 1_000  # trials from which a study is a long one
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


AnyReading = Reading | PointValue  # as it was read in whole, or quickly


@dataclass(frozen=True)
class PointFacts:
    """One mark: a trial, a finalist, an uncompressed twin or the teacher.

    `number` is the trial's; a finalist's is that of the trial it comes from. `standing` says why a trial is where it
    is; `reason` says it in words. `described` is the candidate, None for the many off the front of a long study, of
    which only the figures are read.
    """

    role: Role
    number: int | None
    standing: Standing
    reason: str
    described: Candidate | None
    candidate_hash: str
    readings: Mapping[str, AnyReading]
    protocol: str
    twin_ratio: tuple[float, float, float] | None
    verdict: str
    reused_from: int | None

    @property
    def candidate(self) -> Candidate:
        """Return the candidate of a point that is described."""
        assert self.described is not None, f"trial {self.number} is one of many off the front"
        return self.described

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

    @cached_property
    def trials(self) -> tuple[PointFacts, ...]:
        """Return the points that are trials."""
        return tuple(point for point in self.points if point.role == "trial")

    @cached_property
    def front(self) -> tuple[PointFacts, ...]:
        """Return the trials on the front, the fastest first."""
        standing = [point for point in self.trials if point.standing == "front"]
        return tuple(sorted(standing, key=lambda point: (point.value("latency_ms"), point.number)))


def study_facts(store: Store, name: str) -> StudyFacts:
    """Return the facts of the study `name`; of a long one only the front is described.

    Raises:
        InputError: where there is no such study; names those that there are.
    """
    study = store.find_study(name)
    if study is None:
        known = ", ".join(record.name for record in store.studies())
        raise input_error("the study", f"one of: {known}" if known else "in the storage, which is empty", repr(name))
    light = store.points(study.id, sorted({*FIGURES, *study.objectives}))
    numbers = None if len(light) <= LONG else [point.number for point in study_front(light, study.objectives)]
    described = store.trials(study.id, numbers=numbers)
    return facts_of(study, described, store.finalists(study.id), store.teacher(study.id), light)


def facts_of(
    study: StudyRecord,
    described: Sequence[TrialRecord],
    finalists: Sequence[FinalistRecord],
    teacher: TeacherRecord | None,
    light: Sequence[PointRecord] = (),
) -> StudyFacts:
    """Return the facts of records that are already read.

    Args:
        study: in the record.
        described: trials in whole: all of them, or of a long study those on the front.
        finalists: with the twins.
        teacher: of the study.
        light: all trials, where they are not all described.
    """
    whole = {trial.number: trial for trial in described}
    trials: Sequence[TrialRecord | PointRecord]
    trials = sorted([*described, *(one for one in light if one.number not in whole)], key=lambda trial: trial.number)
    eligible = admitted(trials, study.objectives)
    on_front = {trial.number for trial in study_front(eligible, study.objectives)}
    kind = next((kind for trial in eligible if (kind := latency_kind(trial)) is not None), "measured")
    may_stand = {trial.number for trial in eligible}
    points = [
        _trial_point(trial, study.objectives, _standing(trial, trial.number in on_front, trial.number in may_stand))
        for trial in trials
    ]
    points += [_finalist_point(finalist) for finalist in finalists if finalist.role in ("finalist", "twin")]
    points += [] if teacher is None else [_teacher_point(teacher)]
    counts = Counter(trial.state if trial.reused_from is None else "reused" for trial in trials)
    return StudyFacts(
        study.name, study.seed, study.device, tuple(study.objectives), _limits(study.spec),
        kind, study.created_at, study.finished_at, tuple(points), dict(counts),
    )  # fmt: skip


def front_trials(store: Store, name: str) -> list[TrialRecord]:
    """Return the trials on the front of the study `name`, in the order of their numbers.

    Raises:
        InputError: where there is no such study.
    """
    study = store.find_study(name)
    if study is None:
        raise input_error("the study", "in the storage", repr(name))
    return recorded_front(store, study)


def _trial_point(trial: TrialRecord | PointRecord, objectives: Sequence[str], standing: Standing) -> PointFacts:
    if isinstance(trial, PointRecord):
        return _light_point(trial, objectives, standing)
    outcome = trial.outcome
    measurements = outcome.measurements if isinstance(outcome, Measured | Infeasible) else ()
    timings = outcome.timings if isinstance(outcome, Measured | Infeasible) else ()
    said = outcome.reason if isinstance(outcome, Infeasible | Stopped | Failed) else ""
    return PointFacts(
        "trial", trial.number, standing, said if said else _refusal(trial, objectives, standing), trial.candidate,
        trial.candidate_hash, _readings(measurements), _protocol(measurements), _twin_ratio(outcome, timings),
        outcome.gain.verdict if isinstance(outcome, Measured) else "", trial.reused_from,
    )  # fmt: skip


def _light_point(trial: PointRecord, objectives: Sequence[str], standing: Standing) -> PointFacts:
    return PointFacts(
        "trial", trial.number, standing, _refusal(trial, objectives, standing), None, "", trial.values, "", None,
        "" if trial.verdict is None else trial.verdict, trial.reused_from,
    )  # fmt: skip


def _standing(trial: TrialRecord | PointRecord, on_front: bool, eligible: bool) -> Standing:
    if trial.state != "measured":
        return trial.state
    if eligible:
        return "front" if on_front else "dominated"
    return "unstable" if refusal(trial, ()) in (UNSTABLE, None) else "not paying"


def _refusal(trial: TrialRecord | PointRecord, objectives: Sequence[str], standing: Standing) -> str:
    if standing not in ("unstable", "not paying"):
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
