"""Studies: made once, found by name, refused where the same name stands for another search."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, select, update
from sqlalchemy.dialects import postgresql, sqlite

from automl.errors import Fault, InputError, input_error
from automl.storage import events
from automl.storage.records import EventRecord, StudyRecord
from automl.storage.tables import STUDY

_ABSENT = object()


@dataclass(frozen=True)
class Draft:
    """A study as it is asked for."""

    name: str
    spec: Mapping[str, Any]
    spec_digest: str
    seed: int
    versions: Mapping[str, str]
    device: str
    objectives: tuple[str, ...]


def create(connection: Connection, draft: Draft, now: datetime) -> StudyRecord:
    """Return a new study.

    Raises:
        InputError: where a study of that name exists.
    """
    if not _insert(connection, draft, now):
        raise input_error("the study's name", "a new one", draft.name, "Choose another name.")
    return _must_find(connection, draft.name)


def require(connection: Connection, draft: Draft, free_keys: Collection[str], now: datetime) -> StudyRecord:
    """Return the study, made where there is none; where free keys differ it takes the draft's spec and is unfinished.

    Raises:
        InputError: where it exists with another digest: one fault for each key that differs.
    """
    if _insert(connection, draft, now):
        return _must_find(connection, draft.name)
    study = _must_find(connection, draft.name)
    if study.spec_digest != draft.spec_digest:
        raise _other_spec(study, draft, free_keys)
    changes = [f"{key} was {_show(old)}, is {_show(new)}" for key, old, new in differences(study.spec, draft.spec)]
    if changes:  # under a new spec, such as a larger budget, it is not finished any more
        reopened = {"spec": dict(draft.spec), "finished_at": None}
        connection.execute(update(STUDY).where(STUDY.c.id == study.id).values(reopened))
    changes += [f"{key} was {old}, is {new}" for key, old, new in differences(study.versions, draft.versions)]
    if not changes:
        return study
    events.add(connection, study.id, EventRecord("changed", "; ".join(changes), None, now))
    return _must_find(connection, draft.name)


def find(connection: Connection, name: str) -> StudyRecord | None:
    """Return the study of that name, None where there is none."""
    row = connection.execute(select(STUDY).where(STUDY.c.name == name)).mappings().one_or_none()
    return None if row is None else _record(row)


def read_all(connection: Connection) -> list[StudyRecord]:
    """Return every study, the oldest first."""
    return [_record(row) for row in connection.execute(select(STUDY).order_by(STUDY.c.id)).mappings()]


def finish(connection: Connection, study_id: int, now: datetime) -> None:
    """Mark the study as finished; the first mark stays."""
    unfinished = (STUDY.c.id == study_id) & STUDY.c.finished_at.is_(None)
    connection.execute(update(STUDY).where(unfinished).values(finished_at=now))


def differences(old: Any, new: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield each dotted key whose value differs between two documents, with both values; a missing one is shown so."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in [*old, *(name for name in new if name not in old)]:
            dotted = f"{key}.{name}" if key else str(name)
            yield from differences(old.get(name, _ABSENT), new.get(name, _ABSENT), dotted)
    elif _plain(old) != _plain(new):
        yield key, old, new


def _insert(connection: Connection, draft: Draft, now: datetime) -> bool:
    """Insert the study unless one of that name exists, also where two processes do so at once."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    values = {
        "name": draft.name,
        "spec": dict(draft.spec),
        "spec_digest": draft.spec_digest,
        "seed": int(draft.seed),
        "versions": dict(draft.versions),
        "device": draft.device,
        "objectives": list(draft.objectives),
        "created_at": now,
    }
    statement = dialect.insert(STUDY).values(values).on_conflict_do_nothing(index_elements=["name"])
    return connection.execute(statement.returning(STUDY.c.id)).first() is not None


def _must_find(connection: Connection, name: str) -> StudyRecord:
    study = find(connection, name)
    assert study is not None, f"study {name} was inserted, or stood in the way of that"
    return study


def _other_spec(study: StudyRecord, draft: Draft, free_keys: Collection[str]) -> InputError:
    remedy = "Choose another name for the new study, or go back to the old spec."
    faults = [
        Fault(f"study {study.name} exists with another spec: {key}", f"{_show(old)} as it was", _show(new), remedy)
        for key, old, new in differences(study.spec, draft.spec)
        if not any(key == free or key.startswith(f"{free}.") for free in free_keys)
    ]
    whole = Fault(
        f"study {study.name} exists with another spec: its digest", study.spec_digest, draft.spec_digest, remedy
    )
    return InputError(faults or [whole])


def _plain(value: Any) -> Any:
    """Return the value as it comes back from JSON."""
    return value if value is _ABSENT else json.loads(json.dumps(value))


def _show(value: Any) -> str:
    return "absent" if value is _ABSENT else json.dumps(value)


def _record(row: RowMapping) -> StudyRecord:
    return StudyRecord(**{**row, "objectives": tuple(row["objectives"])})
