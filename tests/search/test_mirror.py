"""The mirror: Optuna's tables hold every finished trial once, whatever was killed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution

from automl.outcome import Failed
from automl.search.driver import drive
from automl.search.inline import InlineExecutor
from automl.search.mirror import BATCH, Mirror, Recorded, mirrored_numbers, mirrored_trial, open_mirror
from automl.storage import Store, TrialRecord
from automl.storage.optuna_tables import SCHEMA, MirroredTrial, OptunaTables
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
    shown = mirrored_trial(infeasible[0], small_space(), OBJECTIVES)
    assert (shown.state, shown.values) == ("PRUNED", [])
    assert shown.attributes["reason"] == "too slow"
    assert shown.attributes["latency_ms"] > LIMITS["latency_ms"]


def test_mirror_fails_the_failed(store: Store) -> None:
    failed = replace(store.trials(1)[0], state="failed", outcome=Failed("a reason", "Traceback"))
    shown = mirrored_trial(failed, small_space(), OBJECTIVES)
    assert (shown.state, shown.attributes["reason"]) == ("FAIL", "a reason")


def test_mirror_leaves_open_trials_out(store: Store) -> None:
    record = replace(store.trials(1)[0], state="open", outcome=None, finished_at=None)
    made = Mirror(store.url, "other", small_space(), OBJECTIVES, [record])
    made.close()
    assert open_mirror(store.url, "other", OBJECTIVES).get_trials() == []


def test_mirror_writes_what_optuna_itself_would_write(store: Store) -> None:
    mirror(store)
    study = open_mirror(store.url, "study", OBJECTIVES)
    ours = study.get_trials()
    own = optuna.create_study(storage=study._storage, directions=study.directions)
    spaces = {each.name: CategoricalDistribution(each.choices) for each in small_space().dimensions}
    for trial in ours:
        assert trial.distributions == spaces
        own.add_trial(trial)
    left_out = ("_trial_id",)
    for one, other in zip(ours, own.get_trials(), strict=True):
        assert {k: v for k, v in vars(one).items() if k not in left_out} == {
            k: v for k, v in vars(other).items() if k not in left_out
        }


def test_mirror_keeps_times_as_optuna_does(store: Store) -> None:
    mirror(store)
    record, shown = store.trials(1)[0], open_mirror(store.url, "study", OBJECTIVES).get_trials()[0]
    assert shown.user_attrs["number"] == record.number
    assert shown.datetime_start == record.created_at.astimezone().replace(tzinfo=None)


def test_mirror_writes_many_trials_at_a_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, add = [], OptunaTables.add

    def counted(tables: OptunaTables, trials: list[MirroredTrial]) -> None:
        sizes.append(len(trials))
        add(tables, trials)

    monkeypatch.setattr(OptunaTables, "add", counted)
    trials = [replace(store.trials(1)[0], number=number) for number in range(250)]
    made = Mirror(store.url, "study", small_space(), OBJECTIVES, [*trials, *trials])
    made.close()
    assert made.fault is None
    assert (sum(sizes), max(sizes), len(sizes)) == (250, BATCH, 5)
    study = open_mirror(store.url, "study", OBJECTIVES)
    assert [trial.number for trial in study.get_trials(deepcopy=False)] == list(range(250))


def test_mirror_reads_what_it_lacks_from_the_record(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror(store, 5)
    read: list[int] = []
    trials = Store.trials

    def noted(self: Store, study_id: int, *, numbers: list[int]) -> list[TrialRecord]:
        read.extend(numbers)
        return trials(self, study_id, numbers=numbers)

    monkeypatch.setattr(Store, "trials", noted)
    made = Mirror(store.url, "study", small_space(), OBJECTIVES, Recorded(store, 1))
    made.close()
    assert (made.fault, made.waiting, read) == (None, 0, list(range(5, 12)))
    assert mirrored_numbers(open_mirror(store.url, "study", OBJECTIVES)) == set(range(12))


def test_mirror_does_not_write_to_tables_that_it_does_not_know(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("automl.search.mirror.RETRY_AFTER_S", (0.0,))
    monkeypatch.setattr("automl.storage.optuna_tables.SCHEMA", SCHEMA + 1)
    stopped = mirror(store)
    assert stopped.fault is not None and f"must be of schema {SCHEMA + 1} " in stopped.fault


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


def test_mirror_writes_nothing_twice_after_a_fault(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("automl.search.mirror.RETRY_AFTER_S", (0.0, 0.0))
    faults, add = [OSError("the connection is lost")], OptunaTables.add

    def faulty(tables: OptunaTables, trials: list[MirroredTrial]) -> None:
        add(tables, trials)
        if faults:
            raise faults.pop()  # after the commit: nobody knows whether it was written

    monkeypatch.setattr(OptunaTables, "add", faulty)
    assert mirror(store).fault is None
    assert len(open_mirror(store.url, "study", OBJECTIVES).get_trials()) == 12


def test_mirror_says_why_it_stopped(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("automl.search.mirror.RETRY_AFTER_S", (0.0,))
    stopped = Mirror("sqlite:////nowhere/at/all.db", "study", small_space(), OBJECTIVES, store.trials(1))
    stopped.close()
    assert stopped.fault is not None and "unable to open database file" in stopped.fault
