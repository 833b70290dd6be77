"""The search under Ray Tune: the contract of a driver, with real workers and real signals."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from optuna.trial import FrozenTrial

from automl.candidate import Candidate
from automl.errors import LeaseError, StorageError
from automl.outcome import Failed, Infeasible, Measured, Outcome, RungResult, Timing
from automl.search.conductor import Conductor
from automl.search.driver import RungStep, drive
from automl.search.executor import Completion, Task
from automl.search.inline import InlineExecutor
from automl.search.mirror import Mirror, mirrored_numbers, open_mirror
from automl.search.progress import Progress
from automl.search.ray_files import Delivery
from automl.search.ray_pool import PoolPlan, RayExecutor
from automl.search.ray_tune import drive_with_tune
from automl.search.ray_tune_parcels import END, Parcel, TaskWire
from automl.space import Point
from automl.storage import Store, TrialRecord, open_store
from tests.search.search_fakes import (
    OBJECTIVES,
    FakeTask,
    Silence,
    drive_plan,
    new_store,
    outcome_of,
    sampler_plan,
    small_space,
)
from tests.search.test_conductor import Climb, Clock, OneOfTwo
from tests.search.test_driver_ray import GONE_S, ROOT, remains_of_ray

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def pool() -> Iterator[RayExecutor]:
    executor = RayExecutor(PoolPlan(2))
    executor.share({"base": 10})
    yield executor
    executor.close()


@dataclass(frozen=True)
class OddTask(FakeTask):
    """Ends in more ways."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state["fault"] == "foreign":
            raise ModuleNotFoundError("this node has no such module")
        self.__dict__.update(state)

    def __call__(self, context: Any) -> Outcome:
        assert context == {"base": 10}
        outcome = super().__call__(context)
        if self.fault == "unpicklable":
            return lambda: outcome  # type: ignore[return-value]
        if self.fault == "nan" and isinstance(outcome, Measured):
            first = replace(outcome.measurements[0], value=math.nan)
            return replace(outcome, measurements=(first, *outcome.measurements[1:]))
        if self.fault == "hangs":
            time.sleep(3600)
        return outcome


@dataclass(frozen=True)
class TellingClimb(Climb):
    """Says in a file which process ran which rung of which candidate."""

    path: str = ""

    def __call__(self, context: Any) -> Outcome | RungResult:
        with Path(self.path).open("a") as file:
            file.write(f"{self.candidate.candidate_hash()} {self.step.rung.index} {os.getpid()}\n")
        return super().__call__(context)


def make_tasks(faults: Mapping[int, str], folder: Path) -> Any:
    """Return a maker of tasks that gives a fault to those that are made as the so-manieth."""
    made: list[str] = []

    def make_task(candidate: Candidate, known: Timing | None, step: RungStep | None = None) -> Task:
        if candidate.candidate_hash() not in made:
            made.append(candidate.candidate_hash())
        return OddTask(candidate, faults.get(made.index(candidate.candidate_hash()), ""), str(folder))

    return make_task


def points(count: int) -> tuple[Point, ...]:
    """Return points of candidates that are all different: the last three are a measured one after two infeasible."""
    space, found = small_space(), dict[type, dict[str, Point]]({Measured: {}, Infeasible: {}})
    for seed in range(200):
        point = space.sample(np.random.default_rng(seed))
        candidate = space.decode(point)
        found[type(outcome_of(candidate))].setdefault(candidate.candidate_hash(), point)
    measured, infeasible = list(found[Measured].values()), list(found[Infeasible].values())
    return (*measured[: count - 3], *infeasible[:2], measured[count])


@dataclass(frozen=True)
class Ended:
    """A study of all kinds of ends, and what became of it."""

    folder: Path
    trials: list[TrialRecord]
    progress: Progress
    mirrored: Mapping[int, FrozenTrial]


FAULTS = {1: "kills", 3: "raises", 4: "memory", 5: "nan", 6: "unpicklable", 7: "foreign", 13: "hangs"}


@pytest.fixture(scope="module")
def ended(pool: RayExecutor, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder, space, late = tmp_path_factory.mktemp("ends"), points(14), 0.0
    hanging = folder / small_space().decode(space[13]).candidate_hash()

    def look(progress: Progress) -> None:
        nonlocal late
        late = 1000.0 if progress.open == 1 and hanging.exists() else late

    plan = drive_plan(14, sampler_plan(enqueue=space), make_task=make_tasks(FAULTS, folder), timeout_s=600.0)
    store = new_store(folder)
    mirror = Mirror(store.url, "study", small_space(), OBJECTIVES, ())
    progress = drive_with_tune(plan, store, pool, mirror, look, folder, lambda: time.monotonic() + late)
    mirror.close()
    mirrored = {trial.user_attrs["number"]: trial for trial in open_mirror(store.url, "study", OBJECTIVES).trials}
    return Ended(folder, store.trials(1), progress, mirrored)


def reason(trial: TrialRecord) -> str:
    assert isinstance(trial.outcome, Failed), f"trial {trial.number} is {trial.state}"
    return trial.outcome.reason


def test_tune_records_every_trial_once(ended: Ended) -> None:
    assert [trial.number for trial in ended.trials] == list(range(14))
    assert (ended.progress.trials, ended.progress.open, ended.progress.failed) == (14, 0, 7)
    assert not (ended.folder / "tune").exists()


def test_tune_runs_what_kills_its_worker_three_times(ended: Ended) -> None:
    trial = ended.trials[1]
    assert "its worker died in each of 3 runs" in reason(trial) and trial.attempts == 3
    assert len((ended.folder / trial.candidate_hash).read_text()) in (3, 4)  # one more where another died with it


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (3, "ValueError: a fault of its own"),
        (4, "out of memory: MemoryError"),
        (5, "without a finite figure: accuracy is nan"),
        (6, "pickle"),
        (7, "ModuleNotFoundError: this node has no such module"),
        (13, "it ran for longer than 600 s (search.timeout_seconds)"),
    ],
)
def test_tune_fails_a_trial_with_its_reason(ended: Ended, number: int, expected: str) -> None:
    assert expected in reason(ended.trials[number])


def test_tune_keeps_the_traceback(ended: Ended) -> None:
    outcome = ended.trials[3].outcome
    assert isinstance(outcome, Failed) and "search_fakes.py" in outcome.traceback


def test_tune_leaves_no_zombie_and_fails_nan_in_the_mirror(ended: Ended) -> None:
    states = {number: trial.state.name for number, trial in ended.mirrored.items()}
    assert sorted(states) == list(range(14)) and set(states.values()) == {"COMPLETE", "PRUNED", "FAIL"}
    assert {number for number, state in states.items() if state == "FAIL"} == set(FAULTS)


def test_tune_keeps_violated_limits_in_record_and_mirror(ended: Ended) -> None:
    infeasible = {trial.number: trial.outcome for trial in ended.trials if isinstance(trial.outcome, Infeasible)}
    assert sorted(infeasible) == [11, 12]
    for number, outcome in infeasible.items():
        value, bound = outcome.violations["latency_ms"]
        assert value > bound == 30.0
        assert ended.mirrored[number].user_attrs["reason"] == "too slow"
        assert ended.mirrored[number].user_attrs["latency_ms"] == value


def test_tune_goes_from_rung_to_rung_in_workers_that_stay_warm(tmp_path: Path, pool: RayExecutor) -> None:
    path = tmp_path / "runs"

    def make_task(candidate: Candidate, known: Timing | None, step: RungStep | None) -> Task:
        assert step is not None
        return TellingClimb(candidate, step, str(path))

    store = new_store(tmp_path)
    plan = drive_plan(14, sampler_plan("random"), make_task=make_task, stopping=OneOfTwo())
    drive_with_tune(plan, store, pool, Silence(), lambda _: None, tmp_path)
    trials = store.trials(1)
    climbed = defaultdict(list)
    for record in store.rungs(1):
        climbed[record.trial].append(record.result.rung)
    assert {trial.state for trial in trials} == {"measured", "stopped", "infeasible"}
    for trial in trials:
        expected = {"measured": [[0, 1]], "stopped": [[0], [0, 1]], "infeasible": [[]]}[trial.state]
        assert climbed[trial.number] in expected and trial.attempts == 1
    runs = [line.split() for line in path.read_text().splitlines()]
    assert len({(candidate, rung) for candidate, rung, _ in runs}) == len(runs)
    assert len({pid for _, _, pid in runs}) <= 2
    assert all(len({pid for other, _, pid in runs if other == candidate}) == 1 for candidate, _, _ in runs)


def test_tune_ends_where_another_driver_took_over(tmp_path: Path, pool: RayExecutor) -> None:
    def taken(*_: Any, **__: Any) -> None:
        raise LeaseError("another driver runs the study")

    store = new_store(tmp_path)
    plan = drive_plan(6, make_task=make_tasks({}, tmp_path))
    store.finish_trial = taken  # type: ignore[method-assign]
    with pytest.raises(LeaseError, match="another driver runs the study"):
        drive_with_tune(plan, store, pool, Silence(), lambda _: None, tmp_path)
    del store.finish_trial
    assert all(trial.outcome is None for trial in store.trials(1))


@dataclass
class Asked:
    """A searcher of a study, with a clock that stands."""

    searcher: Any
    clock: Clock
    store: Store

    @property
    def attempts(self) -> list[int]:
        return [trial.attempts for trial in self.store.trials(1)]


@pytest.fixture
def asked(tmp_path: Path, pool: RayExecutor) -> Asked:
    """Return it; Ray is only imported where the pool has set it up."""
    from automl.search.ray_tune_searcher import ConductorSearcher

    store, clock = new_store(tmp_path), Clock()
    plan = drive_plan(3, sampler_plan(enqueue=points(6)))
    conductor = Conductor(plan, store, Silence(), lambda _: None, clock)
    wire = TaskWire(lambda _: [], lambda delivery: delivery.completion)
    return Asked(ConductorSearcher(conductor, wire, lambda: 2, clock), clock, store)


def dead(number: int) -> Completion:
    return Completion(str(number), error="killed", worker_died=True)


def delivered(number: int, value: Any) -> dict[str, Any]:
    return {END: Parcel(Delivery(Completion(str(number), value), {}))}


def test_searcher_suggests_as_many_as_there_is_room_for_until_the_study_is_done(asked: Asked) -> None:
    configs = [asked.searcher.suggest(name) for name in "abc"]
    assert [config and config["trial"] for config in configs] == [0, 1, None]
    for name, number in (("a", 0), ("b", 1), ("d", 2)):
        if name == "d":
            assert asked.searcher.suggest(name)["trial"] == 2 and asked.searcher.suggest("e") is None
        task = asked.searcher.assigned(name).task
        asked.searcher.on_trial_complete(name, delivered(number, task(None)))
        asked.searcher.on_trial_complete(name, error=True)  # a second end is none
    assert asked.searcher.suggest("f") == "FINISHED" and asked.searcher.is_done
    assert [trial.state for trial in asked.store.trials(1)].count("measured") == 3


def test_searcher_takes_deaths_of_one_moment_together(asked: Asked) -> None:
    for name, number in (("a", 0), ("b", 1)):
        asked.searcher.suggest(name)
        asked.searcher.end(name, dead(number))
    assert asked.searcher.suggest("c") is None  # they wait for others of the same cause
    asked.clock.now += 2.0
    assert asked.searcher.suggest("d")["trial"] == 0
    assert asked.searcher.suggest("e") is None  # each runs alone, so that the culprit shows
    assert asked.attempts == [1, 1]  # neither death counts


def test_searcher_runs_again_what_tune_took_back(asked: Asked) -> None:
    asked.searcher.suggest("a")
    asked.searcher.on_trial_complete("a")
    assert asked.searcher.suggest("b") is None and asked.attempts == [0]  # the machine may need a rest
    asked.clock.now += 2.0
    assert asked.searcher.suggest("c")["trial"] == 0 and asked.attempts[0] == 1


def test_searcher_raises_again_what_tune_may_have_swallowed(asked: Asked) -> None:
    def gone(*_: Any) -> None:
        raise StorageError("the database is gone")

    asked.searcher.suggest("a")
    asked.store.finish_trial = gone  # type: ignore[method-assign,assignment]
    with pytest.raises(StorageError, match="the database is gone"):
        asked.searcher.on_trial_complete("a", delivered(0, outcome_of(asked.searcher.assigned("a").task.candidate)))
    with pytest.raises(StorageError, match="the database is gone"):
        asked.searcher.suggest("b")


def train_network(candidate: Candidate, share: float) -> dict[str, float]:
    """Return figures that are a function of the candidate; of some kinds they cannot be used."""
    kind, size = kind_of(candidate), float(sum(candidate.pruning.kept_widths))
    if kind == "raises":
        raise ValueError("it does not learn")
    accuracy = math.nan if kind == "nan" else share * size / 1000
    return {"accuracy": accuracy, "latency_ms": 99.0 if kind == "slow" else 0.1 + size / 1000, "size_bytes": size}


def kind_of(candidate: Candidate) -> str:
    return ("raises", "nan", "slow", "fine", "fine", "fine")[int(candidate.candidate_hash(), 16) % 6]


def test_tune_example_of_the_documentation_runs(
    tmp_path: Path, pool: RayExecutor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    example = (ROOT / "docs" / "tune.md").read_text().split("```python")[1].split("```")[0]
    quietly = f"tune.Tuner(run_config=tune.RunConfig(storage_path={str(tmp_path / 'files')!r}, verbose=0), trainable="
    shutil.copytree(ROOT / "studies", tmp_path / "studies")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    with pool.lent():
        exec(compile(example.replace("tune.Tuner(", quietly), "docs/tune.md", "exec"), {"train_network": train_network})
    assert "trials=12" in capsys.readouterr().out
    store = open_store("sqlite:///my-tuner.db")
    trials = store.trials(1)
    assert [trial.number for trial in trials] == list(range(12))
    ends = {"raises": {"failed"}, "nan": {"failed"}, "slow": {"infeasible"}, "fine": {"measured", "stopped"}}
    assert all(trial.state in ends[kind_of(trial.candidate)] for trial in trials)
    assert {kind_of(trial.candidate) for trial in trials} == set(ends)
    reasons = {kind_of(trial.candidate): trial.outcome for trial in trials}
    assert isinstance(reasons["raises"], Failed) and reasons["raises"].reason == "ValueError: it does not learn"
    assert isinstance(reasons["nan"], Failed) and "must be a finite number, but got nan" in reasons["nan"].reason
    assert isinstance(reasons["slow"], Infeasible) and reasons["slow"].violations == {"latency_ms": (99.0, 0.5)}
    assert any(trial.state == "stopped" for trial in trials) and store.rungs(1)
    study = store.find_study("my-tuner")
    assert study is not None and study.finished_at is not None


def run_driver(folder: Path, how: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.search.tuned_driver", str(folder), "14", "5", how],
        cwd=ROOT, start_new_session=True, text=True, timeout=90, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def workers_of(folder: Path) -> str:
    return (folder / "runs" / "pids").read_text()


def test_tune_killed_leaves_nothing_running_and_goes_on(tmp_path: Path) -> None:
    assert run_driver(tmp_path, "kill").returncode == -signal.SIGKILL
    _, alive = psutil.wait_procs(remains_of_ray(workers_of(tmp_path)), timeout=GONE_S)
    assert alive == []
    store = new_store(tmp_path)
    before = {trial.number: trial.outcome for trial in store.trials(1) if trial.outcome is not None}
    assert 5 <= len(before) < 14
    mirror = Mirror(store.url, "study", small_space(), OBJECTIVES, store.trials(1))
    drive(drive_plan(14), store, InlineExecutor(), mirror, lambda _: None)
    mirror.close()
    trials = store.trials(1)
    assert [trial.number for trial in trials] == list(range(14))
    assert all(trial.outcome is not None and trial.attempts <= 1 for trial in trials)
    assert before.items() <= {trial.number: trial.outcome for trial in trials}.items()
    study = open_mirror(store.url, "study", OBJECTIVES)
    assert mirrored_numbers(study) == set(range(14)) and len(study.trials) == 14


def test_tune_interrupted_ends_cleanly(tmp_path: Path) -> None:
    ended = run_driver(tmp_path, "interrupt")
    assert (ended.returncode, ended.stdout.strip()) == (0, "interrupted")
    _, alive = psutil.wait_procs(remains_of_ray(workers_of(tmp_path)), timeout=GONE_S)
    assert alive == []
    trials = new_store(tmp_path).trials(1)
    assert len(trials) >= 5 and all(trial.attempts <= 1 for trial in trials)
    assert not (tmp_path / "tune").exists()
