from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from automl.errors import StorageError
from automl.storage import open_store
from automl.storage.database import Database, connect
from automl.storage.schema import SCHEMA_VERSION, SCRIPTS, prepare, shipped
from automl.storage.tables import METADATA

NEXT = SCHEMA_VERSION + 1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    open_store(f"sqlite:///{tmp_path / 'a.db'}").close()
    return tmp_path / "a.db"


@pytest.fixture
def database(path: Path) -> Database:
    return connect(f"sqlite:///{path}")


def versions(database: Database) -> list[int]:
    with database.reading() as connection:
        return [row[0] for row in connection.exec_driver_sql("SELECT version FROM automl_schema_version")]


def add_column(name: str) -> str:
    return f"ALTER TABLE automl_study ADD COLUMN {name} TEXT"


def add_second(connection: Connection) -> None:
    connection.exec_driver_sql(add_column("second"))


def add_third(connection: Connection) -> None:
    connection.exec_driver_sql(add_column("third"))


def fails(connection: Connection) -> None:
    connection.exec_driver_sql(add_column("lost"))
    raise StorageError("in the middle of a step")


def columns(database: Database) -> set[str]:
    with database.reading() as connection:
        return {column["name"] for column in inspect(connection).get_columns("automl_study")}


def test_prepare_makes_every_table_and_marks_the_version(database: Database) -> None:
    assert versions(database) == [SCHEMA_VERSION]
    with database.reading() as connection:
        assert set(METADATA.tables) <= set(inspect(connection).get_table_names())


def test_prepare_leaves_a_database_of_this_version_alone(path: Path, database: Database) -> None:
    before = path.read_bytes()
    prepare(database)
    assert path.read_bytes() == before


def test_prepare_migrates_step_by_step(database: Database) -> None:
    prepare(database, newest=NEXT + 1, migrations={SCHEMA_VERSION: add_second, NEXT: add_third})
    assert versions(database) == [SCHEMA_VERSION, NEXT, NEXT + 1]
    assert {"second", "third"} <= columns(database)


def test_prepare_leaves_nothing_of_a_migration_that_fails(database: Database) -> None:
    with pytest.raises(StorageError, match="in the middle of a step"):
        prepare(database, newest=NEXT + 1, migrations={SCHEMA_VERSION: add_second, NEXT: fails})
    assert versions(database) == [SCHEMA_VERSION]
    assert not {"second", "lost"} & columns(database)


def test_prepare_refuses_where_a_step_is_missing(database: Database) -> None:
    expected = f"must be {NEXT + 1}, but got {SCHEMA_VERSION}, and this package has no step from {NEXT} to {NEXT + 1}"
    with pytest.raises(StorageError, match=expected):
        prepare(database, newest=NEXT + 1, migrations={SCHEMA_VERSION: add_second})
    assert versions(database) == [SCHEMA_VERSION]


def test_open_store_refuses_a_newer_database(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("INSERT INTO automl_schema_version VALUES (7, '2030-01-01 00:00:00.000000')")
    expected = f"at most {SCHEMA_VERSION}, which this package knows, but got 7: .* Upgrade the automl package"
    with pytest.raises(StorageError, match=expected):
        open_store(f"sqlite:///{path}")


def test_migrations_lead_from_the_first_version_to_this_one() -> None:
    assert sorted(shipped()) == list(range(1, SCHEMA_VERSION))
    assert ScriptDirectory(str(SCRIPTS)).get_heads() == [f"{SCHEMA_VERSION:04d}"]
