"""Whole trials come in at once, and go out as points."""

from __future__ import annotations

from dataclasses import replace

import pytest

from automl.errors import StorageError
from automl.outcome import Measured
from automl.storage import PointValue, RungRecord, Store, StudyRecord
from tests.storage.sample_outcomes import new_study, open_trial, outcome, rung_result


@pytest.fixture
def recorded(store: Store, study: StudyRecord) -> int:
    """Return a study of six trials, the last but one reused from a later number, the last one open."""
    for number in range(6):
        open_trial(store, study.id, number, enqueued=number == 2)
    for number in range(4):
        store.finish_trial(study.id, number, outcome(number))
    store.finish_trial(study.id, 4, outcome(0), reused_from=5)
    return study.id


def test_import_trials_records_them_as_they_are(store: Store, recorded: int) -> None:
    there, trials = new_study(store, "there"), store.trials(recorded, with_samples=True)
    store.import_trials(there, trials, [RungRecord(0, 5, rung_result(1))])
    assert store.trials(there, with_samples=True) == trials
    assert [(rung.trial, rung.result) for rung in store.rungs(there, with_samples=True)] == [(5, rung_result(1))]


def test_import_trials_leaves_what_follows_a_place(store: Store, recorded: int) -> None:
    there = new_study(store, "there")
    store.import_trials(there, store.trials(recorded))
    open_trial(store, there, 6)
    assert store.finish_trial(there, 6, outcome(0))


def test_import_trials_refuses_a_number_that_exists(store: Store, recorded: int) -> None:
    later = [replace(trial, number=trial.number + 5) for trial in store.trials(recorded)[:1]]
    with pytest.raises(StorageError, match="has a trial 5 already: import into a study without it"):
        store.import_trials(recorded, later)
    assert len(store.trials(recorded)) == 6


def test_points_are_the_trials_with_the_named_measurements(store: Store, recorded: int) -> None:
    points, trials = store.points(recorded, ["latency_ms", "unheard_of"]), store.trials(recorded)
    for point, trial in zip(points, trials, strict=True):
        for name in ("number", "state", "enqueued", "reused_from", "created_at", "finished_at"):
            assert getattr(point, name) == getattr(trial, name)
    assert [set(point.values) for point in points] == [
        {"latency_ms"},
        {"latency_ms"},
        set(),
        set(),
        {"latency_ms"},
        set(),
    ]
    assert points[0].values["latency_ms"] == PointValue(0.5, 0.4, 0.6, "measured")


def test_points_say_whether_compression_pays(store: Store, recorded: int) -> None:
    measured, infeasible, *_ = store.points(recorded, [])
    assert isinstance(outcome(0), Measured)
    assert (measured.verdict, measured.stable) == ("faster", True)
    assert (infeasible.verdict, infeasible.stable) == (None, None)


def test_points_are_those_of_the_study(store: Store, recorded: int) -> None:
    assert store.points(new_study(store, "other"), ["latency_ms"]) == []


def test_add_trial_begins_its_first_attempt_at_once(store: Store, study: StudyRecord) -> None:
    open_trial(store, study.id, 0, attempts=1)
    assert store.trials(study.id)[0].attempts == 1
    assert store.begin_attempt(study.id, 0) == 2
