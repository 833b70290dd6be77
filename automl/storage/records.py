"""What the store gives back: frozen values, detached from the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from automl.candidate import Candidate
from automl.outcome import Measured, Measurement, Outcome, RungResult

State = Literal["open", "measured", "infeasible", "stopped", "failed"]


@dataclass(frozen=True)
class StudyRecord:
    """A study as it was asked for. `spec` is the resolved one, with the latest budget."""

    id: int
    name: str
    spec: Mapping[str, Any]
    spec_digest: str
    seed: int
    versions: Mapping[str, str]
    device: str
    objectives: tuple[str, ...]
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True)
class TrialRecord:
    """A trial. `state` is "open" exactly as long as `outcome` is None; times are in UTC."""

    number: int
    point: Mapping[str, int]
    candidate: Candidate
    candidate_hash: str
    shape_key: str
    state: State
    attempts: int
    reused_from: int | None
    sampler_state: Mapping[str, Any]
    outcome: Outcome | None
    created_at: datetime
    finished_at: datetime | None
    enqueued: bool


@dataclass(frozen=True, slots=True)
class PointValue:
    """A measurement's value with its 95 % interval, and how it came about."""

    value: float
    low: float
    high: float
    kind: str


@dataclass(frozen=True, slots=True)
class PointRecord:
    """What a view needs of a trial: some measurements by name (those that it has), and no candidate.

    `verdict` and `stable` are those of a measured trial, else None.
    """

    number: int
    state: State
    values: Mapping[str, PointValue]
    verdict: str | None
    stable: bool | None
    enqueued: bool
    reused_from: int | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True)
class RungRecord:
    """A result below the top rung; `sequence` grows in the order in which the results of a database were recorded."""

    sequence: int
    trial: int
    result: RungResult


@dataclass(frozen=True)
class FinalistRecord:
    """A candidate trained on all training data at the end: `role` is "finalist" or "twin"."""

    role: str
    trial: int | None
    candidate: Candidate
    outcome: Measured
    created_at: datetime


@dataclass(frozen=True)
class TeacherRecord:
    """The teacher of a study: its file (`path` relative to the run folder), its figures, the seconds it cost."""

    sha256: str
    path: str
    candidate: Candidate
    measurements: tuple[Measurement, ...]
    seconds: float
    created_at: datetime


@dataclass(frozen=True)
class EventRecord:
    """Something worth telling about a study, or about one of its trials."""

    kind: str
    text: str
    trial: int | None
    created_at: datetime


@dataclass(frozen=True)
class PhaseRecord:
    """A stretch of time that one driver spent in one phase, up to its last sign of life."""

    phase: str
    host: str
    pid: int
    started_at: datetime
    last_seen_at: datetime

    @property
    def seconds(self) -> float:
        """Return the seconds between the first and the last sign of life, never negative."""
        return max(0.0, (self.last_seen_at - self.started_at).total_seconds())


@dataclass(frozen=True)
class Holder:
    """A driver process, told apart from every other one that ever ran.

    `boot_id` names the boot and the process namespace, `process_start` the clock ticks from boot to the
    process's start; both are "" and 0 where the system does not tell.
    """

    host: str
    boot_id: str
    pid: int
    process_start: int
