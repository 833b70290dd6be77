"""What pydantic found wrong, as our faults: file and key, expected, got, and the closest known key."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel

from automl.errors import Fault
from automl.study_spec.parts import StudySpec

SHOWN = 80  # characters of a wrong value that are shown
PLAIN = {
    "model_type": "a mapping of keys",
    "dict_type": "a mapping of keys",
    "tuple_type": "a list",
    "too_short": "a list of at least one value",
    "string_type": "text",
}


def fault_of(where: str, detail: Mapping[str, Any]) -> Fault:
    """Return pydantic's account of one fault as ours."""
    key = ".".join(str(step) for step in detail["loc"] if not str(step).startswith("<"))
    place = f"{where}: {key}" if key else where
    if detail["type"] == "missing":
        return Fault(place, "given", "nothing")
    if detail["type"] == "extra_forbidden":
        return _unknown(place, key)
    return Fault(place, _expected(detail), shown(detail["input"]))


def _expected(detail: Mapping[str, Any]) -> str:
    """Return what pydantic expected, so that it completes "must be ..."."""
    if detail["type"] in PLAIN:
        return PLAIN[detail["type"]]
    message = str(detail["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    message = message.split(", got ")[0].split(", unable ")[0]
    message = message.replace("greater than or equal to", "at least").replace("less than or equal to", "at most")
    return message[:1].lower() + message[1:]


def _unknown(place: str, key: str) -> Fault:
    """Return the fault of an unknown key with the closest known one: of its name elsewhere, beside it, or like it."""
    known = list(_known_keys(StudySpec))
    parent, _, last = key.rpartition(".")
    siblings = [name for name in known if name.rpartition(".")[0] == parent]
    exact = [name for name in known if name.rpartition(".")[2] == last]
    closest = exact or _near(last, siblings, 0.6) or _near(last, known, 0.75)
    if not closest:
        beside = ", ".join(name.rpartition(".")[2] for name in siblings)
        return Fault(place, f"one of {beside}", "an unknown key")
    return Fault(place, "a known key", "an unknown one", f"Did you mean {closest[0]}?")


def _near(last: str, names: list[str], cutoff: float) -> list[str]:
    by_last = {name.rpartition(".")[2]: name for name in reversed(names)}
    return [by_last[match] for match in difflib.get_close_matches(last, by_last, n=1, cutoff=cutoff)]


def _known_keys(annotation: Any, prefix: str = "") -> Iterator[str]:
    """Yield every dotted key of a model, or of the models that an annotation is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            yield f"{prefix}{name}"
            yield from _known_keys(field.annotation, f"{prefix}{name}.")
    else:
        for part in get_args(annotation):
            yield from _known_keys(part, prefix)


def shown(value: object) -> str:
    """Return a wrong value as it reads in a message, cut where it is long."""
    if value is None:
        return "null"
    text = value.model_dump_json() if isinstance(value, BaseModel) else repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
