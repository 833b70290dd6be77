"""Column types that give back exactly what was put in, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, Double, Text
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

_ESCAPE = "\u241b"  # the picture of an escape, which no message holds by chance
_NEEDS_ESCAPE = re.compile(f"[\x00\ud800-\udfff{_ESCAPE}]")
_ESCAPED = re.compile(f"{_ESCAPE}([0-9a-f]{{4}})")


def unescaped(text: str) -> str:
    """Return the text that `ExactText` wrote so."""
    return _ESCAPED.sub(lambda match: chr(int(match.group(1), 16)), text) if _ESCAPE in text else text


class _SqliteDouble(UserDefinedType[float]):
    """SQLite's double without SQLAlchemy's conversion to a float, which would undo ours."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Return the type's name in SQL."""
        return "DOUBLE"


class Real(TypeDecorator[float]):
    """A double that keeps NaN apart from nothing.

    SQLite turns NaN into NULL, so there it is stored as the text 'NaN', which sorts above all numbers as it does in
    PostgreSQL.
    """

    impl = Double
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the database's own type."""
        return dialect.type_descriptor(_SqliteDouble() if dialect.name == "sqlite" else Double())

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | str | None:
        """Return what the driver is given."""
        if value is None:
            return None
        value = float(value)  # NumPy's scalars too
        return "NaN" if dialect.name == "sqlite" and math.isnan(value) else value

    def process_result_value(self, value: float | None, dialect: Dialect) -> float | None:  # noqa: ARG002
        """Return the number."""
        return None if value is None else float(value)


class ExactText(TypeDecorator[str]):
    """Text that may hold what databases refuse: NUL and lone surrogates (a crash report may have both)."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Return the text with what is refused spelt out."""
        if value is None:
            return None
        return _NEEDS_ESCAPE.sub(lambda match: f"{_ESCAPE}{ord(match.group()):04x}", value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Return the text as it was."""
        return None if value is None else unescaped(value)


class Moment(TypeDecorator[datetime]):
    """A time in UTC, with its zone, to the microsecond."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the time in UTC; SQLite knows no zones."""
        if value is None:
            return None
        assert value.tzinfo is not None, f"a time without its zone: {value}"
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return the time with its zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
