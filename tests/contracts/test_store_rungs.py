"""What every database promises of results below the top rung."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from automl.errors import LeaseError, StorageError
from automl.outcome import RungResult
from automl.storage import RungRecord, Store, StudyRecord, current_holder, open_store
from tests.storage.odd_outcomes import rung_results
from tests.storage.sample_outcomes import new_study, open_trial, outcome, rung_result


def test_add_rung_records_results_in_order(store: Store, study: StudyRecord) -> None:
    for number in (0, 1):
        open_trial(store, study.id, number)
    added = [store.add_rung(study.id, number, rung_result(rung)) for number, rung in ((1, 0), (0, 0), (1, 1))]
    assert store.rungs(study.id, with_samples=True) == added
    assert [(one.trial, one.result) for one in added] == [(1, rung_result(0)), (0, rung_result(0)), (1, rung_result(1))]
    assert [one.sequence for one in added] == sorted({one.sequence for one in added})


def test_add_rung_changes_nothing_the_second_time(store: Store, study: StudyRecord) -> None:
    open_trial(store, study.id, 0)
    first = store.add_rung(study.id, 0, rung_result(1))
    other = replace(rung_result(1), seconds={"train": 99.0}, checkpoint=None)
    assert store.add_rung(study.id, 0, other) == first
    assert store.rungs(study.id, with_samples=True) == [first]


def test_add_rung_returns_what_a_trial_had_before_it_was_finished(store: Store, study: StudyRecord) -> None:
    open_trial(store, study.id, 0)
    first = store.add_rung(study.id, 0, rung_result(0))
    store.finish_trial(study.id, 0, outcome(0))
    assert store.add_rung(study.id, 0, rung_result(0)) == first


def test_add_rung_refuses_a_finished_trial(store: Store, study: StudyRecord) -> None:
    open_trial(store, study.id, 0)
    store.finish_trial(study.id, 0, outcome(0))
    with pytest.raises(StorageError, match="trial 0: must be open for a result at rung 2, but got a finished one"):
        store.add_rung(study.id, 0, rung_result(2))
    assert store.rungs(study.id) == []


def test_add_rung_refuses_an_unknown_trial(store: Store, study: StudyRecord) -> None:
    with pytest.raises(StorageError, match="has no trial 8"):
        store.add_rung(study.id, 8, rung_result(0))


def test_add_rung_is_refused_where_the_lease_is_lost(store: Store, store_url: str) -> None:
    study_id = new_study(store)
    store.take_lease(study_id, current_holder())
    open_trial(store, study_id, 0)
    with open_store(store_url) as other:
        other.take_lease(study_id, current_holder())
        with pytest.raises(LeaseError, match="must hold the lease to write"):
            store.add_rung(study_id, 0, rung_result(0))
    assert store.rungs(study_id) == []


def test_rungs_leaves_the_bulky_parts_out(store: Store, study: StudyRecord) -> None:
    open_trial(store, study.id, 0)
    whole = store.add_rung(study.id, 0, rung_result(0))
    light = tuple(replace(one, samples_ms={}) for one in whole.result.timings)
    expected = replace(whole.result, curve=(), timings=light)
    assert store.rungs(study.id) == [RungRecord(whole.sequence, 0, expected)]


def test_rungs_are_those_of_the_study(store: Store, study: StudyRecord) -> None:
    other = new_study(store, "other")
    open_trial(store, other, 0)
    store.add_rung(other, 0, rung_result(0))
    assert store.rungs(study.id) == []


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(result=rung_results)
def test_add_rung_gives_back_exactly_what_was_given(store: Store, study: StudyRecord, result: RungResult) -> None:
    number = len(store.trials(study.id))
    open_trial(store, study.id, number)
    store.add_rung(study.id, number, result)
    assert repr(store.rungs(study.id, with_samples=True)[-1].result) == repr(result)  # as text: NaN equals NaN
