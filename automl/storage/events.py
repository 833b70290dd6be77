"""Events: what is worth telling about a study, in the order in which it happened."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select

from automl.storage.records import EventRecord
from automl.storage.tables import EVENT


def add(connection: Connection, study_id: int, event: EventRecord) -> None:
    """Write an event."""
    row = {"kind": event.kind, "text": event.text, "trial": event.trial, "created_at": event.created_at}
    connection.execute(insert(EVENT), {"study_id": study_id, **row})


def latest(connection: Connection, study_id: int, limit: int) -> list[EventRecord]:
    """Return the latest events, the oldest of them first."""
    query = select(EVENT.c.kind, EVENT.c.text, EVENT.c.trial, EVENT.c.created_at)
    rows = connection.execute(query.where(EVENT.c.study_id == study_id).order_by(EVENT.c.id.desc()).limit(limit))
    return [EventRecord(*row) for row in reversed(rows.all())]
