from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from automl.errors import StorageError
from automl.storage import DEFAULT_URL, Store, open_store
from automl.storage.database import connect
from automl.storage.tables import METADATA
from tests.storage.sample_outcomes import new_study, open_trial

SECRET = "s3cret!"


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


def refusal(url: str) -> str:
    with pytest.raises(StorageError) as caught:
        open_store(url)
    return str(caught.value)


def test_open_store_makes_the_folder_and_the_file(tmp_path: Path) -> None:
    open_store(url_of(tmp_path / "new" / "folder" / "a.db")).close()
    assert (tmp_path / "new" / "folder" / "a.db").is_file()


def test_open_store_takes_the_run_folder_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with open_store() as store:
        assert store.url == DEFAULT_URL
    assert (tmp_path / "runs" / "automl.db").is_file()


def test_open_store_refuses_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    text = refusal(url_of(tmp_path / "file" / "a.db"))
    assert "file/a.db: the folder" in text
    assert "Name a place that you may write to" in text


def test_open_store_refuses_a_file_that_may_not_be_made() -> None:
    text = refusal("sqlite:////proc/a.db")  # no rights are enough there, not even root's
    assert "unable to open database file" in text
    assert "Name a place that you may write to" in text


def test_open_store_refuses_a_folder(tmp_path: Path) -> None:
    text = refusal(url_of(tmp_path))
    assert "must be a file, but" in text
    assert "is a folder. Name a file in it" in text


def test_open_store_refuses_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_text("no database, but long enough to be taken for one\n" * 50)
    text = refusal(url_of(path))
    assert "file is not a database" in text
    assert "bring back a copy" in text
    assert path.read_text().startswith("no database")


def test_open_store_refuses_a_damaged_database(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    open_store(url_of(path)).close()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with pytest.raises(StorageError, match=r"malformed.*bring back a copy"), open_store(url_of(path)) as store:
        store.studies()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("runs/a.db", "'runs/a.db' must be a database's URL"),
        ("sqlite://", "must be a file, but got a database in memory"),
        ("sqlite:///:memory:", "must be a file, but got a database in memory"),
        ("mysql+pymysql://u@h/d", "must be SQLite or PostgreSQL, but got mysql"),
        ("", "must be a database's URL"),
    ],
)
def test_open_store_refuses_what_is_no_store(url: str, expected: str) -> None:
    text = refusal(url)
    assert expected in text
    assert "Name a database as sqlite:///runs/automl.db or postgresql://" in text


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{SECRET}@127.0.0.1:1/db",
        f"postgresql://me@127.0.0.1:1/db?password={SECRET}",
        f"postgresql://me:{SECRET}@127.0.0.1:port/db",
        f"mysql://me:{SECRET}@127.0.0.1/db",
        f"nonsense:{SECRET}@",
    ],
)
def test_open_store_never_shows_the_password(url: str) -> None:
    with pytest.raises(StorageError) as caught:
        open_store(url)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_open_store_names_a_server_that_does_not_answer() -> None:
    text = refusal("postgresql://me:pw@127.0.0.1:1/db")
    assert text.startswith("postgresql://me:***@127.0.0.1:1/db: the database cannot be used")
    assert "Check that the server runs" in text


def test_store_shows_no_password(tmp_path: Path) -> None:
    database = connect(f"postgresql://me:{SECRET}@127.0.0.1:1/db")
    assert SECRET not in repr(database)
    with open_store(url_of(tmp_path / "a.db")) as store:
        assert repr(store) == f"Store('sqlite:///{tmp_path / 'a.db'}')"


def test_store_says_so_when_the_database_breaks_while_in_use(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with open_store(url_of(path)) as store, sqlite3.connect(path) as other:
        other.execute("ALTER TABLE automl_study RENAME TO gone")
        with pytest.raises(StorageError, match=r"a\.db: the database cannot be used: no such table: automl_study"):
            store.studies()


def fail_half_way(store: Store) -> None:
    with store._database.writing() as connection:
        connection.exec_driver_sql("UPDATE automl_study SET name = 'changed'")
        connection.exec_driver_sql("DELETE FROM nowhere")


def test_store_writes_nothing_where_a_write_fails(tmp_path: Path) -> None:
    with open_store(url_of(tmp_path / "a.db")) as store:
        study_id = new_study(store)
        with pytest.raises(StorageError, match="no such table: nowhere"):
            fail_half_way(store)
        assert store.studies()[0].name == "digits"
        open_trial(store, study_id, 0)  # and goes on


def test_sqlite_is_set_up_for_safety(tmp_path: Path) -> None:
    with open_store(url_of(tmp_path / "a.db")) as store, store._database.reading() as connection:
        settings = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
        ]
    assert settings == ["wal", 1, 2, 30_000]


def test_tables_are_told_apart_from_optunas_and_hold_no_pickles() -> None:
    assert all(name.startswith("automl_") for name in METADATA.tables)
    kinds = {str(column.type).upper() for table in METADATA.tables.values() for column in table.columns}
    assert not {kind for kind in kinds if "BLOB" in kind or "BINARY" in kind or "PICKLE" in kind}
