"""What a conductor makes of rungs, of a machine in trouble, and of trials that run for too long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from automl.candidate import Candidate
from automl.errors import AutomlError
from automl.evaluation.rungs import Rung
from automl.outcome import Failed, Measured, Outcome, RungResult, Timing
from automl.search.conductor import Conductor
from automl.search.driver import RungStep, drive
from automl.search.executor import Completion, Task
from automl.search.inline import InlineExecutor
from automl.storage import Store, TrialRecord
from tests.search.search_fakes import FakeTask, Silence, drive_plan, new_store, outcome_of, sampler_plan, small_space


@dataclass(frozen=True)
class OneOfTwo:
    """Two rungs and the top; at a rung every second arrival goes on."""

    def rung(self, index: int) -> Rung:
        return Rung(index, (0.25, 0.5, 1.0)[index])

    def verdict(self, rung: int, losses: np.ndarray) -> str | None:
        return None if len(losses) % 2 else f"stopped at rung {rung}: arrival {len(losses)}"


@dataclass(frozen=True)
class Climb:
    """A task that ends at a rung, or with the outcome at the top."""

    candidate: Candidate
    step: RungStep

    def __call__(self, context: Any) -> Outcome | RungResult:
        outcome = outcome_of(self.candidate)
        if self.step.rung.is_top or not isinstance(outcome, Measured):
            return outcome
        assert (self.step.since is None) == (self.step.rung.index == 0)
        return RungResult(self.step.rung.index, outcome.measurements, (), (), {"train": 1.0}, None)


def climb(candidate: Candidate, known: Timing | None, step: RungStep | None) -> Task:
    assert step is not None
    return Climb(candidate, step)


@dataclass
class Clock:
    """A clock that a test moves; sleeping moves it too."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Fated:
    """An executor of one worker whose tasks end as told, by trial; without a word they run."""

    capacity = 1

    def __init__(self, fates: Mapping[str, list[Completion]], clock: Clock, seconds: float = 0.0) -> None:
        self.fates, self.clock, self.seconds = {key: list(fate) for key, fate in fates.items()}, clock, seconds
        self.ended: list[str] = []
        self._inner = InlineExecutor()
        self._key = ""

    def submit(self, key: str, task: Task) -> None:
        self._key = key
        self._inner.submit(key, task)

    def collect(self, timeout_s: float) -> list[Completion]:
        self.clock.now += self.seconds
        completions = self._inner.collect(timeout_s)
        if self._key in self.ended:
            return [Completion(self._key, error="ended", worker_died=True)]
        return [self.fates[self._key].pop(0)] if self.fates.get(self._key) else completions

    def end(self, key: str) -> None:
        self.ended.append(key)

    def share(self, context: Any) -> None:
        pass

    def close(self) -> None:
        pass


def climbing(store: Store, trials: int = 12) -> list[TrialRecord]:
    plan = drive_plan(trials, sampler_plan("random"), make_task=climb, stopping=OneOfTwo())
    drive(plan, store, InlineExecutor(), Silence(), lambda _: None)
    return store.trials(1)


def test_conductor_takes_trials_from_rung_to_rung(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    trials = climbing(store)
    climbed = {
        trial.number: [record.result.rung for record in store.rungs(1) if record.trial == trial.number]
        for trial in trials
    }
    assert {trial.state for trial in trials} == {"measured", "stopped", "infeasible"}
    for trial in trials:
        expected = {"measured": [[0, 1]], "stopped": [[0], [0, 1]], "infeasible": [[]]}[trial.state]
        assert climbed[trial.number] in expected


def test_conductor_says_why_a_trial_was_stopped(tmp_path: Path) -> None:
    stopped = [trial.outcome for trial in climbing(new_store(tmp_path)) if trial.state == "stopped"]
    assert stopped[0] is not None
    assert stopped[0].reason == "stopped at rung 0: arrival 2"
    assert stopped[0].seconds == {"rung 0": 1.0}


class KilledError(BaseException):
    """Ends a driver on the spot."""


def test_conductor_killed_after_a_rung_goes_on_from_it(tmp_path: Path) -> None:
    whole, killed = new_store(tmp_path / "whole"), new_store(tmp_path / "killed")
    expected = climbing(whole)

    def kill(*arguments: Any) -> None:
        Store.add_rung(killed, *arguments)
        raise KilledError

    for _ in range(3):
        killed.add_rung = kill  # type: ignore[method-assign,assignment]
        with pytest.raises(KilledError):
            climbing(killed)
        del killed.add_rung  # type: ignore[method-assign]
    trials = climbing(killed)
    assert [(trial.number, trial.state, trial.point) for trial in trials] == [
        (trial.number, trial.state, trial.point) for trial in expected
    ]
    assert [(record.trial, record.result.rung) for record in killed.rungs(1)] == [
        (record.trial, record.result.rung) for record in whole.rungs(1)
    ]
    assert {trial.attempts for trial in trials} <= {0, 1}


def test_conductor_waits_where_the_machine_fails_and_counts_no_attempt(tmp_path: Path) -> None:
    store, clock = new_store(tmp_path), Clock()
    full = Completion("2", error="OSError: no space left", withdrawn=True)
    executor = Fated({"2": [full, full]}, clock)
    drive(drive_plan(4), store, executor, Silence(), lambda _: None, clock, clock.sleep)
    trials = store.trials(1)
    assert [trial.state == "open" for trial in trials] == [False] * 4
    assert trials[2].attempts == 1
    assert sum(clock.slept) == pytest.approx(3.0)  # one second, then two
    waits = [event.text for event in store.events(1) if event.kind == "waiting"]
    assert waits == ["Waiting, then trying again: OSError: no space left. No attempt is counted."]


def test_conductor_gives_up_on_a_machine_that_stays_broken(tmp_path: Path) -> None:
    store, clock = new_store(tmp_path), Clock()
    executor = Fated({"2": [Completion("2", error="no space left", withdrawn=True)] * 1000}, clock)
    with pytest.raises(
        AutomlError, match=r"nothing could run for 10 minutes: no space left\. Nothing that was recorded is lost"
    ):
        drive(drive_plan(4), store, executor, Silence(), lambda _: None, clock, clock.sleep)
    assert [trial.attempts for trial in store.trials(1)] == [1, 1, 0]


def test_conductor_fails_a_trial_that_runs_for_too_long(tmp_path: Path) -> None:
    store, clock = new_store(tmp_path), Clock()

    class Slow(Fated):
        def collect(self, timeout_s: float) -> list[Completion]:
            self.clock.now += 1.0
            return [] if self._key == "1" and "1" not in self.ended else super().collect(timeout_s)

    drive(drive_plan(3, timeout_s=5.0), store, Slow({}, clock), Silence(), lambda _: None, clock, clock.sleep)
    late = store.trials(1)[1]
    assert late.state == "failed" and late.outcome is not None
    assert late.outcome.reason == "it ran for longer than 5 s (search.timeout_seconds)"  # type: ignore[union-attr]


def test_conductor_answers_a_candidate_that_killed_its_workers_from_the_record(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    death = Completion("0", error="killed", worker_died=True)
    points = [sampler_plan().space.sample(np.random.default_rng(0))] * 2
    plan = drive_plan(
        2, replace(sampler_plan("random"), enqueue=tuple(points)), make_task=lambda candidate, *_: FakeTask(candidate)
    )
    drive(plan, store, Fated({"0": [death] * 3}, Clock()), Silence(), lambda _: None)
    first, second = store.trials(1)
    assert (first.state, first.attempts) == ("failed", 3)
    assert (second.state, second.reused_from, second.attempts) == ("failed", 0, 0)


def test_conductor_tells_the_seconds_that_duplicates_saved(tmp_path: Path) -> None:
    points = [sampler_plan().space.sample(np.random.default_rng(0))] * 3
    plan = drive_plan(3, replace(sampler_plan("random"), enqueue=tuple(points)))
    progress = drive(plan, new_store(tmp_path), InlineExecutor(), Silence(), lambda _: None)
    assert (progress.reused, progress.saved_seconds) == (2, pytest.approx(0.4))


def test_conductor_assigns_without_a_pool(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    conductor = Conductor(drive_plan(2), store, Silence(), lambda _: None)
    conductor.recover()
    first, second = conductor.next(2), conductor.next(2)
    assert first is not None and second is not None and conductor.next(2) is None
    conductor.settle([Completion(str(one.number), one.task(None)) for one in (second, first)])
    assert conductor.running == 0 and conductor.next(2) is None
    assert [trial.state == "open" for trial in store.trials(1)] == [False, False]


def test_conductor_takes_figures_that_are_no_numbers_for_a_failure(tmp_path: Path) -> None:
    def make_task(candidate: Candidate, *_: Any) -> Task:
        good = outcome_of(candidate)
        assert isinstance(good, Measured)
        figures = tuple(replace(each, value=float("nan")) for each in good.measurements)
        return lambda _context: replace(good, measurements=figures)

    store = new_store(tmp_path)
    narrow = sampler_plan("random", space=small_space(("skip_connect",)))  # within every limit
    drive(drive_plan(1, narrow, make_task=make_task), store, InlineExecutor(), Silence(), lambda _: None)
    (trial,) = store.trials(1)
    assert trial.state == "failed" and isinstance(trial.outcome, Failed)
    assert trial.outcome.reason == "without a finite figure: accuracy is nan, latency_ms is nan, size_bytes is nan"
