"""What lies in a database: its schema, its studies, its size. Nothing is made or migrated by looking."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from automl.storage import lease
from automl.storage.database import connect
from automl.storage.schema import SCHEMA_VERSION, database_version
from automl.storage.tables import STUDY, TRIAL


@dataclass(frozen=True)
class StudySize:
    """How much a study has recorded, and who drives it ("" for nobody)."""

    name: str
    trials: int
    finished: int
    driven_by: str


@dataclass(frozen=True)
class StorageInfo:
    """A database: `version` is None where it holds no tables of ours; `size_bytes` counts all that lies in it."""

    url: str
    version: int | None
    newest_version: int
    size_bytes: int
    studies: tuple[StudySize, ...]


def storage_info(url: str) -> StorageInfo:
    """Return what lies in the database.

    Raises:
        StorageError: where it cannot be used.
    """
    with closing(connect(url)) as database:
        version = database_version(database)
        studies = () if version is None else database.read(_sizes)
        return StorageInfo(database.shown, version, SCHEMA_VERSION, database.read(_bytes), studies)


def _sizes(connection: Connection) -> tuple[StudySize, ...]:
    now = lease.database_time(connection)
    counted = select(STUDY.c.id, STUDY.c.name, func.count(TRIAL.c.number), func.count(TRIAL.c.outcome_id))
    rows = connection.execute(counted.outerjoin_from(STUDY, TRIAL).group_by(STUDY.c.id).order_by(STUDY.c.id)).all()
    holders = [lease.live_holder(connection, row.id, now) for row in rows]
    return tuple(
        StudySize(name, trials, finished, "" if holder is None else lease.named(holder))
        for (_, name, trials, finished), holder in zip(rows, holders, strict=True)
    )


def _bytes(connection: Connection) -> int:
    if connection.dialect.name == "postgresql":
        return int(connection.scalar(select(func.pg_database_size(func.current_database()))) or 0)
    pages, page_bytes = (connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("page_count", "page_size"))
    return int(pages or 0) * int(page_bytes or 0)
