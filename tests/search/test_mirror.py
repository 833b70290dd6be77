"""The mirror: Optuna's tables hold every finished trial once, whatever was killed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from automl.outcome import Failed
from automl.search.driver import drive
from automl.search.inline import InlineExecutor
from automl.search.mirror import Mirror, frozen_trial, mirrored_numbers, open_mirror
from automl.storage import Store
from tests.search.search_fakes import LIMITS, OBJECTIVES, Silence, drive_plan, new_store, small_space


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return the store of a study of twelve trials that no mirror has heard of."""
    store = new_store(tmp_path)
    drive(drive_plan(12), store, InlineExecutor(), Silence(), lambda _: None)
    return store


def mirror(store: Store, last: int | None = None) -> Mirror:
    """Return a mirror that was given the first trials of the record."""
    made = Mirror(store.url, "study", small_space(), OBJECTIVES, store.trials(1)[:last])
    made.close()
    return made


def test_mirror_is_made_whole_after_a_kill_between_record_and_mirror(store: Store) -> None:
    assert mirror(store, 5).fault is None
    study = open_mirror(store.url, "study", OBJECTIVES)
    assert mirrored_numbers(study) == set(range(5))
    assert mirror(store).fault is None
    assert mirror(store).fault is None  # nothing is written twice
    assert sorted(trial.user_attrs["number"] for trial in study.get_trials()) == list(range(12))


def test_mirror_follows_a_running_study(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    live = Mirror(store.url, "study", small_space(), OBJECTIVES, [])
    drive(drive_plan(8), store, InlineExecutor(), live, lambda _: None)
    live.close()
    assert live.fault is None
    assert mirrored_numbers(open_mirror(store.url, "study", OBJECTIVES)) == set(range(8))


def test_mirror_shows_values_and_what_was_chosen(store: Store) -> None:
    mirror(store)
    study = open_mirror(store.url, "study", OBJECTIVES)
    assert study.metric_names == list(OBJECTIVES)
    by_number = {trial.user_attrs["number"]: trial for trial in study.get_trials()}
    for record in store.trials(1):
        shown = by_number[record.number]
        assert shown.params == small_space().choices(record.point)
        assert shown.user_attrs["weight_bits"] == list(record.candidate.quantization.weight_bits)
        assert len(shown.user_attrs["pruning_ratios"]) == 3
        assert shown.user_attrs["temperature"] == record.candidate.distillation.temperature
        assert shown.user_attrs["latency_kind"] == "measured"
        if record.state == "measured":
            assert shown.values == [record.outcome.value(name) for name in OBJECTIVES]  # type: ignore[union-attr]


def test_mirror_prunes_the_infeasible_with_the_reason(store: Store) -> None:
    infeasible = [trial for trial in store.trials(1) if trial.state == "infeasible"]
    assert infeasible, "the fake study has none: choose another seed"
    shown = frozen_trial(infeasible[0], small_space(), OBJECTIVES)
    assert (shown.state, shown.values) == (TrialState.PRUNED, None)
    assert shown.user_attrs["reason"] == "too slow"
    assert shown.user_attrs["latency_ms"] > LIMITS["latency_ms"]


def test_mirror_fails_the_failed(store: Store) -> None:
    failed = replace(store.trials(1)[0], state="failed", outcome=Failed("a reason", "Traceback"))
    shown = frozen_trial(failed, small_space(), OBJECTIVES)
    assert (shown.state, shown.user_attrs["reason"]) == (TrialState.FAIL, "a reason")


def test_mirror_leaves_open_trials_out(store: Store) -> None:
    record = replace(store.trials(1)[0], state="open", outcome=None, finished_at=None)
    made = Mirror(store.url, "other", small_space(), OBJECTIVES, [record])
    made.close()
    assert open_mirror(store.url, "other", OBJECTIVES).get_trials() == []


def test_mirror_begins_again_after_a_fault(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("automl.search.mirror.RETRY_AFTER_S", (0.0, 0.0))
    faults = [OSError("database is locked")]

    def faulty(*arguments: Any) -> Any:
        if faults:
            raise faults.pop()
        return open_mirror(*arguments)

    monkeypatch.setattr("automl.search.mirror.open_mirror", faulty)
    assert mirror(store).fault is None
    assert mirrored_numbers(open_mirror(store.url, "study", OBJECTIVES)) == set(range(12))


def test_mirror_says_why_it_stopped(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("automl.search.mirror.RETRY_AFTER_S", (0.0,))
    stopped = Mirror("sqlite:////nowhere/at/all.db", "study", small_space(), OBJECTIVES, store.trials(1))
    stopped.close()
    assert stopped.fault is not None and "unable to open database file" in stopped.fault
