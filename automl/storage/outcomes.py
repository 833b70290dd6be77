"""Writing and reading whole outcomes: one head row, and some rows in each of the other tables."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, insert, select

from automl.outcome import Measured, Outcome
from automl.storage.codec import artefact_row, outcome_head, outcome_parts, placed
from automl.storage.decoding import outcome_from_parts, read_parts
from automl.storage.tables import ARTEFACT, DURATION, EPOCH, MEASUREMENT, NOTE, OUTCOME, TIMING, VIOLATION

SMALL_PARTS = (DURATION, MEASUREMENT, TIMING, VIOLATION, NOTE)

_INSERT = insert(OUTCOME).returning(OUTCOME.c.id)


def write_outcome(connection: Connection, study_id: int, outcome: Outcome, now: datetime) -> int:
    """Write an outcome and return its id; it belongs to nothing yet."""
    head = {**outcome_head(outcome), "study_id": study_id, "created_at": now}
    outcome_id: int = connection.execute(_INSERT, head).scalar_one()
    if isinstance(outcome, Measured):
        connection.execute(insert(ARTEFACT), {**artefact_row(outcome.artefact), "outcome_id": outcome_id})
    for table, rows in outcome_parts(outcome).items():
        if rows:
            connection.execute(insert(table), placed("outcome", outcome_id, rows))
    return outcome_id


def read_outcomes(
    connection: Connection,
    condition: ColumnElement[bool],
    with_samples: bool,
    names: Collection[str] | None = None,
) -> dict[int, Outcome]:
    """Return the outcomes, by id, that fulfil a condition on the columns of `OUTCOME`.

    With `names` they have those measurements only, and no timings.
    """
    tables = [table for table in SMALL_PARTS if names is None or table is not TIMING]
    tables += [EPOCH] if with_samples else []
    parts = read_parts(connection, tables, OUTCOME, condition, with_samples, names)
    artefact = [ARTEFACT.c[name].label(f"artefact_{name}") for name in ("sha256", "path", "size_bytes")]
    heads = select(OUTCOME, *artefact).outerjoin_from(OUTCOME, ARTEFACT).where(condition)
    return {head.id: outcome_from_parts(head, parts) for head in connection.execute(heads)}
