"""Connections and transactions: SQLite (write-ahead log, one writer) or PostgreSQL, with errors for people."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from automl.errors import StorageError, UnavailableError
from automl.storage.passing import may_pass

BUSY_TIMEOUT_S = 30
CONNECT_TIMEOUT_S = 10
_HOW_TO_NAME_ONE = (
    "Name a database as sqlite:///runs/automl.db or postgresql://user:password@host/database "
    "(a password with special characters in percent-encoding)"
)
T = TypeVar("T")
_WRITES = "automl_writes"  # an execution option: the transaction is begun as a writing one


class Transactions(Protocol):
    """What a store stands on: work is done whole, or not at all."""

    @property
    def shown(self) -> str:
        """Return the database's URL without the password."""

    def read(self, work: Callable[[Connection], T]) -> T:
        """Return what the work finds on one unchanging state of the database."""

    def write(self, work: Callable[[Connection], T]) -> T:
        """Return what the work says of its writing transaction, once that is committed."""

    def close(self) -> None:
        """Close all connections."""


@dataclass(frozen=True)
class Database:
    """An engine and `shown`, its URL without the password. Every fault of the engine is a StorageError.

    It is an UnavailableError where the cause may pass (a server that is gone, a lock, a full disk).
    """

    engine: Engine
    shown: str
    password: str | None = field(repr=False)
    reader: Engine = field(init=False, repr=False)
    writer: Engine = field(init=False, repr=False)

    def __post_init__(self) -> None:
        postgres = self.engine.dialect.name == "postgresql"
        steady = self.engine.execution_options(isolation_level="REPEATABLE READ") if postgres else self.engine
        object.__setattr__(self, "reader", steady)
        object.__setattr__(self, "writer", self.engine.execution_options(**{_WRITES: True}))

    def read(self, work: Callable[[Connection], T]) -> T:
        """Return what the work finds on one unchanging state of the database."""
        with self.reading() as connection:
            return work(connection)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Return what the work says of its writing transaction, which leaves nothing behind where it fails."""
        with self.writing() as connection:
            return work(connection)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Run the body on one unchanging state of the database.

        Raises:
            StorageError: where the database fails.
        """
        with self._explained(), self.reader.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Run the body as one writing transaction, which leaves nothing behind where it fails.

        Raises:
            StorageError: where the database fails.
        """
        with self._explained(), self.writer.begin() as connection:
            yield connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            kind = UnavailableError if may_pass(error) else StorageError
            raise kind(self._explanation(error)) from None  # the cause may show the password

    def _explanation(self, error: SQLAlchemyError) -> str:
        cause = str(getattr(error, "orig", None) or error).strip()
        if self.password:
            cause = cause.replace(self.password, "***")
        return f"{self.shown}: the database cannot be used: {cause}. {_remedy(cause)}"


def connect(url: str) -> Database:
    """Return the database at a URL; the folder of a SQLite file is made, nothing else is touched yet.

    Raises:
        StorageError: where the URL is none, or names a database that cannot be a store.
    """
    parsed = _parsed(url)
    shown = parsed.set(query={}).render_as_string(hide_password=True)
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return Database(_sqlite_engine(parsed, shown), shown, None)
    if backend == "postgresql":
        password = parsed.password or parsed.query.get("password")
        return Database(_postgresql_engine(parsed, shown), shown, str(password) if password else None)
    raise StorageError(f"{shown}: a store must be SQLite or PostgreSQL, but got {backend}. {_HOW_TO_NAME_ONE}")


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        shown = "the database's URL" if "@" in url else repr(url)  # before an @ there may be a password
    raise StorageError(f"{shown} must be a database's URL, but cannot be read as one. {_HOW_TO_NAME_ONE}")


def _sqlite_engine(url: URL, shown: str) -> Engine:
    if url.database in (None, "", ":memory:"):
        raise StorageError(f"{shown}: a store must be a file, but got a database in memory. {_HOW_TO_NAME_ONE}")
    _prepare_path(Path(str(url.database)), shown)
    engine = _engine(url, shown, {"timeout": BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_path(path: Path, shown: str) -> None:
    if path.is_dir():
        raise StorageError(f"{shown}: must be a file, but {path} is a folder. Name a file in it: {path / 'automl.db'}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{shown}: the folder {path.parent} cannot be made: {error.strerror}. Name a place that you may write to"
        ) from error


def _set_up_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # no BEGIN of its own: see _begin_sqlite
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA synchronous=FULL")  # a commit outlasts a power cut
    if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        cursor.execute("PRAGMA journal_mode=WAL")  # readers never wait for the writer
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")  # no upgrade of a lock, so no deadlock


def _postgresql_engine(url: URL, shown: str) -> Engine:
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    return _engine(url, shown, {"connect_timeout": CONNECT_TIMEOUT_S})


def _engine(url: URL, shown: str, arguments: dict[str, Any]) -> Engine:
    try:
        return create_engine(
            url,
            connect_args=arguments,
            pool_pre_ping=url.get_backend_name() == "postgresql",  # a file is always there, or never
            hide_parameters=True,
            json_serializer=partial(json.dumps, allow_nan=False),
        )
    except ImportError as error:
        raise StorageError(
            f"{shown}: its driver is not installed: {error}. Run: pip install 'psycopg[binary]'"
        ) from error


def _remedy(cause: str) -> str:
    if "not a database" in cause or "malformed" in cause:
        return "The file is no SQLite database, or is damaged. Name another file, or bring back a copy of this one"
    if "readonly" in cause or "unable to open" in cause or "permission denied" in cause.lower():
        return "Name a place that you may write to"
    if "locked" in cause:
        return "Another process has been writing for too long. Find and end it"
    if "full" in cause:
        return "Free some space and run the same command again: nothing that was recorded is lost"
    if "connection" in cause:
        return "Check that the server runs, and its address, user and password"
    return "Run the same command again when it works: nothing that was recorded is lost"
