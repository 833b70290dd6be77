"""Results below the top rung: recorded once for each trial and rung, while the trial is open."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, insert, select

from automl.errors import StorageError
from automl.outcome import RungResult
from automl.storage.codec import placed, rung_head, rung_parts
from automl.storage.decoding import read_parts, rung_from_parts
from automl.storage.records import RungRecord
from automl.storage.tables import RUNG, RUNG_DURATION, RUNG_EPOCH, RUNG_MEASUREMENT, RUNG_TIMING
from automl.storage.trials import is_finished


def add(connection: Connection, study_id: int, number: int, result: RungResult, now: datetime) -> RungRecord:
    """Write a result and return it as recorded; one that the trial has at that rung already stays as it is.

    Raises:
        StorageError: where the trial is unknown, or is finished without such a result.
    """
    finished = is_finished(connection, study_id, number)
    this = (RUNG.c.study_id == study_id) & (RUNG.c.trial == number) & (RUNG.c.rung == result.rung)
    recorded = read(connection, this, with_samples=True)
    if recorded:
        return recorded[0]
    if finished:
        raise StorageError(
            f"study {study_id}, trial {number}: must be open for a result at rung {result.rung}, but got a finished one"
        )
    head = {**rung_head(result), "study_id": study_id, "trial": int(number), "created_at": now}
    sequence: int = connection.execute(insert(RUNG).values(head).returning(RUNG.c.id)).scalar_one()
    for table, rows in rung_parts(result).items():
        if rows:
            connection.execute(insert(table), placed("rung", sequence, rows))
    return RungRecord(sequence, number, result)


def read_all(connection: Connection, study_id: int, with_samples: bool) -> list[RungRecord]:
    """Return the study's results in the order in which they were recorded."""
    return read(connection, RUNG.c.study_id == study_id, with_samples)


def read(connection: Connection, condition: ColumnElement[bool], with_samples: bool) -> list[RungRecord]:
    """Return the results that fulfil a condition on the columns of `RUNG`, in the order of their recording."""
    tables = (RUNG_MEASUREMENT, RUNG_TIMING, RUNG_DURATION, *((RUNG_EPOCH,) if with_samples else ()))
    parts = read_parts(connection, tables, RUNG, condition, with_samples)
    heads = connection.execute(select(RUNG).where(condition).order_by(RUNG.c.id))
    return [RungRecord(head.id, head.trial, rung_from_parts(head, parts)) for head in heads]
