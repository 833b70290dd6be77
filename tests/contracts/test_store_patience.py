"""A patient store outlasts outages: nothing is lost, nothing is done twice, and it says that it waits."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, text

from automl.errors import StorageError, UnavailableError
from automl.storage import Store, current_holder, open_store, patient
from automl.storage.tables import LAST_WRITE
from tests.storage.sample_outcomes import candidate, measured, new_study, open_trial, outcome, rung_result


def gone(dialect: str) -> Exception:
    """Return what the database's driver raises where the server goes away, or the file's disk fails."""
    if dialect == "postgresql":
        return psycopg.errors.AdminShutdown("terminating connection due to administrator command")
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
    return error


@dataclass
class Faults:
    """Lets the next commits of a store fail, before or after they are done."""

    store: Store
    plan: list[str] = field(default_factory=list)  # of the commits to come: "before", "after" or "" for none
    told: list[str] = field(default_factory=list)
    paused_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        dialect = self.store._database.engine.dialect
        self._commit, self._name = dialect.do_commit, dialect.name
        dialect.do_commit = self._do_commit

    def _do_commit(self, connection: Any) -> None:
        when = self.plan.pop(0) if self.plan else ""
        if when != "before":
            self._commit(connection)
        if when:
            raise gone(self._name)


@pytest.fixture
def faults(store: Store) -> Faults:
    return Faults(store)


@pytest.fixture
def steady(store_url: str, store: Store) -> Iterator[Store]:
    """Return a second store of the same database, to look with."""
    with open_store(store_url) as steady:
        yield steady


@pytest.fixture
def waiting(store: Store, faults: Faults) -> Store:
    """Return a patient store that holds the lease of a study with one open trial, on its first attempt."""
    waiting = patient(store, faults.told.append, patience_s=60, sleep=faults.paused_s.append)
    waiting.take_lease(new_study(waiting), current_holder())
    open_trial(waiting, new_study(waiting), 0, attempts=1)
    return waiting


def facts(store: Store) -> dict[str, object]:
    """Return what the store holds of its only study, without times."""
    (study,) = store.studies()
    teacher, trials = store.teacher(study.id), store.trials(study.id, with_samples=True)
    return {
        "spec": study.spec,
        "finished": study.finished_at is not None,
        "trials": [(one.number, one.state, one.attempts, one.outcome) for one in trials],
        "rungs": [(one.trial, one.result) for one in store.rungs(study.id, with_samples=True)],
        "events": [(event.kind, event.text) for event in store.events(study.id)],
        "finalists": [(one.role, one.outcome) for one in store.finalists(study.id)],
        "teacher": teacher and teacher.sha256,
        "phases": [stretch.phase for stretch in store.phases(study.id)],
        "controls": store.control_references(study.id, "cpu:x"),
        "driven": store.is_leased(study.id) is not None,
    }


def import_trials(store: Store, study_id: int) -> None:
    store.import_trials(study_id, [replace(store.trials(study_id)[0], number=9)])


def save_teacher(store: Store, study_id: int) -> None:
    figures = measured().measurements
    store.save_teacher(study_id, sha256="b", path="t", candidate=candidate(1), measurements=figures, seconds=1.0)


def require_study(store: Store, study_id: int) -> int:
    return store.require_study("digits", {"seed": 2}, "digest", 1, {"torch": "2"}, "cpu:x", []).id - study_id


OPEN = (0, "open", 1, None)
# Each write, what it says, and what it changes of the facts.
WRITES: dict[str, tuple[Callable[[Store, int], object], object, dict[str, object]]] = {
    "add_trial": (lambda store, study: open_trial(store, study, 1), None, {"trials": [OPEN, (1, "open", 0, None)]}),
    "begin": (lambda store, study: store.begin_attempt(study, 0), 2, {"trials": [(0, "open", 2, None)]}),
    "withdraw": (lambda store, study: store.withdraw_attempt(study, 0), 0, {"trials": [(0, "open", 0, None)]}),
    "finish_trial": (
        lambda store, study: store.finish_trial(study, 0, outcome(0)),
        True,
        {"trials": [(0, "measured", 1, outcome(0))]},
    ),
    "add_rung": (
        lambda store, study: store.add_rung(study, 0, rung_result(0)).result,
        rung_result(0),
        {"rungs": [(0, rung_result(0))]},
    ),
    "add_event": (lambda store, study: store.add_event(study, "note", "x"), None, {"events": [("note", "x")]}),
    "add_finalist": (
        lambda store, study: store.add_finalist(study, "twin", 0, candidate(0), measured()),
        True,
        {"finalists": [("twin", measured())]},
    ),
    "save_teacher": (save_teacher, None, {"teacher": "b"}),
    "mark_phase": (lambda store, study: store.mark_phase(study, "search"), None, {"phases": ["start", "search"]}),
    "set_control": (
        lambda store, study: store.set_control_reference(study, "cpu:x", "fp32", 2.0, "a"),
        2.0,
        {"controls": {"fp32": 2.0}},
    ),
    "finish_study": (lambda store, study: store.finish_study(study), None, {"finished": True}),
    "renew_lease": (lambda store, study: store.renew_lease(study), None, {}),
    "take_lease": (
        lambda store, study: store.take_lease(study, current_holder(), "again"),
        None,
        {"phases": ["start", "again"]},
    ),
    "release_lease": (lambda store, study: store.release_lease(study), None, {"driven": False}),
    "import_trials": (import_trials, None, {"trials": [OPEN, (9, "open", 1, None)]}),
    "require_study": (
        require_study,
        0,
        {"spec": {"seed": 2}, "events": [("changed", "seed was 1, is 2")]},
    ),
}


@pytest.mark.parametrize(
    ("write", "when"), [*((write, "after") for write in WRITES), ("begin", "before"), ("finish_trial", "before")]
)
def test_patient_store_writes_once_through_a_lost_commit(
    waiting: Store, faults: Faults, steady: Store, write: str, when: str
) -> None:
    act, says, changes = WRITES[write]
    study_id, before = new_study(waiting), facts(steady)
    faults.plan = ["", when] if write == "import_trials" else [when]  # which reads first
    assert act(waiting, study_id) == says
    assert len(faults.paused_s) == 1
    assert facts(steady) == before | changes


def test_finish_trial_of_a_finished_trial_stays_false_through_faults(waiting: Store, faults: Faults) -> None:
    study_id = new_study(waiting)
    assert waiting.finish_trial(study_id, 0, outcome(0))
    faults.plan = ["after", "before"]
    assert not waiting.finish_trial(study_id, 0, outcome(1))


def test_patient_store_tells_once_that_it_waits_and_once_that_it_goes_on(waiting: Store, faults: Faults) -> None:
    faults.plan = ["before"] * 7
    waiting.add_event(new_study(waiting), "note", "late")
    away, back = faults.told
    assert away.startswith("waiting for the database, for up to 60 s: ")
    assert back.startswith("the database is back after ")
    assert faults.paused_s == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_patient_store_reads_through_a_fault(waiting: Store, faults: Faults) -> None:
    study_id = new_study(waiting)
    faults.plan = ["before"]  # a reading transaction is committed too
    assert [trial.number for trial in waiting.trials(study_id)] == [0]
    assert len(faults.told) == 2


def test_patient_store_gives_up_at_last(waiting: Store, faults: Faults, steady: Store) -> None:
    study_id = new_study(waiting)
    faults.plan = ["before"] * 99
    with pytest.raises(UnavailableError, match="the database cannot be used"):
        waiting.begin_attempt(study_id, 0)
    assert 60 <= sum(faults.paused_s) <= 66
    assert [trial.attempts for trial in steady.trials(study_id)] == [1]


def test_patient_store_raises_at_once_what_waiting_does_not_help(waiting: Store, faults: Faults) -> None:
    with pytest.raises(StorageError, match="has no trial 8"):
        waiting.begin_attempt(new_study(waiting), 8)
    assert faults.told == []


def test_patient_store_leaves_no_mark_behind(waiting: Store, steady: Store) -> None:
    def marks() -> list[Any]:
        with steady._database.reading() as connection:
            return list(connection.execute(LAST_WRITE.select()))

    assert len(marks()) == 1
    waiting.close()
    assert marks() == []


def test_impatient_store_says_that_the_database_is_unavailable(store: Store, faults: Faults) -> None:
    study_id = new_study(store)
    faults.plan = ["before"]
    with pytest.raises(UnavailableError, match="the database cannot be used"):
        store.add_event(study_id, "note", "lost")
    assert store.events(study_id) == []


def test_patient_store_outlasts_a_server_that_is_stopped_and_started(stoppable_postgresql: Any) -> None:
    told: list[str] = []
    with open_store(stoppable_postgresql.url) as store:
        waiting = patient(store, told.append, patience_s=60, sleep=lambda _: stoppable_postgresql.start())
        study_id = new_study(waiting)
        waiting.take_lease(study_id, current_holder())
        for number in range(3):
            stoppable_postgresql.stop()
            open_trial(waiting, study_id, number, attempts=1)
            stoppable_postgresql.stop()
            assert waiting.finish_trial(study_id, number, outcome(0))
        trials = waiting.trials(study_id)
    assert [(trial.number, trial.state, trial.attempts) for trial in trials] == [(n, "measured", 1) for n in range(3)]
    assert len(told) == 2 * 6


def test_store_is_unavailable_where_the_server_does_not_run(stoppable_postgresql: Any) -> None:
    stoppable_postgresql.stop()
    with pytest.raises(UnavailableError, match="Check that the server runs"):
        open_store(stoppable_postgresql.url)
    stoppable_postgresql.start()


def test_store_is_not_unavailable_where_the_server_refuses(stoppable_postgresql: Any) -> None:
    stoppable_postgresql.start()
    with pytest.raises(StorageError, match="does not exist") as caught:
        open_store(stoppable_postgresql.url.replace("/postgres?", "/no_such_database?"))
    assert not isinstance(caught.value, UnavailableError)


def test_connection_that_the_server_ends_is_an_outage(new_postgresql: Callable[[], str]) -> None:
    with open_store(new_postgresql()) as store:
        study_id, told = new_study(store), []
        waiting = patient(store, told.append, sleep=lambda _: None)

        def end_once(connection: Any) -> None:
            if not told:
                mine = connection.scalar(text("SELECT pg_backend_pid()"))
                engine = create_engine(store._database.engine.url)
                with engine.connect() as other:
                    other.execute(text(f"SELECT pg_terminate_backend({mine}, 5000)"))
                engine.dispose()

        waiting._database.write(lambda connection: (end_once(connection), connection.scalar(text("SELECT 1"))))
        assert len(told) == 2
        assert waiting.events(study_id) == []
