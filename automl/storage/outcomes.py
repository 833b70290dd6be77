"""Writing and reading whole outcomes: one head row, and some rows in each of the other tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, RowMapping, Table, insert, select

from automl.outcome import Measured, Outcome
from automl.storage.codec import artefact_row, outcome_from_rows, outcome_head, outcome_parts
from automl.storage.tables import ARTEFACT, DURATION, EPOCH, MEASUREMENT, NOTE, OUTCOME, TIMING, VIOLATION

SMALL_PARTS = (DURATION, MEASUREMENT, TIMING, VIOLATION, NOTE)

Rows = dict[int, list[RowMapping]]  # outcome id -> its rows in one table


def write_outcome(connection: Connection, study_id: int, outcome: Outcome, now: datetime) -> int:
    """Write an outcome and return its id; it belongs to nothing yet."""
    head = {**outcome_head(outcome), "study_id": study_id, "created_at": now}
    outcome_id: int = connection.execute(insert(OUTCOME).values(head).returning(OUTCOME.c.id)).scalar_one()
    if isinstance(outcome, Measured):
        connection.execute(insert(ARTEFACT), {**artefact_row(outcome.artefact), "outcome_id": outcome_id})
    for table, rows in outcome_parts(outcome).items():
        if rows:
            connection.execute(
                insert(table), [{**row, "outcome_id": outcome_id, "position": at} for at, row in enumerate(rows)]
            )
    return outcome_id


def read_outcomes(connection: Connection, condition: ColumnElement[bool], with_samples: bool) -> dict[int, Outcome]:
    """Return the outcomes, by id, that fulfil a condition on the columns of `OUTCOME`."""
    tables = (*SMALL_PARTS, EPOCH) if with_samples else SMALL_PARTS
    parts = {table: _rows(connection, table, condition, with_samples) for table in tables}
    return {
        head["id"]: outcome_from_rows(head, {table: rows.get(head["id"], []) for table, rows in parts.items()})
        for head in _heads(connection, condition)
    }


def _heads(connection: Connection, condition: ColumnElement[bool]) -> Sequence[RowMapping]:
    artefact = [ARTEFACT.c[name].label(f"artefact_{name}") for name in ("sha256", "path", "size_bytes")]
    heads = select(OUTCOME, *artefact).outerjoin_from(OUTCOME, ARTEFACT).where(condition)
    return connection.execute(heads).mappings().all()


def _rows(connection: Connection, table: Table, condition: ColumnElement[bool], with_samples: bool) -> Rows:
    columns = [column for column in table.c if with_samples or column.name != "samples_ms"]
    query = select(*columns).join_from(table, OUTCOME).where(condition).order_by(table.c.outcome_id, table.c.position)
    rows: Rows = defaultdict(list)
    for row in connection.execute(query).mappings():
        rows[row["outcome_id"]].append(row)
    return rows
