"""Studies move whole between databases, in every direction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from automl.errors import InputError, LeaseError, StorageError
from automl.storage import Store, copying, current_holder, open_store
from automl.storage.copying import NOT_COPIED, copy_studies
from automl.storage.tables import METADATA
from tests.storage.sample_outcomes import candidate, measured, new_study, open_trial, outcome, rung_result


@pytest.fixture(params=["sqlite", "postgresql"])
def other_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a second database, which holds a study already: ids differ on both sides."""
    new_database: Callable[[], str] = lambda: f"sqlite:///{tmp_path / 'other.db'}"  # noqa: E731
    if request.param == "postgresql":
        new_database = request.getfixturevalue("new_postgresql")
    url = new_database()
    with open_store(url) as store:
        record(store, "in the way", 5)
    return url


@pytest.fixture
def other(other_url: str) -> Iterator[Store]:
    with open_store(other_url) as store:
        yield store


def record(store: Store, name: str, trials: int) -> int:
    """Record a study with something in every table; its second trial was reused from the last one."""
    study_id = new_study(store, name)
    store.take_lease(study_id, current_holder())
    store.set_control_reference(study_id, "cpu:x", "fp32", 2.0, "a" * 64)
    for seconds in (1.0, 2.0):
        figures = measured(1).measurements
        store.save_teacher(
            study_id, sha256="b", path="t", candidate=candidate(1), measurements=figures, seconds=seconds
        )
    for number in range(trials):
        open_trial(store, study_id, number)
        store.begin_attempt(study_id, number)
    for number in (2, 0, 1):
        store.add_rung(study_id, number, rung_result(number))
    for number in (0, *range(2, trials - 1)):
        store.finish_trial(study_id, number, outcome(number))
    store.finish_trial(study_id, 1, outcome(1), reused_from=trials - 2)
    store.add_finalist(study_id, "finalist", 0, candidate(0), measured(2))
    store.add_event(study_id, "note", "a NUL: \x00, a surrogate: \ud800", trial=1)
    store.mark_phase(study_id, "search")
    store.release_lease(study_id)
    return study_id


def contents(store: Store, name: str) -> list[object]:
    """Return everything that the store says of a study, but for its ids."""
    study = store.find_study(name)
    assert study is not None
    this = study.id
    rungs = [(rung.trial, rung.result) for rung in store.rungs(this, with_samples=True)]
    told = [store.trials(this, with_samples=True), rungs, store.finalists(this), store.teacher(this)]
    told += [store.events(this), store.phases(this), store.control_references(this, "cpu:x")]
    return [study.spec, study.created_at, study.finished_at, *told]


def test_copy_studies_moves_everything(store: Store, store_url: str, other: Store, other_url: str) -> None:
    record(store, "first", 6)
    record(store, "digits", 9)
    before = contents(other, "in the way")
    copied = copy_studies(store_url, other_url)
    assert [(one.name, one.rows["automl_trial"], one.rows["automl_rung"]) for one in copied] == [
        ("first", 6, 3),
        ("digits", 9, 3),
    ]
    for name in ("first", "digits"):
        assert contents(other, name) == contents(store, name)
    assert contents(other, "in the way") == before


def test_copy_studies_fills_every_table_but_those_it_names(store: Store, store_url: str, other_url: str) -> None:
    record(store, "digits", 6)
    (copied,) = copy_studies(store_url, other_url)
    assert set(copied.rows) == set(METADATA.tables) - {table.name for table in NOT_COPIED}
    assert 0 not in copied.rows.values()  # so that a table left out of `record` is noticed


def test_copied_study_goes_on(store: Store, store_url: str, other: Store, other_url: str) -> None:
    record(store, "digits", 6)
    copy_studies(store_url, other_url, ["digits"])
    study_id = new_study(other)
    other.take_lease(study_id, current_holder())
    open_trial(other, study_id, 6)
    sequences = [rung.sequence for rung in other.rungs(study_id)]
    assert other.add_rung(study_id, 6, rung_result(0)).sequence > max(sequences)
    assert other.finish_trial(study_id, 6, outcome(0))
    other.add_event(study_id, "note", "on")
    assert len(store.trials(new_study(store))) == 6


def test_copy_studies_refuses_unknown_and_existing_studies_at_once(
    store: Store, store_url: str, other_url: str
) -> None:
    record(store, "in the way", 6)
    with pytest.raises(InputError) as caught:
        copy_studies(store_url, other_url, ["in the way", "nobody"])
    lines = [str(fault) for fault in caught.value.faults]
    assert lines[0] == "--study must be one of: in the way, but got 'nobody'"
    assert "study in the way must be new at" in lines[1]


def test_copy_studies_refuses_a_study_that_is_driven(
    store: Store, store_url: str, other: Store, other_url: str
) -> None:
    record(store, "free", 6)
    store.take_lease(record(store, "driven", 6), current_holder())
    with pytest.raises(LeaseError, match=f"study driven is being driven by process {current_holder().pid}"):
        copy_studies(store_url, other_url)
    assert other.find_study("free") is None


def test_copy_studies_leaves_nothing_behind_where_a_row_differs(
    store: Store, store_url: str, other: Store, other_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(store, "digits", 6)
    insert = copying.insert_rows

    def lose_a_row(connection, table, rows):
        insert(connection, table, rows[1:] if table.name == "automl_rung_epoch" else rows)

    monkeypatch.setattr(copying, "insert_rows", lose_a_row)
    with pytest.raises(StorageError, match="a row of automl_rung_epoch did not arrive as it left"):
        copy_studies(store_url, other_url)
    assert other.find_study("digits") is None
