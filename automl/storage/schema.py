"""The schema's version: tables made at first, brought up to date stepwise, refused where a newer package made them.

The steps are Alembic's scripts in `migrations`, run within one transaction over our own connection. The table
`automl_schema_version` is the only truth about where a database stands: every package ever released reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from sqlalchemy import Connection, func, insert, inspect, select

from automl.errors import StorageError
from automl.storage.database import Database
from automl.storage.tables import METADATA, SCHEMA_VERSION_TABLE

SCHEMA_VERSION = 2
SCRIPTS = Path(__file__).parent / "migrations"

Migration = Callable[[Connection], None]
_ADVISORY_LOCK = 6_117_108_101  # any number that nobody else uses: one process at a time makes or migrates tables
_ONE_AT_A_TIME = Lock()  # Alembic's `op` is one for the whole process


def prepare(
    database: Database, newest: int = SCHEMA_VERSION, migrations: Mapping[int, Migration] | None = None
) -> None:
    """Make the tables, or bring them to version `newest`, where they are not there yet.

    All steps are one transaction: a process killed within it leaves the database as it was.

    Raises:
        StorageError: where the database is newer than this package, too old for it, or cannot be used.
    """
    version = database_version(database)
    if version is not None and version > newest:
        raise _too_new(database.shown, version, newest)
    if version != newest:
        with database.writing() as connection:
            _lock(connection)
            _bring_up(connection, database.shown, newest, shipped() if migrations is None else migrations)


def database_version(database: Database) -> int | None:
    """Return the version of the database's tables, None where there are none of ours; nothing is changed."""
    with database.reading() as connection:
        return _version(connection)


def shipped() -> Mapping[int, Migration]:
    """Return the package's steps, each by the version that it leads from."""
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(SCRIPTS)).walk_revisions()
    return {int(str(script.down_revision)): _step(script.module.upgrade) for script in scripts if script.down_revision}


def _step(upgrade: Callable[[], None]) -> Migration:
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    def run(connection: Connection) -> None:
        with _ONE_AT_A_TIME, Operations.context(MigrationContext.configure(connection)):
            upgrade()

    return run


def _version(connection: Connection) -> int | None:
    """Return the database's version, None where our tables were never made."""
    if not inspect(connection).has_table(SCHEMA_VERSION_TABLE.name):
        return None
    version: int | None = connection.scalar(select(func.max(SCHEMA_VERSION_TABLE.c.version)))
    return version


def _lock(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":  # SQLite's writing transaction is a lock already
        connection.execute(select(func.pg_advisory_xact_lock(_ADVISORY_LOCK)))


def _bring_up(connection: Connection, shown: str, newest: int, migrations: Mapping[int, Migration]) -> None:
    version = _version(connection)
    if version is None:
        METADATA.create_all(connection)
        _mark(connection, newest)
        return
    if version > newest:  # another process was faster
        raise _too_new(shown, version, newest)
    for step in range(version, newest):
        if step not in migrations:
            raise StorageError(
                f"{shown}: the schema's version must be {newest}, but got {version}, and this package has no step "
                f"from {step} to {step + 1}. Name another database"
            )
        migrations[step](connection)
        _mark(connection, step + 1)


def _too_new(shown: str, version: int, newest: int) -> StorageError:
    return StorageError(
        f"{shown}: the schema's version must be at most {newest}, which this package knows, but got {version}: "
        "a newer package made it. Upgrade the automl package, or name another database"
    )


def _mark(connection: Connection, version: int) -> None:
    connection.execute(insert(SCHEMA_VERSION_TABLE).values(version=version, applied_at=datetime.now(UTC)))
