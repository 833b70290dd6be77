"""Names of parts: ours, or an installed plugin's, which is looked up only where a name is not ours."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BeforeValidator

from automl import plugins


def named(group: str, built_in: Sequence[str]) -> BeforeValidator:
    """Return the check that a value is one of `built_in`, or the name of a plugin of the group."""

    def check(value: object) -> object:
        if value in built_in:
            return value
        known = plugins.names(group, built_in)
        if value not in known:
            raise ValueError(_listed([*built_in, *known]))
        return value

    return BeforeValidator(check)


def _listed(names: Sequence[str]) -> str:
    """Return the names as pydantic lists the choices of a literal."""
    *others, last = [repr(name) for name in names]
    return f"{', '.join(others)} or {last}" if others else last
