"""Optuna's own tables of finished trials, written a hundred at a time: through Optuna each one costs 25 ms.

Optuna makes the tables and the study. The tables here are those of its schema 12, to which a test holds them; where it
has another one by then, nothing is written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Self

from sqlalchemy import (
    Column,
    Connection,
    DateTime,
    Enum,
    Float,
    Integer,
    MetaData,
    Select,
    String,
    Table,
    Text,
    func,
    insert,
    select,
)

from automl.errors import StorageError
from automl.storage.database import connect

SCHEMA = 12  # of Optuna 3.0 and later: what `version_info` says
METADATA = MetaData()

VERSION = Table("version_info", METADATA, Column("schema_version", Integer))

STUDIES = Table(
    "studies", METADATA, Column("study_id", Integer, primary_key=True), Column("study_name", String(512))
)  # fmt: skip

TRIALS = Table(
    "trials",
    METADATA,
    Column("trial_id", Integer, primary_key=True),
    Column("number", Integer),
    Column("study_id", Integer),
    Column("state", Enum("RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING", name="trialstate")),
    Column("datetime_start", DateTime),
    Column("datetime_complete", DateTime),
)

PARAMS = Table(
    "trial_params",
    METADATA,
    Column("param_id", Integer, primary_key=True),
    Column("trial_id", Integer),
    Column("param_name", String(512)),
    Column("param_value", Float),
    Column("distribution_json", Text),
)

VALUES = Table(
    "trial_values",
    METADATA,
    Column("trial_value_id", Integer, primary_key=True),
    Column("trial_id", Integer),
    Column("objective", Integer),
    Column("value", Float),
    Column("value_type", Enum("FINITE", "INF_POS", "INF_NEG", name="trialvaluetype")),
)

ATTRIBUTES = Table(
    "trial_user_attributes",
    METADATA,
    Column("trial_user_attribute_id", Integer, primary_key=True),
    Column("trial_id", Integer),
    Column("key", String(512)),
    Column("value_json", Text),
)

MirroredState = Literal["COMPLETE", "PRUNED", "FAIL"]


@dataclass(frozen=True)
class MirroredTrial:
    """A finished trial as Optuna keeps it.

    `values` are finite and in the order of the objectives, empty unless complete. `params` maps a parameter to Optuna's
    inner figure for its choice, whose distribution is among those that all trials share. `attributes` are JSON values.
    """

    state: MirroredState
    started_at: datetime
    finished_at: datetime | None
    values: Sequence[float]
    params: Mapping[str, float]
    attributes: Mapping[str, Any]


class OptunaTables:
    """The trials of one study in Optuna's tables; we alone write them, so that their numbers have no gaps."""

    def __init__(self, url: str, study: str, distributions: Mapping[str, str]) -> None:
        """Open the tables of the database at `url`.

        Args:
            url: of a database in which Optuna has made its tables and the study.
            study: its name.
            distributions: of each parameter, as Optuna writes them in JSON.

        Raises:
            StorageError: where there is no such study, or Optuna's tables are of another schema.
        """
        self._distributions = distributions
        self._database = connect(url)
        with self._database.reading() as connection:
            schema = connection.execute(select(VERSION.c.schema_version)).scalar_one()
            self._study_id = connection.execute(
                select(STUDIES.c.study_id).where(STUDIES.c.study_name == study)
            ).scalar_one_or_none()
        if schema != SCHEMA or self._study_id is None:
            found = f"schema {schema}" if schema != SCHEMA else f"no study {study}"
            raise StorageError(f"Optuna's tables must be of schema {SCHEMA} and hold the study, but got {found}")

    def __enter__(self) -> Self:
        """Return the tables themselves."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close all connections."""
        self._database.close()

    def attribute_values(self, key: str) -> set[Any]:
        """Return the values of an attribute over all trials."""
        with self._database.reading() as connection:
            return {json.loads(text) for text in connection.execute(self._attribute(key)).scalars()}

    def add(self, trials: Sequence[MirroredTrial]) -> None:
        """Add trials in their order, all of them or none."""
        if not trials:
            return
        with self._database.writing() as connection:
            ids = self._add_heads(connection, trials)
            together = list(zip(ids, trials, strict=True))
            rows = {
                PARAMS: [row for trial_id, trial in together for row in self._params(trial_id, trial)],
                VALUES: [row for trial_id, trial in together for row in _values(trial_id, trial)],
                ATTRIBUTES: [row for trial_id, trial in together for row in _attributes(trial_id, trial)],
            }
            for table, several in rows.items():
                if several:
                    connection.execute(insert(table), several)

    def _add_heads(self, connection: Connection, trials: Sequence[MirroredTrial]) -> Sequence[int]:
        """Write the trials themselves and return their ids in order; Optuna numbers a study's trials by their count."""
        here = TRIALS.c.study_id == self._study_id
        connection.execute(select(STUDIES.c.study_id).where(STUDIES.c.study_id == self._study_id).with_for_update())
        count = connection.execute(select(func.count()).select_from(TRIALS).where(here)).scalar_one()
        heads = [
            {
                "number": number,
                "study_id": self._study_id,
                "state": trial.state,
                "datetime_start": _utc(trial.started_at),
                "datetime_complete": _utc(trial.finished_at),
            }
            for number, trial in enumerate(trials, count)
        ]
        written = insert(TRIALS).returning(TRIALS.c.trial_id, sort_by_parameter_order=True)
        return connection.execute(written, heads).scalars().all()

    def _params(self, trial_id: int, trial: MirroredTrial) -> list[dict[str, Any]]:
        return [
            {
                "trial_id": trial_id,
                "param_name": name,
                "param_value": value,
                "distribution_json": self._distributions[name],
            }
            for name, value in trial.params.items()
        ]

    def _attribute(self, key: str) -> Select[Any]:
        joined = select(ATTRIBUTES.c.value_json).join_from(
            ATTRIBUTES, TRIALS, ATTRIBUTES.c.trial_id == TRIALS.c.trial_id
        )
        return joined.where(TRIALS.c.study_id == self._study_id, ATTRIBUTES.c.key == key)


def _values(trial_id: int, trial: MirroredTrial) -> list[dict[str, Any]]:
    return [
        {"trial_id": trial_id, "objective": at, "value": value, "value_type": "FINITE"}
        for at, value in enumerate(trial.values)
    ]


def _attributes(trial_id: int, trial: MirroredTrial) -> list[dict[str, Any]]:
    return [
        {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)} for key, value in trial.attributes.items()
    ]


def _utc(moment: datetime | None) -> datetime | None:
    """Return the time as Optuna keeps it: in UTC, without saying so."""
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)
