from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from automl.errors import StorageError, UnavailableError
from automl.storage import Store, open_store
from automl.storage.passing import may_pass
from tests.storage.sample_outcomes import new_study, open_trial


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"sqlite:///{tmp_path / 'a.db'}") as store:
        yield store


def run(store: Store, statement: str) -> None:
    with store._database.reading() as connection:  # the pool has one connection, which the store goes on with
        connection.exec_driver_sql(statement)


def test_full_disk_may_pass_and_loses_nothing(store: Store) -> None:
    study_id = new_study(store)
    run(store, "PRAGMA max_page_count = 1")  # no more than there is
    with pytest.raises(UnavailableError, match=r"database or disk is full.*Free some space"):
        deque(open_trial(store, study_id, number) for number in range(500))
    run(store, "PRAGMA max_page_count = 1000000")
    written = len(store.trials(study_id))
    open_trial(store, study_id, written)
    assert len(store.trials(study_id)) == written + 1


def test_lock_may_pass(store: Store, tmp_path: Path) -> None:
    run(store, "PRAGMA busy_timeout = 0")
    with sqlite3.connect(tmp_path / "a.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError, match="database is locked"):
            new_study(store)
        other.execute("ROLLBACK")
    new_study(store)


def test_missing_table_does_not_pass(store: Store) -> None:
    run(store, "DROP TABLE automl_event")
    with pytest.raises(StorageError, match="no such table") as caught:
        store.events(1)
    assert not isinstance(caught.value, UnavailableError)


def wrapped(cause: Exception) -> DBAPIError:
    return DBAPIError("SELECT 1", {}, cause)


@pytest.mark.parametrize(
    ("cause", "passes"),
    [
        (psycopg.OperationalError("connection failed: Connection refused"), True),
        (psycopg.OperationalError("failed to resolve host 'db': Temporary failure in name resolution"), True),
        (psycopg.OperationalError("connection failed: FATAL:  the database system is starting up"), True),
        (psycopg.OperationalError("connection failed: FATAL:  sorry, too many clients already"), True),
        (psycopg.OperationalError('connection failed: FATAL:  password authentication failed for user "me"'), False),
        (psycopg.OperationalError('connection failed: FATAL:  database "nope" does not exist'), False),
        (psycopg.errors.CrashShutdown("crash"), True),
        (psycopg.errors.DiskFull("could not extend file"), True),
        (psycopg.errors.DeadlockDetected("deadlock detected"), True),
        (psycopg.errors.SerializationFailure("could not serialize access"), True),
        (psycopg.errors.QueryCanceled("canceling statement due to user request"), False),
        (psycopg.errors.UndefinedTable("no such table"), False),
        (psycopg.errors.InsufficientPrivilege("permission denied"), False),
    ],
)
def test_may_pass_tells_outages_from_refusals(cause: Exception, passes: bool) -> None:
    assert may_pass(wrapped(cause)) is passes


def test_may_pass_takes_a_cut_connection_for_an_outage() -> None:
    assert may_pass(DBAPIError("SELECT 1", {}, psycopg.InterfaceError("closed"), connection_invalidated=True))


def test_may_pass_is_false_for_what_no_driver_raised() -> None:
    assert not may_pass(SQLAlchemyError("a fault of ours"))
