"""The controls' reference milliseconds: fixed once for each study, device and kind."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from automl.storage.tables import CONTROL


def references(connection: Connection, study_id: int, device: str) -> dict[str, float]:
    """Return the reference milliseconds by kind of control."""
    query = select(CONTROL.c.kind, CONTROL.c.reference_ms).where(
        CONTROL.c.study_id == study_id, CONTROL.c.device == device
    )
    rows = connection.execute(query.order_by(CONTROL.c.kind)).all()
    return {row.kind: row.reference_ms for row in rows}


def fix_reference(
    connection: Connection, study_id: int, *, device: str, kind: str, ms: float, sha256: str, now: datetime
) -> float:
    """Write a reference unless there is one, and return the one that holds."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    values = {"study_id": study_id, "device": device, "kind": kind, "reference_ms": ms, "sha256": sha256}
    connection.execute(dialect.insert(CONTROL).values(**values, created_at=now).on_conflict_do_nothing())
    return references(connection, study_id, device)[kind]
