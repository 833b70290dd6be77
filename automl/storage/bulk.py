"""Many rows at a time: whole trials as they are recorded elsewhere, and the ids that they take here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, bindparam, func, insert, select, update

from automl.errors import StorageError
from automl.outcome import Measured, Outcome
from automl.storage.codec import artefact_row, outcome_head, outcome_parts, placed, rung_head, rung_parts
from automl.storage.records import RungRecord, TrialRecord
from automl.storage.tables import ARTEFACT, OUTCOME, RUNG, TRIAL
from automl.storage.trials import trial_row

CHUNK = 500

T = TypeVar("T")
Rows = dict[Table, list[Mapping[str, Any]]]


def new_ids(connection: Connection, table: Table, count: int) -> Sequence[int]:
    """Return ids that no row of the table has and none will be given, growing."""
    if connection.dialect.name == "postgresql":
        sequence = func.pg_get_serial_sequence(table.name, "id")
        series = func.generate_series(1, count).table_valued("value").render_derived()
        return sorted(connection.scalars(select(func.nextval(sequence)).select_from(series)))
    first = (connection.scalar(select(func.max(table.c.id))) or 0) + 1  # the write lock is held
    return range(first, first + count)


def insert_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows; what a row does not say is empty."""
    names = [column.name for column in table.c]
    if rows:
        connection.execute(insert(table), [{name: row.get(name) for name in names} for row in rows])


def import_trials(
    connection: Connection,
    study_id: int,
    trials: Iterable[TrialRecord],
    rungs: Iterable[RungRecord],
    now: datetime,
) -> None:
    """Write trials and results below the top rung that were recorded elsewhere.

    Raises:
        StorageError: where the study has a trial of one of the numbers.
    """
    add_trials(connection, study_id, trials)
    add_rungs(connection, study_id, rungs, now)


def add_trials(connection: Connection, study_id: int, trials: Iterable[TrialRecord]) -> None:
    """Write trials with their outcomes as they are, times included.

    Raises:
        StorageError: where the study has a trial of one of the numbers.
    """
    reused: dict[int, int] = {}
    for chunk in chunks(trials):
        _add_chunk(connection, study_id, chunk)
        reused |= {trial.number: trial.reused_from for trial in chunk if trial.reused_from is not None}
    set_reused(connection, study_id, reused)


def add_rungs(connection: Connection, study_id: int, records: Iterable[RungRecord], now: datetime) -> None:
    """Write results below the top rung, in their order."""
    for chunk in chunks(records):
        rows: Rows = defaultdict(list)
        for sequence, record in zip(new_ids(connection, RUNG, len(chunk)), chunk, strict=True):
            identity = {"id": sequence, "study_id": study_id, "trial": record.trial, "created_at": now}
            rows[RUNG].append(identity | rung_head(record.result))
            for table, lines in rung_parts(record.result).items():
                rows[table] += placed("rung", sequence, lines)
        _insert_all(connection, rows)


def chunks(items: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """Yield the items in lists of at most `size`."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def set_reused(connection: Connection, study_id: int, reused: Mapping[int, int]) -> None:
    """Write where the outcomes of trials were reused from; the trials on both sides are there."""
    this = (TRIAL.c.study_id == study_id) & (TRIAL.c.number == bindparam("trial"))
    if reused:
        pairs = [{"trial": number, "source": source} for number, source in reused.items()]
        connection.execute(update(TRIAL).where(this).values(reused_from=bindparam("source")), pairs)


def _add_chunk(connection: Connection, study_id: int, trials: Sequence[TrialRecord]) -> None:
    _check_new(connection, study_id, {trial.number for trial in trials})
    rows: Rows = {OUTCOME: [], TRIAL: []}  # in the order in which they can be written
    finished = sum(trial.outcome is not None for trial in trials)
    ids = iter(new_ids(connection, OUTCOME, finished))
    for trial in trials:
        outcome_id = None if trial.outcome is None else next(ids)
        rows[TRIAL].append({**trial_row(study_id, trial, trial.created_at), "outcome_id": outcome_id})
        if trial.outcome is not None:
            _add_outcome(rows, trial.outcome, {"id": outcome_id, "study_id": study_id, "created_at": trial.finished_at})
    _insert_all(connection, rows)


def _check_new(connection: Connection, study_id: int, numbers: set[int]) -> None:
    same = select(TRIAL.c.number).where(TRIAL.c.study_id == study_id, TRIAL.c.number.in_(numbers)).limit(1)
    found = connection.scalar(same)
    if found is not None:
        raise StorageError(f"study {study_id} has a trial {found} already: import into a study without it")


def _add_outcome(rows: Rows, outcome: Outcome, identity: Mapping[str, Any]) -> None:
    rows[OUTCOME].append({**identity, **outcome_head(outcome)})
    if isinstance(outcome, Measured):
        rows.setdefault(ARTEFACT, []).append({"outcome_id": identity["id"], **artefact_row(outcome.artefact)})
    for table, lines in outcome_parts(outcome).items():
        rows.setdefault(table, []).extend(placed("outcome", identity["id"], lines))


def _insert_all(connection: Connection, rows: Rows) -> None:
    for table, lines in rows.items():
        insert_rows(connection, table, lines)
