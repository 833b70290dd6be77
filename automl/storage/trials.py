"""Trials: opened once, attempted at will, finished once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Integer, RowMapping, Select, and_, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from automl.candidate import Candidate, candidate_to_json
from automl.errors import StorageError
from automl.outcome import Outcome, Timing
from automl.storage.decoding import timings_from_lines
from automl.storage.documents import Documents
from automl.storage.outcomes import read_outcomes, write_outcome
from automl.storage.raw import PARTITION, Texts, raw, uncollected
from automl.storage.records import State, TrialRecord
from automl.storage.tables import OUTCOME, TIMING, TRIAL

# Built once: what the driver runs for every trial.
_THIS = and_(TRIAL.c.study_id == bindparam("study"), TRIAL.c.number == bindparam("trial"))
_FIND = select(TRIAL.c.outcome_id).where(_THIS)
_LOCKED = _FIND.with_for_update()
_CHANGED = TRIAL.c.attempts + bindparam("by", type_=Integer)
_CHANGE_ATTEMPTS = (
    update(TRIAL)
    .where(_THIS, TRIAL.c.outcome_id.is_(None), _CHANGED >= 0)
    .values(attempts=_CHANGED)
    .returning(TRIAL.c.attempts)
)
_FINISH = update(TRIAL).where(_THIS).values(outcome_id=bindparam("outcome"), reused_from=bindparam("source"))
_KNOWN_TIMING = (
    select(TIMING.c.outcome_id, *(raw(column) for column in list(TIMING.c)[2:]))
    .join(TRIAL, TRIAL.c.outcome_id == TIMING.c.outcome_id)
    .where(TRIAL.c.study_id == bindparam("study"), TRIAL.c.shape_key == bindparam("shape"))
    .where(TIMING.c.device == bindparam("device"), TIMING.c.moment == "untrained")
    .order_by(TIMING.c.outcome_id, TIMING.c.position)
    .limit(1)
)


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
    attempts: int = 0


def add(connection: Connection, study_id: int, draft: Draft, now: datetime) -> None:
    """Write an open trial.

    Raises:
        StorageError: where the study has a trial of that number.
    """
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    unless_there = dialect.insert(TRIAL).on_conflict_do_nothing(index_elements=["study_id", "number"])
    added = connection.execute(unless_there.returning(TRIAL.c.number), trial_row(study_id, draft, now))
    if added.first() is None:
        raise StorageError(f"study {study_id} has a trial {draft.number} already: another driver may be at work")


def trial_row(study_id: int, trial: Draft | TrialRecord, created_at: datetime) -> dict[str, Any]:
    """Return the trial's row as long as it is open."""
    return {
        "study_id": study_id,
        "number": int(trial.number),
        "point": {name: int(index) for name, index in trial.point.items()},
        "candidate": candidate_to_json(trial.candidate),
        "candidate_hash": trial.candidate_hash,
        "shape_key": trial.shape_key,
        "sampler_state": dict(trial.sampler_state),
        "enqueued": bool(trial.enqueued),
        "attempts": int(trial.attempts),
        "created_at": created_at,
    }


def change_attempts(connection: Connection, study_id: int, number: int, by: int) -> int:
    """Add to the attempts at an open trial and return how many there are now.

    Raises:
        StorageError: where the trial is unknown or finished, or would have less than no attempts.
    """
    attempts: int | None = connection.scalar(_CHANGE_ATTEMPTS, {**_this(study_id, number), "by": by})
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
    connection.execute(_FINISH, {**_this(study_id, number), "outcome": outcome_id, "source": reused_from})
    return True


def is_finished(connection: Connection, study_id: int, number: int) -> bool:
    """Tell whether the trial is finished, and keep it from being finished until the end of the transaction.

    Raises:
        StorageError: where the trial is unknown.
    """
    return _must_find(connection, study_id, number, lock=True)["outcome_id"] is not None


def read_all(
    connection: Connection,
    study_id: int,
    with_samples: bool,
    numbers: Collection[int] | None = None,
    names: Collection[str] | None = None,
) -> list[TrialRecord]:
    """Return the study's trials by number, or those of some numbers; see `read_outcomes` for `names`."""
    documents, texts = Documents(), Texts()
    wanted, of_wanted = TRIAL.c.study_id == study_id, OUTCOME.c.study_id == study_id
    if numbers is not None:
        wanted = and_(wanted, TRIAL.c.number.in_(numbers))
        of_wanted = OUTCOME.c.id.in_(select(TRIAL.c.outcome_id).where(wanted))
    query = _with_finish().where(wanted).order_by(TRIAL.c.number)
    with uncollected():
        outcomes = read_outcomes(connection, of_wanted, with_samples, names)
        lines = connection.execute(query).partitions(PARTITION)
        return [_record(row, outcomes, documents, texts) for rows in lines for row in rows]


def read_one(connection: Connection, study_id: int, number: int) -> TrialRecord | None:
    """Return one trial with everything, None where there is none of that number."""
    row = connection.execute(_with_finish().where(_THIS), _this(study_id, number)).one_or_none()
    if row is None:
        return None
    outcomes = read_outcomes(connection, OUTCOME.c.id == row.outcome_id, with_samples=True)
    return _record(row, outcomes, Documents(), Texts())


def known_timing(connection: Connection, study_id: int, device: str, shape_key: str) -> Timing | None:
    """Return the first recorded timing of the untrained network of that shape on the device."""
    this = {"study": study_id, "device": device, "shape": shape_key}
    found = timings_from_lines(connection.execute(_KNOWN_TIMING, this), Texts())
    return next((timing for _, timing in found), None)


def _find(connection: Connection, study_id: int, number: int, lock: bool = False) -> RowMapping | None:
    query = _LOCKED if lock else _FIND
    return connection.execute(query, _this(study_id, number)).mappings().one_or_none()


def _must_find(connection: Connection, study_id: int, number: int, lock: bool = False) -> RowMapping:
    row = _find(connection, study_id, number, lock)
    if row is None:
        raise StorageError(f"study {study_id} has no trial {number}: add it before anything else is recorded of it")
    return row


def _this(study_id: int, number: int) -> dict[str, Any]:
    return {"study": study_id, "trial": number}


def _with_finish() -> Select[Any]:
    finished_at, state = OUTCOME.c.created_at.label("finished_at"), OUTCOME.c.state.label("state")
    trial = [raw(column) for column in TRIAL.c]
    return select(*trial, finished_at, state).outerjoin_from(TRIAL, OUTCOME, TRIAL.c.outcome_id == OUTCOME.c.id)


def _record(row: Any, outcomes: Mapping[int, Outcome], documents: Documents, texts: Texts) -> TrialRecord:
    state: State = "open" if row.state is None else row.state
    return TrialRecord(
        number=row.number,
        point=documents.mapping(row.point),
        candidate=documents.candidate(row.candidate),
        candidate_hash=texts[row.candidate_hash],
        shape_key=texts[row.shape_key],
        state=state,
        attempts=row.attempts,
        reused_from=row.reused_from,
        sampler_state=documents.mapping(row.sampler_state),
        outcome=None if row.outcome_id is None else outcomes[row.outcome_id],
        created_at=row.created_at,
        finished_at=row.finished_at,
        enqueued=row.enqueued,
    )
