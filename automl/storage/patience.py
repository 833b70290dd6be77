"""A store that waits while its database is gone, and repeats no write that was committed after all.

A connection that dies during a commit leaves open whether the write happened. So each writing transaction also marks
itself as its writer's latest one (`LAST_WRITE`): a repeated try that finds its own mark returns what the lost one said.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from threading import Lock
from typing import TypeVar

from sqlalchemy import Connection, Delete, Insert, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from automl.errors import StorageError, UnavailableError
from automl.storage.database import Transactions
from automl.storage.store import Store
from automl.storage.tables import LAST_WRITE

PATIENCE_S = 600.0
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0

T = TypeVar("T")
Tell = Callable[[str], None]


def patient(
    store: Store,
    tell: Tell,
    patience_s: float = PATIENCE_S,
    sleep: Callable[[float], None] = time.sleep,
) -> Store:
    """Return the same store, leases included, in which every method outlasts an outage of the database.

    A method that meets an UnavailableError is tried again with growing pauses; one that changes something is never
    done twice. `tell` hears once that it waits, and once that it goes on; it must not use the store.

    Raises:
        UnavailableError: by a method, where the database is away for longer than `patience_s`.
    """
    return store.through(lambda database: PatientDatabase(database, tell, patience_s, sleep))


@dataclass
class PatientDatabase:
    """Transactions that are tried again until the database is back. One write at a time, as each has its mark."""

    database: Transactions
    tell: Tell
    patience_s: float
    sleep: Callable[[float], None]
    _writer: str = field(default_factory=lambda: uuid.uuid4().hex)
    _marked: bool = False
    _is_away: bool = False
    _one_write: Lock = field(default_factory=Lock)

    @property
    def shown(self) -> str:
        """Return the database's URL without the password."""
        return self.database.shown

    def read(self, work: Callable[[Connection], T]) -> T:
        """Return what the work finds, once the database lets it look."""
        return self._until_back(lambda: self.database.read(work))

    def write(self, work: Callable[[Connection], T]) -> T:
        """Return what the work says of its transaction, committed once."""
        write = uuid.uuid4().hex
        said: list[T] = []  # by every try so far

        def work_once(connection: Connection) -> T:
            if said and self._latest(connection) == write:
                return said[-1]
            said.append(work(connection))
            self._mark(connection, write)
            return said[-1]

        with self._one_write:
            return self._until_back(lambda: self.database.write(work_once))

    def close(self) -> None:
        """Close all connections, and leave no mark behind where that can be helped."""
        try:
            if self._marked:
                self.database.write(lambda connection: connection.execute(_forget(self._writer)))
        except StorageError:
            pass  # a mark is a line that nobody reads: not worth waiting for
        finally:
            self.database.close()

    def _until_back(self, attempt: Callable[[], T]) -> T:
        began, pause_s, paused_s = time.monotonic(), FIRST_PAUSE_S, 0.0
        while True:
            try:
                result = attempt()
            except UnavailableError as error:
                waited_s = max(paused_s, time.monotonic() - began)
                if waited_s >= self.patience_s:
                    raise
                self._say_away(error)
            else:
                if paused_s:
                    self._say_back(max(paused_s, time.monotonic() - began))
                return result
            self.sleep(pause_s)
            paused_s += pause_s
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _say_away(self, error: UnavailableError) -> None:
        if not self._is_away:
            self._is_away = True
            self.tell(f"waiting for the database, for up to {self.patience_s:.0f} s: {error}")

    def _say_back(self, waited_s: float) -> None:
        if self._is_away:
            self._is_away = False
            self.tell(f"the database is back after {waited_s:.0f} s: going on")

    def _latest(self, connection: Connection) -> str | None:
        return connection.scalar(select(LAST_WRITE.c.write).where(LAST_WRITE.c.writer == self._writer))

    def _mark(self, connection: Connection, write: str) -> None:
        row = {"writer": self._writer, "write": write, "written_at": datetime.now(UTC)}
        connection.execute(_upsert(connection.dialect.name), row)
        self._marked = True


@cache
def _upsert(dialect: str) -> Insert:
    inserted = (postgresql if dialect == "postgresql" else sqlite).insert(LAST_WRITE)
    latest = {"write": inserted.excluded.write, "written_at": inserted.excluded.written_at}
    upsert: Insert = inserted.on_conflict_do_update(index_elements=["writer"], set_=latest)
    return upsert


def _forget(writer: str) -> Delete:
    return delete(LAST_WRITE).where(LAST_WRITE.c.writer == writer)
