"""A database that the first version made is read, migrated and written on by today's package."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, make_url

from automl.storage import Store, open_store
from automl.storage.database import connect
from automl.storage.looking import storage_info
from automl.storage.schema import SCHEMA_VERSION, database_version
from automl.storage.tables import METADATA
from tests.storage.sample_outcomes import at, candidate, measured, new_study, open_trial, outcome, rung_result

FIRST = Path(__file__).resolve().parents[1] / "storage"


def run_script(url: str, script: str) -> None:
    """Run SQL text as the database's own client would: nothing of ours takes part."""
    if url.startswith("sqlite"):
        with sqlite3.connect(str(make_url(url).database)) as connection:
            connection.executescript(script)
        return
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(script.encode())


@pytest.fixture
def first_url(store_url: str) -> str:
    """Return the URL of a database as the first version left it."""
    run_script(store_url, (FIRST / f"first_database_{make_url(store_url).get_backend_name()}.sql").read_text())
    return store_url


def schema(connection: Connection) -> list[object]:
    """Return how the database's tables of ours differ from the package's."""
    ours = {
        "include_name": lambda name, kind, _: kind != "table" or name in METADATA.tables,
        "compare_type": True,
    }
    return list(compare_metadata(MigrationContext.configure(connection, opts=ours), METADATA))


def only_study(store: Store) -> int:
    (study,) = store.studies()
    return study.id


def test_open_store_brings_the_first_schema_up_to_date(first_url: str) -> None:
    assert database_version(connect(first_url)) == 1
    open_store(first_url).close()
    assert database_version(connect(first_url)) == SCHEMA_VERSION


def test_migrated_schema_is_the_one_made_today(first_url: str) -> None:
    open_store(first_url).close()
    with connect(first_url).reading() as connection:
        assert schema(connection) == []


def test_first_schema_differs_from_the_one_made_today(first_url: str) -> None:
    with connect(first_url).reading() as connection:
        assert schema(connection) != []  # so that the comparison above can fail


def test_migrated_study_reads_back(first_url: str) -> None:
    with open_store(first_url) as store:
        (study,) = store.studies()
        assert (study.name, study.spec, study.seed, study.device) == ("digits", {"seed": 1}, 1, "cpu:x")
        assert study.finished_at is not None
        (event,) = store.events(study.id)
        assert (event.text, event.trial) == ('a snowman \u2603, it\'s "quoted" and has a NUL: \x00', 3)
        assert store.control_references(study.id, "cpu:x") == {"fp32": 2.0}
        assert [stretch.phase for stretch in store.phases(study.id)] == ["start", "search"]
        assert store.rungs(study.id) == []


def test_migrated_trials_read_back(first_url: str) -> None:
    with open_store(first_url) as store:
        trials = store.trials(only_study(store), with_samples=True)
    assert [trial.outcome for trial in trials] == [*map(outcome, range(4)), None, outcome(0)]
    assert [(trial.number, trial.attempts, trial.reused_from) for trial in trials] == [
        *((number, 1, None) for number in range(5)),
        (5, 0, 0),
    ]
    assert [trial.candidate for trial in trials] == [candidate(number) for number in range(6)]
    assert trials[0].enqueued
    assert at(0) < trials[0].created_at < at(60)


def test_migrated_ends_of_a_study_read_back(first_url: str) -> None:
    with open_store(first_url) as store:
        study_id = only_study(store)
        teacher, (finalist,) = store.teacher(study_id), store.finalists(study_id)
    assert teacher is not None
    assert (teacher.sha256, teacher.candidate, teacher.measurements) == (
        "b" * 64,
        candidate(1),
        measured(1).measurements,
    )
    assert (finalist.role, finalist.trial, finalist.outcome) == ("finalist", 0, measured(2))


def test_migrated_database_takes_old_and_new_studies_on(first_url: str) -> None:
    with open_store(first_url) as store:
        old, new = only_study(store), new_study(store, "another")
        for study_id, number in ((old, 6), (new, 0)):
            open_trial(store, study_id, number)
            recorded = store.add_rung(study_id, number, rung_result(0))
            assert store.finish_trial(study_id, number, outcome(0))
            assert store.rungs(study_id, with_samples=True) == [recorded]
        assert len(store.trials(old)) == 7


def test_migration_is_done_once_by_many_at_once(first_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        for store in pool.map(lambda _: open_store(first_url), range(4)):
            store.close()
    with connect(first_url).reading() as connection:
        marks = connection.exec_driver_sql("SELECT version FROM automl_schema_version ORDER BY version").scalars()
        assert list(marks) == list(range(1, SCHEMA_VERSION + 1))


def test_storage_info_reads_the_first_schema_and_leaves_it(first_url: str) -> None:
    info = storage_info(first_url)
    assert (info.version, info.newest_version) == (1, SCHEMA_VERSION)
    assert [(study.name, study.trials, study.finished) for study in info.studies] == [("digits", 6, 5)]
    assert info.size_bytes > 10_000
    assert database_version(connect(first_url)) == 1


def test_storage_info_of_an_empty_database(store_url: str) -> None:
    info = storage_info(store_url)
    assert (info.version, info.studies) == (None, ())
