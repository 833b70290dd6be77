"""Trials as points for a view: a few measurements of each, and nothing that needs parsing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from sqlalchemy import Connection, select

from automl.storage.raw import PARTITION, Texts, raw, real, uncollected
from automl.storage.records import PointRecord, PointValue
from automl.storage.tables import MEASUREMENT, OUTCOME, TRIAL

Values = dict[str, PointValue]


def read_all(connection: Connection, study_id: int, names: Collection[str]) -> list[PointRecord]:
    """Return the study's trials by number with the named measurements; those that a trial lacks are left out."""
    head = [raw(OUTCOME.c.state), raw(OUTCOME.c.verdict), OUTCOME.c.stable, OUTCOME.c.created_at.label("finished_at")]
    trial = [TRIAL.c[name] for name in ("number", "enqueued", "reused_from", "created_at", "outcome_id")]
    joined = select(*trial, *head).outerjoin_from(TRIAL, OUTCOME, TRIAL.c.outcome_id == OUTCOME.c.id)
    query = joined.where(TRIAL.c.study_id == study_id).order_by(TRIAL.c.number)
    texts = Texts()
    with uncollected():
        values = _values(connection, study_id, names, texts)
        return [
            PointRecord(
                number,
                "open" if state is None else state,
                values.get(outcome_id, {}),
                None if verdict is None else texts[verdict],
                stable,
                enqueued,
                reused_from,
                created_at,
                finished_at,
            )
            for rows in connection.execute(query).partitions(PARTITION)
            for number, enqueued, reused_from, created_at, outcome_id, state, verdict, stable, finished_at in rows
        ]


def _values(connection: Connection, study_id: int, names: Collection[str], texts: Texts) -> dict[int, Values]:
    columns = [raw(MEASUREMENT.c[name]) for name in ("outcome_id", "name", "value", "low", "high", "kind")]
    query = select(*columns).join_from(OUTCOME, MEASUREMENT).where(OUTCOME.c.study_id == study_id)
    found: dict[int, Values] = defaultdict(dict)
    for lines in connection.execute(query.where(MEASUREMENT.c.name.in_(names))).partitions(PARTITION):
        for outcome_id, name, value, low, high, kind in lines:
            found[outcome_id][texts[name]] = PointValue(real(value), real(low), real(high), texts[kind])
    return found
