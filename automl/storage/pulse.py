"""Has a study changed? Asked every two seconds by every open page, so it must cost next to nothing."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from automl.storage.tables import FINALIST, OUTCOME, TEACHER, TRIAL


def read(connection: Connection, study_id: int) -> tuple[int, ...]:
    """Return counts that differ whenever a trial is added or finished, or a finalist or teacher is recorded."""
    last = select(func.max(TRIAL.c.number)).where(TRIAL.c.study_id == study_id)
    counts = [
        select(func.count()).select_from(table).where(table.c.study_id == study_id)
        for table in (OUTCOME, FINALIST, TEACHER)
    ]
    row = connection.execute(select(*(query.scalar_subquery() for query in (last, *counts)))).one()
    return tuple(-1 if count is None else count for count in row)
