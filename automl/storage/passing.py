"""Which faults of a database may pass by themselves, so that waiting for a while is worth it."""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

_OF_SQLITE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,  # a full disk shows so too where the log's index cannot grow
}
_OF_POSTGRESQL = (
    "08",  # the connection failed
    "53",  # out of disk, memory or connections
    "57P",  # the server stops, starts or crashed
    "40001",  # a transaction that clashed with another one
    "40P01",  # a deadlock
    "55P03",  # a lock that was not to be had
)
_REFUSED_FOR_NOW = ("starting up", "shutting down", "recovery", "too many", "connection slots")


def may_pass(error: SQLAlchemyError) -> bool:
    """Tell whether the database may be usable in a while: gone, restarting, locked, or out of disk or connections."""
    if not isinstance(error, DBAPIError):
        return False
    cause: Any = error.orig
    code = getattr(cause, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in _OF_SQLITE  # what is above it tells where
    state = getattr(cause, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_OF_POSTGRESQL)
    return error.connection_invalidated or _is_unreachable(cause)


def _is_unreachable(cause: Any) -> bool:
    """Tell whether a server could not be reached, or asked for patience: libpq says so in words only."""
    said = str(cause)
    if type(cause).__name__ != "OperationalError" or isinstance(cause, sqlite3.Error):
        return False
    return "FATAL" not in said or any(words in said for words in _REFUSED_FOR_NOW)
