"""A whole study on real images, with latencies that are answered, not timed: from data to finalists."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from automl.data.dataset import Dataset
from automl.errors import InputError, LeaseError
from automl.outcome import Gain, Measured, Ratio
from automl.search.finalists import choose_finalists, choose_twin, run_all
from automl.search.inline import InlineExecutor
from automl.search.progress import Progress
from automl.search.study_context import worker_count
from automl.search.study_run import Summary, run_study
from automl.space import SearchSpace
from automl.storage import Holder, Store, TrialRecord, open_store
from automl.study_spec import DataSpec, StudySpec, open_dataset, parse_study_spec
from automl.targets.recorded import RecordedTarget
from search_spaces.joint import enqueued_points, space_from_spec
from tests.search.search_fakes import measurement, outcome_of, small_space, trial_of


class Answers(Mapping[str, float]):
    """A recording of every shape there is: milliseconds out of the shape key's digits."""

    def __getitem__(self, key: str) -> float:
        return 0.1 + int(hashlib.sha256(key.encode()).hexdigest()[:4], 16) / 0xFFFF

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __contains__(self, key: object) -> bool:
        return True


def target(fingerprint: str = "a recorded device") -> RecordedTarget:
    return RecordedTarget("recorded:all", fingerprint, 16, {"fp32": 1.0, "int8": 1.0}, Answers())


def tiny_spec(trials: int, **changes: Any) -> StudySpec:
    document: dict[str, Any] = {
        "name": "tiny",
        "data": {"source": "digits", "train_limit": 100, "validation_limit": 60, "augmentation": "none"},
        "space": {"widths": [16], "cells": [2]},
        "training": {"epochs": 1, "batch_size": 50},
        "limits": {"latency_ms": 0.95},
        "budget": {"trials": trials},
        "teacher": {"epochs": 1},
        "search": {"population": 4, "executor": "inline", "seed": 3},
        "finalists": {"count": 2, "epochs": 1},
    }
    return parse_study_spec({**document, **changes}, "a test")


def space_of(spec: StudySpec) -> SearchSpace:
    return space_from_spec(spec.to_json(), [(32, 32), (8, 8)])


def run(folder: Path, spec: StudySpec, store: Store | None = None, **changes: Any) -> Summary:
    settings: dict[str, Any] = {"target": target(), "on_progress": lambda _: None, **changes}
    store = open_store(f"sqlite:///{folder / 'study.db'}") if store is None else store
    space = space_of(spec)
    enqueue = enqueued_points(space, ["darts_v2"])  # uncompressed: it may stand on the front whatever else does
    device, on_progress = settings["target"], settings["on_progress"]
    return run_study(
        spec, space, device, store, folder / "runs", on_progress, enqueue=enqueue, lane_folder=folder / "lanes"
    )


def values(trials: list[TrialRecord]) -> list[Any]:
    """Return what is recorded, clock times aside."""
    figures = []
    for trial in trials:
        outcome = trial.outcome
        assert outcome is not None
        clocked = ("training_seconds", "training_peak_bytes")
        measurements = [one for one in getattr(outcome, "measurements", ()) if one.name not in clocked]
        curve = [(line.loss, line.gradient_norm) for line in outcome.curve] if isinstance(outcome, Measured) else []
        figures.append((trial.number, trial.point, trial.state, measurements, curve, trial.sampler_state))
    return figures


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary]:
    """Return an uninterrupted study of five trials."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, run(folder, tiny_spec(5))


def recorded(folder: Path) -> list[TrialRecord]:
    return open_store(f"sqlite:///{folder / 'study.db'}").trials(1, with_samples=True)


def test_run_study_ends_with_its_trials_and_finalists(whole: tuple[Path, Summary]) -> None:
    folder, summary = whole
    assert [trial.number for trial in recorded(folder)] == list(range(5))
    assert (summary.progress.trials, summary.progress.open, summary.progress.failed) == (5, 0, 0)
    assert summary.study.finished_at is not None and not summary.interrupted
    assert summary.finalists
    for finalist in summary.finalists:
        assert 0 <= finalist.outcome.value("test_accuracy") <= 1
        assert (folder / "runs" / finalist.outcome.artefact.path).is_file()


def test_run_study_interrupted_and_resumed_records_the_same_values(tmp_path: Path, whole: tuple[Path, Summary]) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.measured + progress.infeasible == 2 and progress.phase == "search":
            raise KeyboardInterrupt

    stopped = run(tmp_path, tiny_spec(5), on_progress=interrupt)
    assert stopped.interrupted and stopped.study.finished_at is None
    assert "run the same command again" in stopped.notes[-1]
    resumed = run(tmp_path, tiny_spec(5))
    assert not resumed.interrupted
    assert values(recorded(tmp_path)) == values(recorded(whole[0]))


def test_run_study_that_is_finished_returns_at_once(whole: tuple[Path, Summary]) -> None:
    phases: list[str] = []
    again = run(whole[0], tiny_spec(5), on_progress=lambda progress: phases.append(progress.phase))
    assert phases == ["done"]
    assert again.front == whole[1].front and again.finalists == whole[1].finalists


def test_run_study_refuses_another_device(whole: tuple[Path, Summary]) -> None:
    with pytest.raises(InputError, match="the device must be a recorded device, but got another one"):
        run(whole[0], tiny_spec(6), target=target("another one"))


def test_run_study_refuses_another_spec_of_that_name(whole: tuple[Path, Summary]) -> None:
    with pytest.raises(InputError, match=r"study tiny exists with another spec: training\.epochs"):
        run(whole[0], tiny_spec(5, training={"epochs": 2, "batch_size": 50}))


def test_run_study_that_cannot_read_its_data_leaves_no_study_behind(tmp_path: Path) -> None:
    spec = tiny_spec(1, data={"source": "npz", "path": str(tmp_path / "nothing.npz")})
    with pytest.raises(InputError, match=r"nothing\.npz"):
        run(tmp_path, spec)
    assert open_store(f"sqlite:///{tmp_path / 'study.db'}").studies() == []


def test_run_study_refuses_to_go_on_with_other_data(
    monkeypatch: pytest.MonkeyPatch, whole: tuple[Path, Summary]
) -> None:
    def changed(spec: DataSpec) -> Dataset:
        return replace(open_dataset(spec), digest="f" * 64)

    monkeypatch.setattr("automl.search.study_run.open_dataset", changed)
    with pytest.raises(InputError, match=r"the data must be what it began with .*, but got ffff"):
        run(whole[0], tiny_spec(6))


def test_run_study_refuses_a_study_that_a_live_driver_holds(tmp_path: Path) -> None:
    class Held(Store):
        def take_lease(self, study_id: int, holder: Holder, phase: str = "start") -> None:
            raise LeaseError("held by somebody")

    store = open_store(f"sqlite:///{tmp_path / 'study.db'}")
    with pytest.raises(LeaseError, match="held by somebody"):
        run(tmp_path, tiny_spec(1), Held(store.url, store._database, None))


def test_worker_count_is_what_the_spec_asks_for() -> None:
    assert worker_count(tiny_spec(1)) == 1
    assert worker_count(tiny_spec(1, search={"executor": "ray", "workers": 3})) == 3
    assert worker_count(tiny_spec(1, search={"executor": "ray"})) >= 1


def front() -> list[TrialRecord]:
    rng, space = np.random.default_rng(0), small_space()
    trials = [trial_of(number, space.decode(space.sample(rng))) for number in range(12)]
    return [replace(trial, state="measured") for trial in trials if isinstance(outcome_of(trial.candidate), Measured)]


@pytest.mark.parametrize("count", [1, 2, 3, 6, 99])
def test_choose_finalists_begins_with_the_most_accurate_and_repeats_none(count: int) -> None:
    chosen = choose_finalists(front(), count)
    numbers = [trial.number for trial in chosen]
    assert len(set(numbers)) == len(numbers) == min(count, len(front()))
    best = max(front(), key=lambda trial: trial.outcome.value("accuracy"))  # type: ignore[union-attr]
    assert numbers[0] == best.number
    assert count < 3 or any(trial.candidate.is_compressed() for trial in chosen)


def test_choose_finalists_of_nothing_is_nothing() -> None:
    assert choose_finalists([], 3) == []
    assert choose_twin([]) is None


def with_figures(trial: TrialRecord, accuracy: float, ratio: float) -> TrialRecord:
    assert isinstance(trial.outcome, Measured)
    others = [each for each in trial.outcome.measurements if each.name != "accuracy"]
    outcome = replace(
        trial.outcome,
        measurements=(measurement("accuracy", accuracy), *others),
        gain=Gain("faster", Ratio(ratio, ratio, ratio), 0.5),
    )
    return replace(trial, outcome=outcome)


def test_choose_twin_takes_the_one_sped_up_most_among_the_accurate() -> None:
    poor, fast, slow = (
        with_figures(trial, accuracy, ratio)
        for trial, accuracy, ratio in zip(front(), (0.80, 0.89, 0.90), (0.1, 0.5, 0.7), strict=False)
    )
    assert choose_twin([poor, fast, slow]) == fast
    assert fast in choose_finalists([poor, fast, slow], 2)


def test_run_all_runs_each_task_to_its_end() -> None:
    ends: dict[str, Any] = {}
    tasks = {str(value): (lambda _, value=value: value) for value in range(5)}
    run_all(InlineExecutor(), tasks, lambda: None, lambda key, completion: ends.update({key: completion.value}))
    assert ends == {str(value): value for value in range(5)}
