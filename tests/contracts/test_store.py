"""What every database promises of studies, trials and all that belongs to them."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Thread

import pytest
from hypothesis import HealthCheck, given, settings

from automl.errors import InputError, StorageError
from automl.outcome import Measured, Outcome
from automl.storage import Store, StudyRecord, open_store
from tests.storage.odd_outcomes import outcomes, texts
from tests.storage.sample_outcomes import candidate, measured, new_study, open_trial, outcome, timing

FIELDS = ("digest", 1, {"torch": "2"}, "cpu:x", ["accuracy"])


def test_open_store_keeps_what_an_earlier_one_recorded(store_url: str) -> None:
    with open_store(store_url) as store:
        made = store.create_study("a", {"x": [1, {"y": None}]}, *FIELDS)
    with open_store(store_url) as store:
        assert store.find_study("a") == made
        assert made.spec == {"x": [1, {"y": None}]}
        assert made.objectives == ("accuracy",)


def test_open_store_makes_the_tables_once_for_many_at_once(store_url: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(lambda _: open_store(store_url), range(8)))
    made = stores[0].create_study("a", {}, *FIELDS)
    assert [store.find_study("a") for store in stores] == [made] * 8
    for store in stores:
        store.close()


def test_create_study_refuses_a_name_that_exists(store: Store, study: StudyRecord) -> None:
    with pytest.raises(InputError, match="must be a new one, but got digits"):
        store.create_study("digits", {}, *FIELDS)
    assert store.studies() == [study]


def test_find_study_returns_none_for_an_unknown_name(store: Store) -> None:
    assert store.find_study("nobody") is None


def test_require_study_makes_it_once(store: Store) -> None:
    assert new_study(store) == new_study(store)
    assert store.events(new_study(store)) == []


def test_require_study_names_every_key_that_differs(store: Store) -> None:
    store.create_study("a", {"space": {"widths": [16, 32]}, "seed": 0, "budget": {"trials": 9}}, *FIELDS)
    other = {"space": {"widths": [16]}, "data": "x", "seed": 0, "budget": {"trials": 99}}
    with pytest.raises(InputError) as caught:
        store.require_study("a", other, "another digest", *FIELDS[1:], free_keys=["budget"])
    lines = [str(fault) for fault in caught.value.faults]
    assert len(lines) == 2
    assert "another spec: space.widths must be [16, 32] as it was, but got [16]" in lines[0]
    assert 'another spec: data must be absent as it was, but got "x"' in lines[1]


def test_require_study_stores_a_larger_budget_and_says_so(store: Store) -> None:
    store.create_study("a", {"budget": {"trials": 9}}, *FIELDS)
    study = store.require_study("a", {"budget": {"trials": 99}}, *FIELDS)
    assert study.spec == {"budget": {"trials": 99}}
    assert [event.text for event in store.events(study.id)] == ["budget.trials was 9, is 99"]


def test_require_study_with_a_larger_budget_is_unfinished_again(store: Store) -> None:
    study = store.create_study("a", {"budget": {"trials": 9}}, *FIELDS)
    store.finish_study(study.id)
    assert store.require_study("a", {"budget": {"trials": 9}}, *FIELDS).finished_at is not None
    assert store.require_study("a", {"budget": {"trials": 99}}, *FIELDS).finished_at is None


def test_finish_study_keeps_the_first_mark(store: Store, study: StudyRecord) -> None:
    store.finish_study(study.id)
    first = store.studies()[0].finished_at
    store.finish_study(study.id)
    assert first is not None
    assert store.studies()[0].finished_at == first


def test_add_trial_records_an_open_trial(store: Store, study: StudyRecord) -> None:
    open_trial(store, study.id, 3, "s", enqueued=True)
    (trial,) = store.trials(study.id)
    assert (trial.number, trial.state, trial.attempts, trial.outcome) == (3, "open", 0, None)
    assert (trial.point, trial.sampler_state, trial.enqueued) == ({"width": 1}, {"generation": 2}, True)
    assert (trial.candidate, trial.candidate_hash) == (candidate(3), candidate(3).candidate_hash())
    assert (trial.shape_key, trial.reused_from, trial.finished_at) == ("s", None, None)
    assert trial == store.trial(study.id, 3)


def test_add_trial_refuses_a_number_that_exists(store: Store, study: StudyRecord) -> None:
    open_trial(store, study.id, 3)
    with pytest.raises(StorageError, match="has a trial 3 already"):
        open_trial(store, study.id, 3)
    assert len(store.trials(study.id)) == 1


def test_attempts_are_counted_and_withdrawn(store: Store, study: StudyRecord) -> None:
    open_trial(store, study.id, 0)
    assert [store.begin_attempt(study.id, 0), store.begin_attempt(study.id, 0)] == [1, 2]
    assert store.withdraw_attempt(study.id, 0) == 1
    assert store.trials(study.id)[0].attempts == 1


def test_withdraw_attempt_refuses_to_go_below_none(store: Store, study: StudyRecord) -> None:
    open_trial(store, study.id, 0)
    with pytest.raises(StorageError, match="must be open and attempted, but got no attempt"):
        store.withdraw_attempt(study.id, 0)


def test_begin_attempt_refuses_a_finished_trial(store: Store, study: StudyRecord) -> None:
    open_trial(store, study.id, 0)
    store.finish_trial(study.id, 0, outcome(0))
    with pytest.raises(StorageError, match="but got a finished one"):
        store.begin_attempt(study.id, 0)


def test_begin_attempt_refuses_an_unknown_trial(store: Store, study: StudyRecord) -> None:
    with pytest.raises(StorageError, match="has no trial 8"):
        store.begin_attempt(study.id, 8)


@pytest.mark.parametrize("number", range(4))
def test_finish_trial_records_each_kind_of_outcome(store: Store, study: StudyRecord, number: int) -> None:
    open_trial(store, study.id, number)
    assert store.finish_trial(study.id, number, outcome(number))
    (trial,) = store.trials(study.id, with_samples=True)
    assert trial.outcome == outcome(number)
    assert trial.state == ("measured", "infeasible", "stopped", "failed")[number]
    assert trial.finished_at is not None
    assert trial.finished_at >= trial.created_at


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(given_outcome=outcomes)
def test_finish_trial_gives_back_exactly_what_was_given(
    store: Store, study: StudyRecord, given_outcome: Outcome
) -> None:
    number = len(store.trials(study.id))
    open_trial(store, study.id, number)
    store.finish_trial(study.id, number, given_outcome)
    trial = store.trial(study.id, number)
    assert trial is not None
    assert repr(trial.outcome) == repr(given_outcome)  # as text, in which NaN equals NaN


def test_finish_trial_changes_nothing_the_second_time(store: Store, study: StudyRecord) -> None:
    open_trial(store, study.id, 0)
    assert store.finish_trial(study.id, 0, outcome(0))
    before = store.trial(study.id, 0)
    assert not store.finish_trial(study.id, 0, outcome(1))
    assert store.trial(study.id, 0) == before


def test_finish_trial_lets_one_of_many_win(store: Store, study: StudyRecord) -> None:
    open_trial(store, study.id, 0)
    won: list[int] = []
    threads = [
        Thread(target=lambda n=n: store.finish_trial(study.id, 0, measured(n)) and won.append(n)) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (trial,) = store.trials(study.id, with_samples=True)
    assert [trial.outcome] == [measured(n) for n in won]


def test_finish_trial_refuses_an_unknown_trial(store: Store, study: StudyRecord) -> None:
    with pytest.raises(StorageError, match="has no trial 8"):
        store.finish_trial(study.id, 8, outcome(0))


def test_finish_trial_records_where_an_outcome_was_reused_from(store: Store, study: StudyRecord) -> None:
    for number in (0, 1):
        open_trial(store, study.id, number)
    store.finish_trial(study.id, 0, outcome(0))
    store.finish_trial(study.id, 1, outcome(0), reused_from=0)
    first, second = store.trials(study.id, with_samples=True)
    assert (first.reused_from, second.reused_from) == (None, 0)
    assert first.outcome == second.outcome


def test_trials_leaves_the_bulky_parts_out(store: Store, study: StudyRecord) -> None:
    open_trial(store, study.id, 0)
    store.finish_trial(study.id, 0, measured())
    (trial,) = store.trials(study.id)
    light = tuple(replace(one, samples_ms={}) for one in measured().timings)
    assert trial.outcome == replace(measured(), curve=(), timings=light)


def test_trials_with_names_have_those_measurements_and_no_timings(store: Store, study: StudyRecord) -> None:
    figures = tuple(replace(measured().measurements[0], name=name) for name in ("latency_ms", "size_bytes", "macs"))
    open_trial(store, study.id, 0)
    store.finish_trial(study.id, 0, replace(measured(), measurements=figures))
    (trial,) = store.trials(study.id, names=["macs", "latency_ms"])
    lean = replace(measured(), measurements=(figures[0], figures[2]), timings=(), curve=())
    assert trial.outcome == lean


def test_trials_are_those_of_the_study_by_number(store: Store, study: StudyRecord) -> None:
    other = new_study(store, "other")
    for number in (2, 0, 1):
        open_trial(store, study.id, number)
        open_trial(store, other, number)
        store.finish_trial(other, number, outcome(number))
    assert [(trial.number, trial.state) for trial in store.trials(study.id)] == [(n, "open") for n in range(3)]
    assert store.trial(study.id, 9) is None


def test_known_timing_returns_the_first_recorded_one(store: Store, study: StudyRecord) -> None:
    for number, shape_key in enumerate(("other", "same", "same")):
        open_trial(store, study.id, number, shape_key)
    for number, latency_ms in ((2, 0.7), (1, 0.6), (0, 0.5)):
        both = (timing(9.0, "trained"), timing(latency_ms, "untrained"))
        store.finish_trial(study.id, number, replace(measured(), timings=both))
    assert store.known_timing(study.id, "cpu:x", "same") == timing(0.7)
    assert store.known_timing(study.id, "cpu:other", "same") is None
    assert store.known_timing(study.id, "cpu:x", "never timed") is None
    assert store.known_timing(new_study(store, "other"), "cpu:x", "same") is None


def test_set_control_reference_keeps_the_first_one(store: Store, study: StudyRecord) -> None:
    assert store.set_control_reference(study.id, "cpu:x", "fp32", 2.0, "a" * 64) == 2.0
    assert store.set_control_reference(study.id, "cpu:x", "fp32", 3.0, "b" * 64) == 2.0
    store.set_control_reference(study.id, "cpu:x", "int8", 1.0, "c" * 64)
    store.set_control_reference(study.id, "cpu:y", "fp32", 9.0, "a" * 64)
    assert store.control_references(study.id, "cpu:x") == {"fp32": 2.0, "int8": 1.0}


def test_teacher_is_the_latest_one(store: Store, study: StudyRecord) -> None:
    assert store.teacher(study.id) is None
    for number in (1, 2):
        figures = measured(number).measurements
        store.save_teacher(
            study.id, sha256=str(number), path="t", candidate=candidate(number), measurements=figures, seconds=7.5
        )
    teacher = store.teacher(study.id)
    assert teacher is not None
    assert (teacher.sha256, teacher.candidate, teacher.seconds) == ("2", candidate(2), 7.5)
    assert teacher.measurements == measured(2).measurements


def test_add_finalist_records_each_candidate_once_in_a_role(store: Store, study: StudyRecord) -> None:
    open_trial(store, study.id, 0)
    assert store.add_finalist(study.id, "finalist", 0, candidate(0), measured(0))
    assert not store.add_finalist(study.id, "finalist", 0, candidate(0), measured(1))
    assert store.add_finalist(study.id, "twin", None, candidate(0), measured(2))
    finalists = store.finalists(study.id)
    assert [(one.role, one.trial, one.outcome) for one in finalists] == [
        ("finalist", 0, measured(0)),
        ("twin", None, measured(2)),
    ]
    assert isinstance(finalists[0].outcome, Measured)
    assert finalists[0].candidate == candidate(0)


def test_finalists_are_no_trials(store: Store, study: StudyRecord) -> None:
    store.add_finalist(study.id, "finalist", None, candidate(0), measured(0))
    assert store.trials(study.id) == []


def test_events_returns_the_latest_ones_in_order(store: Store, study: StudyRecord) -> None:
    for number in range(4):
        store.add_event(study.id, "note", f"event {number}", trial=number)
    assert [(event.text, event.trial) for event in store.events(study.id, limit=2)] == [("event 2", 2), ("event 3", 3)]
    assert store.events(study.id)[0].created_at.tzinfo is not None


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=texts)
def test_add_event_keeps_any_text(store: Store, study: StudyRecord, text: str) -> None:
    store.add_event(study.id, "note", text)
    assert store.events(study.id, limit=1)[0].text == text


def test_store_refuses_what_belongs_to_no_study(store: Store) -> None:
    with pytest.raises(StorageError, match=re.escape(store.shown_url)):
        open_trial(store, 77, 0)


def test_store_reads_while_another_one_writes(store_url: str, store: Store, study: StudyRecord) -> None:
    open_trial(store, study.id, 0)
    with open_store(store_url) as reader, store._database.writing() as connection:
        connection.exec_driver_sql("UPDATE automl_trial SET attempts = 5")
        assert reader.trials(study.id)[0].attempts == 0
