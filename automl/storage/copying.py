"""Whole studies from one database to another, in either direction between SQLite and PostgreSQL.

Every row of a study is copied and compared, whatever table it lies in; ids are given anew. Leases stay where they are,
and so do the marks of writers, Optuna's mirror (the next search rebuilds it) and the files of the run folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, Table, select

from automl.errors import Fault, InputError, LeaseError, StorageError
from automl.storage import lease, studies
from automl.storage.bulk import insert_rows, new_ids, set_reused
from automl.storage.database import connect
from automl.storage.records import StudyRecord
from automl.storage.schema import prepare
from automl.storage.tables import LAST_WRITE, LEASE, METADATA, SCHEMA_VERSION_TABLE, STUDY, TRIAL

NOT_COPIED = (SCHEMA_VERSION_TABLE, LEASE, LAST_WRITE)
CHUNK = 2_000

Row = dict[str, Any]
Ids = dict[str, dict[int, int]]  # by table: its ids at the source, and those at the destination


@dataclass(frozen=True)
class CopiedStudy:
    """A study that was copied, and how many rows it has in each table."""

    name: str
    rows: Mapping[str, int]


def copy_studies(source_url: str, destination_url: str, names: Sequence[str] = ()) -> list[CopiedStudy]:
    """Copy the named studies (all without names) and return what was copied and found equal; all or none.

    Both databases are brought up to this package's schema.

    Raises:
        InputError: where a study is unknown at the source or exists at the destination; names every one.
        LeaseError: where a live driver is at work on one.
        StorageError: where a database cannot be used, or a row did not arrive as it left.
    """
    with closing(connect(source_url)) as source, closing(connect(destination_url)) as destination:
        for database in (source, destination):
            prepare(database)
        with source.reading() as old, destination.writing() as new:
            chosen = _chosen(old, new, names, destination.shown)
            return [_copy(old, new, study) for study in chosen]


def _chosen(old: Connection, new: Connection, names: Sequence[str], where: str) -> list[StudyRecord]:
    known = {study.name: study for study in studies.read_all(old)}
    wanted = list(dict.fromkeys(names)) or list(known)
    listed = f"one of: {', '.join(known)}" if known else "in the source, which holds none"
    faults = [Fault("--study", listed, repr(name)) for name in wanted if name not in known]
    faults += [
        Fault(f"study {name}", f"new at {where}", "one that exists there", "Copy it into another database.")
        for name in wanted
        if studies.find(new, name) is not None
    ]
    if faults:
        raise InputError(faults)
    for name in wanted:
        holder = lease.live_holder(old, known[name].id, lease.database_time(old))
        if holder is not None:
            raise LeaseError(f"study {name} is being driven by {lease.named(holder)}. End it, or wait until it is done")
    return [known[name] for name in wanted]


def _copy(old: Connection, new: Connection, study: StudyRecord) -> CopiedStudy:
    ids: Ids = {}
    tables = [table for table in METADATA.sorted_tables if table not in NOT_COPIED]
    counts: dict[str, int] = {}
    for table in tables:
        _map_ids(old, new, table, study.id, ids)
        for rows in _moved(old, table, study.id, ids):
            insert_rows(new, table, [_unreused(row) for row in rows] if table is TRIAL else rows)
    reused = select(TRIAL.c.number, TRIAL.c.reused_from).where(TRIAL.c.study_id == study.id)
    pairs = old.execute(reused.where(TRIAL.c.reused_from.is_not(None))).all()
    copied = ids[STUDY.name][study.id]
    set_reused(new, copied, {row.number: row.reused_from for row in pairs})
    for table in tables:
        counts[table.name] = _compare(old, new, table, study, ids)
    return CopiedStudy(study.name, counts)


def _of_study(table: Table, study_id: int) -> Select[Any]:
    """Return the table's rows of a study, in the order of their primary key."""
    query = select(table).order_by(*table.primary_key)
    if table is STUDY:
        return query.where(STUDY.c.id == study_id)
    if "study_id" in table.c:
        return query.where(table.c.study_id == study_id)
    owner = _owner(table)
    return query.join(owner).where(owner.c.study_id == study_id)


def _owner(part: Table) -> Table:
    """Return the table whose rows the lines of a part belong to."""
    (key,) = part.foreign_keys
    return key.column.table


def _map_ids(old: Connection, new: Connection, table: Table, study_id: int, ids: Ids) -> None:
    """Give every row with an id of its own a new one, in the same order."""
    if "id" in table.c:
        found = [row.id for row in old.execute(_of_study(table, study_id).with_only_columns(table.c.id))]
        ids[table.name] = dict(zip(found, new_ids(new, table, len(found)), strict=True))


def _moved(old: Connection, table: Table, study_id: int, ids: Ids) -> Iterator[list[Row]]:
    """Yield the source's rows of a study as they shall stand at the destination."""
    columns = {column.name: source for column in table.c if (source := _ids_of(column, ids)) is not None}
    for rows in old.execute(_of_study(table, study_id)).mappings().partitions(CHUNK):
        yield [{**row, **{name: known.get(row[name]) for name, known in columns.items()}} for row in rows]


def _ids_of(column: Any, ids: Ids) -> dict[int, int] | None:
    """Return the mapping that a column's values go through, None where they stay as they are."""
    if column.name == "id":
        return ids[column.table.name]
    targets = {key.column.table.name for key in column.foreign_keys if key.column.name == "id"}
    named = "automl_study" if column.name == "study_id" else next(iter(targets), None)
    return None if named is None else ids[named]


def _unreused(row: Row) -> Row:
    return {**row, "reused_from": None}  # set when every trial is there: it may come from a later number


def _compare(old: Connection, new: Connection, table: Table, study: StudyRecord, ids: Ids) -> int:
    """Return how many rows arrived.

    Raises:
        StorageError: where one differs from what left.
    """
    copied = ids[STUDY.name][study.id]
    arrived = new.execute(_of_study(table, copied)).mappings().partitions(CHUNK)
    count = 0
    for left in _moved(old, table, study.id, ids):
        there = [dict(row) for row in next(arrived, [])]
        if repr(there) != repr(left):  # as text: NaN equals NaN
            raise StorageError(
                f"study {study.name}: a row of {table.name} did not arrive as it left. Nothing was copied; "
                "please report this"
            )
        count += len(left)
    if next(arrived, None) is not None:
        raise StorageError(f"study {study.name}: {table.name} holds more rows than left. Nothing was copied")
    return count
