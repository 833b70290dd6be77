"""Trials: opened once, attempted at will, finished once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, and_, insert, select, update

from automl.candidate import Candidate, candidate_from_json, candidate_to_json
from automl.errors import StorageError
from automl.outcome import Outcome, Timing
from automl.storage.codec import timing_from_row
from automl.storage.outcomes import read_outcomes, write_outcome
from automl.storage.records import State, TrialRecord
from automl.storage.tables import OUTCOME, TIMING, TRIAL


@dataclass(frozen=True)
class Draft:
    """A trial as it is proposed."""

    number: int
    point: Mapping[str, int]
    candidate: Candidate
    candidate_hash: str
    shape_key: str
    sampler_state: Mapping[str, Any]
    enqueued: bool


def add(connection: Connection, study_id: int, draft: Draft, now: datetime) -> None:
    """Write an open trial.

    Raises:
        StorageError: where the study has a trial of that number.
    """
    if _find(connection, study_id, draft.number) is not None:
        raise StorageError(f"study {study_id} has a trial {draft.number} already: another driver may be at work")
    row = {
        "study_id": study_id,
        "number": int(draft.number),
        "point": {name: int(index) for name, index in draft.point.items()},
        "candidate": candidate_to_json(draft.candidate),
        "candidate_hash": draft.candidate_hash,
        "shape_key": draft.shape_key,
        "sampler_state": dict(draft.sampler_state),
        "enqueued": bool(draft.enqueued),
        "attempts": 0,
        "created_at": now,
    }
    connection.execute(insert(TRIAL), row)


def change_attempts(connection: Connection, study_id: int, number: int, by: int) -> int:
    """Add to the attempts at an open trial and return how many there are now.

    Raises:
        StorageError: where the trial is unknown or finished, or would have less than no attempts.
    """
    is_open = and_(TRIAL.c.study_id == study_id, TRIAL.c.number == number, TRIAL.c.outcome_id.is_(None))
    changed = update(TRIAL).where(is_open, TRIAL.c.attempts + by >= 0).values(attempts=TRIAL.c.attempts + by)
    attempts: int | None = connection.execute(changed.returning(TRIAL.c.attempts)).scalar_one_or_none()
    if attempts is None:
        row = _must_find(connection, study_id, number)
        got = "no attempt" if row["outcome_id"] is None else "a finished one"
        raise StorageError(f"study {study_id}, trial {number}: must be open and attempted, but got {got}")
    return attempts


def finish(
    connection: Connection, study_id: int, number: int, *, outcome: Outcome, reused_from: int | None, now: datetime
) -> bool:
    """Write the outcome of an open trial; False, and nothing written, where it is finished.

    Raises:
        StorageError: where the trial is unknown.
    """
    row = _must_find(connection, study_id, number, lock=True)
    if row["outcome_id"] is not None:
        return False
    outcome_id = write_outcome(connection, study_id, outcome, now)
    this = and_(TRIAL.c.study_id == study_id, TRIAL.c.number == number)
    connection.execute(update(TRIAL).where(this).values(outcome_id=outcome_id, reused_from=reused_from))
    return True


def read_all(connection: Connection, study_id: int, with_samples: bool) -> list[TrialRecord]:
    """Return the study's trials by number."""
    rows = connection.execute(_with_finish(study_id).order_by(TRIAL.c.number)).mappings()
    outcomes = read_outcomes(connection, OUTCOME.c.study_id == study_id, with_samples)
    return [_record(row, outcomes) for row in rows]


def read_one(connection: Connection, study_id: int, number: int) -> TrialRecord | None:
    """Return one trial with everything, None where there is none of that number."""
    row = connection.execute(_with_finish(study_id).where(TRIAL.c.number == number)).mappings().one_or_none()
    if row is None:
        return None
    return _record(row, read_outcomes(connection, OUTCOME.c.id == row["outcome_id"], with_samples=True))


def known_timing(connection: Connection, study_id: int, device: str, shape_key: str) -> Timing | None:
    """Return the first recorded timing of the untrained network of that shape on the device."""
    query = (
        select(TIMING)
        .join(TRIAL, TRIAL.c.outcome_id == TIMING.c.outcome_id)
        .where(TRIAL.c.study_id == study_id, TRIAL.c.shape_key == shape_key)
        .where(TIMING.c.device == device, TIMING.c.moment == "untrained")
        .order_by(TIMING.c.outcome_id, TIMING.c.position)
        .limit(1)
    )
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else timing_from_row(row)


def _find(connection: Connection, study_id: int, number: int, lock: bool = False) -> RowMapping | None:
    query = select(TRIAL.c.outcome_id).where(TRIAL.c.study_id == study_id, TRIAL.c.number == number)
    return connection.execute(query.with_for_update() if lock else query).mappings().one_or_none()


def _must_find(connection: Connection, study_id: int, number: int, lock: bool = False) -> RowMapping:
    row = _find(connection, study_id, number, lock)
    if row is None:
        raise StorageError(f"study {study_id} has no trial {number}: add it before anything else is recorded of it")
    return row


def _with_finish(study_id: int) -> Select[Any]:
    finished_at, state = OUTCOME.c.created_at.label("finished_at"), OUTCOME.c.state.label("state")
    joined = select(TRIAL, finished_at, state).outerjoin_from(TRIAL, OUTCOME, TRIAL.c.outcome_id == OUTCOME.c.id)
    return joined.where(TRIAL.c.study_id == study_id)


def _record(row: RowMapping, outcomes: Mapping[int, Outcome]) -> TrialRecord:
    state: State = "open" if row["state"] is None else row["state"]
    return TrialRecord(
        number=row["number"],
        point=row["point"],
        candidate=candidate_from_json(row["candidate"]),
        candidate_hash=row["candidate_hash"],
        shape_key=row["shape_key"],
        state=state,
        attempts=row["attempts"],
        reused_from=row["reused_from"],
        sampler_state=row["sampler_state"],
        outcome=None if row["outcome_id"] is None else outcomes[row["outcome_id"]],
        created_at=row["created_at"],
        finished_at=row["finished_at"],
        enqueued=row["enqueued"],
    )
