"""The driver on one thread: every trial once, whatever is killed when."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from automl.candidate import Candidate
from automl.outcome import Failed, Timing
from automl.search.driver import Budget, DrivePlan, RungStep, drive
from automl.search.executor import Completion, Executor, Task, run_task
from automl.search.inline import InlineExecutor
from automl.search.progress import Progress
from automl.search.record_view import MAX_RUNS
from automl.storage import Store, TrialRecord, current_holder
from tests.search.search_fakes import FakeTask, Silence, drive_plan, new_store, outcome_of, sampler_plan


class Killed(BaseException):
    """Ends a driver on the spot, as a signal would."""


class MortalStore:
    """A store whose driver is killed just before or just after its n-th write."""

    WRITES = ("add_trial", "begin_attempt", "withdraw_attempt", "finish_trial", "mark_phase")

    def __init__(self, store: Store, writes: int, after: bool) -> None:
        self._store, self._left, self._after = store, writes, after

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        return self._mortal(method) if name in self.WRITES else method

    def _mortal(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self._left -= 1
            if self._left == 0 and not self._after:
                raise Killed
            result = method(*arguments)
            if self._left == 0:
                raise Killed
            return result

        return call


class Script:
    """An executor of any capacity whose tasks end as a script says: "dies" or "ends", one word a run."""

    def __init__(self, capacity: int, fates: dict[str, list[str]], together: bool = False) -> None:
        self.capacity, self.together = capacity, together
        self.fates, self.runs = fates, dict[str, int]()
        self.most = 0
        self._running: list[tuple[str, Task]] = []

    def end(self, key: str) -> None:
        self.fates.setdefault(key, []).insert(0, "dies")

    def share(self, context: Any) -> None:
        pass

    def close(self) -> None:
        pass

    def submit(self, key: str, task: Task) -> None:
        self._running.append((key, task))
        self.runs[key] = self.runs.get(key, 0) + 1
        self.most = max(self.most, len(self._running))
        assert len(self._running) <= self.capacity

    def collect(self, timeout_s: float) -> list[Completion]:
        ended = self._running if self.together else self._running[:1]
        self._running = self._running[len(ended) :]
        return [self._end(key, task) for key, task in ended]

    def _end(self, key: str, task: Task) -> Completion:
        fates = self.fates.get(key, [])
        fate = fates.pop(0) if fates else "ends"
        if fate == "dies":
            return Completion(key, error="killed by signal 9", worker_died=True)
        if fate == "withdrawn":
            return Completion(key, error="the disk is full", withdrawn=True)
        return run_task(key, task, None)


def run(plan: DrivePlan, store: Any, executor: Executor | None = None, listener: Any = None) -> Progress:
    executor = InlineExecutor() if executor is None else executor
    return drive(plan, store, executor, Silence() if listener is None else listener, lambda _: None)


def assert_whole(trials: list[TrialRecord], count: int) -> None:
    """Check that none is lost, none is there twice, none is left running."""
    assert [trial.number for trial in trials] == list(range(count))
    assert [trial.number for trial in trials if trial.outcome is None] == []


def test_drive_runs_exactly_the_asked_number(tmp_path: Path) -> None:
    store, listener = new_store(tmp_path), Silence()
    progress = run(drive_plan(20), store, listener=listener)
    assert_whole(store.trials(1), 20)
    assert listener.told == list(range(20))
    assert progress.measured + progress.infeasible + progress.reused == progress.trials == 20
    assert progress.front_size > 0 and set(progress.best) == {"accuracy", "latency_ms", "size_bytes"}


def test_drive_goes_on_to_a_larger_budget(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    run(drive_plan(6), store)
    before = store.trials(1)
    run(drive_plan(6), store)
    assert store.trials(1) == before
    run(drive_plan(9), store)
    assert store.trials(1)[:6] == before
    assert_whole(store.trials(1), 9)


def test_drive_killed_at_random_writes_ends_as_if_it_never_was(tmp_path: Path) -> None:
    """A function of a fixed seed: no failure rate."""
    whole = new_store(tmp_path / "whole")
    run(drive_plan(30), whole)
    rng, kills = np.random.default_rng(0), 0
    store = new_store(tmp_path / "killed")
    for _ in range(100):
        store.take_lease(1, current_holder())
        mortal = MortalStore(store, int(rng.integers(4, 12)), bool(rng.integers(2)))
        try:
            run(drive_plan(30), mortal)
        except Killed:
            kills += 1
        else:
            break
    assert kills >= 10
    assert_whole(store.trials(1), 30)
    assert [(trial.point, trial.outcome) for trial in store.trials(1)] == [
        (trial.point, trial.outcome) for trial in whole.trials(1)
    ]
    assert {trial.attempts for trial in store.trials(1) if trial.reused_from is None} == {1}


def test_drive_rebuilt_at_every_trial_proposes_the_same(tmp_path: Path) -> None:
    whole, rebuilt = new_store(tmp_path / "whole"), new_store(tmp_path / "rebuilt")
    run(drive_plan(30), whole)
    for trials in range(1, 31):
        run(drive_plan(trials), rebuilt)
    assert [(t.point, t.sampler_state) for t in rebuilt.trials(1)] == [
        (t.point, t.sampler_state) for t in whole.trials(1)
    ]


def test_drive_restarts_open_trials_without_counting_the_dead_drivers_attempt(tmp_path: Path) -> None:
    store, plan = new_store(tmp_path), drive_plan(5)
    for writes in (3, *(4,) * (MAX_RUNS + 1)):  # mark, add; then mark, withdraw, begin: it dies in its first run
        with pytest.raises(Killed):
            run(plan, MortalStore(store, writes, after=False))
    run(plan, store)
    assert_whole(store.trials(1), 5)
    assert store.trials(1)[0].state != "failed"


def test_drive_counts_a_worker_that_dies_alone_and_gives_up_after_three_runs(tmp_path: Path) -> None:
    store, executor = new_store(tmp_path), Script(2, {"1": ["dies"] * 9, "2": ["dies", "ends"]})
    run(drive_plan(5), store, executor)
    trials = store.trials(1)
    assert_whole(trials, 5)
    assert executor.runs == {"0": 1, "1": MAX_RUNS, "2": 2, "3": 1, "4": 1}
    assert [trial.attempts for trial in trials] == [1, 3, 2, 1, 1]
    assert isinstance(trials[1].outcome, Failed)
    assert "its worker died in each of 3 runs" in trials[1].outcome.reason
    assert "killed by signal 9" in trials[1].outcome.reason


def test_drive_keeps_attempts_over_a_restart(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    mortal = MortalStore(store, 4, after=True)  # mark, add, (dies) begin, (dies) begin -> killed
    with pytest.raises(Killed):
        run(drive_plan(2), mortal, Script(1, {"0": ["dies", "dies"]}))
    executor = Script(1, {"0": ["dies"] * 9})
    run(drive_plan(2), store, executor)
    assert executor.runs["0"] <= MAX_RUNS - 1
    assert store.trials(1)[0].state == "failed"


def test_drive_runs_those_that_died_together_alone_to_find_the_culprit(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    executor = Script(2, {"0": ["dies"] * 9, "1": ["dies", "ends"]}, together=True)
    run(drive_plan(4), store, executor)
    trials = store.trials(1)
    assert_whole(trials, 4)
    assert [trial.state == "failed" for trial in trials] == [True, False, False, False]
    assert executor.runs["0"] == 1 + MAX_RUNS  # the death that came with another's does not count
    assert trials[1].attempts == 1


@pytest.mark.parametrize(
    ("fault", "reason"), [("raises", "ValueError: a fault of its own"), ("memory", "out of memory")]
)
def test_drive_records_a_crash_with_its_traceback_and_goes_on(tmp_path: Path, fault: str, reason: str) -> None:
    def make_task(candidate: Candidate, known: Timing | None, step: RungStep | None = None) -> Task:
        return FakeTask(candidate, fault if len(store.trials(1)) == 2 else "")

    store = new_store(tmp_path)
    progress = run(drive_plan(4, make_task=make_task), store)
    outcome = store.trials(1)[1].outcome
    assert isinstance(outcome, Failed) and reason in outcome.reason
    assert "Traceback" in outcome.traceback and "search_fakes.py" in outcome.traceback
    assert (progress.failed, progress.trials) == (1, 4)


def test_drive_reuses_what_is_known_and_ends_in_a_space_that_is_used_up(tmp_path: Path) -> None:
    plan = sampler_plan("random")
    tiny = plan.space.narrow({"op_*": "conv_3x3", "prune_*": 0.0, "alpha": 1.0, "temperature": 1.0}, {})
    store = new_store(tmp_path)
    progress = run(drive_plan(25, sampler_plan("random", space=tiny)), store)
    trials = store.trials(1, with_samples=True)
    assert_whole(trials, 25)
    assert progress.reused == 25 - len({trial.candidate_hash for trial in trials}) >= 19
    for trial in trials:
        if trial.reused_from is not None:
            assert trial.outcome == trials[trial.reused_from].outcome and trial.attempts == 0


def test_drive_reuses_what_is_running_at_the_moment(tmp_path: Path) -> None:
    point = sampler_plan().space.sample(np.random.default_rng(0))
    store, executor = new_store(tmp_path), Script(2, {})
    run(drive_plan(4, sampler_plan(enqueue=(point, point, point))), store, executor)
    assert [trial.reused_from for trial in store.trials(1)] == [None, 0, 0, None]
    assert executor.runs == {"0": 1, "3": 1}


def test_drive_without_a_limit_of_trials_ends_where_nothing_new_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("automl.search.conductor.BARREN_TRIALS", 10)
    tiny = sampler_plan().space.narrow({"op_*": "conv_3x3", "prune_*": 0.0, "alpha": 1.0, "temperature": 1.0}, {})
    store = new_store(tmp_path)
    plan = drive_plan(sampler=sampler_plan("random", space=tiny), budget=Budget(None, 50, None))
    assert run(plan, store).trials < 60
    assert "trained no new network" in store.events(1)[-1].text


def test_drive_stops_at_the_number_of_trained_networks(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    progress = run(drive_plan(budget=Budget(100, 7, None)), store, Script(3, {}))
    assert progress.measured == 7


def test_drive_stops_asking_after_its_seconds_over_all_sessions(tmp_path: Path) -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 1.0
        return now

    store = new_store(tmp_path)
    plan = drive_plan(budget=Budget(1000, None, 50.0))
    progress = drive(plan, store, InlineExecutor(), Silence(), lambda _: None, clock)
    assert 0 < progress.trials < 50 and progress.seconds_left == 0.0
    assert_whole(store.trials(1), progress.trials)


def test_drive_ends_with_its_grid(tmp_path: Path) -> None:
    space = sampler_plan().space
    points = [dict.fromkeys(space.names(), 0), {**dict.fromkeys(space.names(), 0), "width": 1}]
    store = new_store(tmp_path)
    progress = run(drive_plan(50, sampler_plan("sklearn_grid", grid={"whole": points})), store)
    assert progress.trials == 2
    assert "sklearn_grid has nothing more to propose" in store.events(1)[-1].text


def test_drive_hands_known_timings_to_the_task(tmp_path: Path) -> None:
    seen: list[Timing | None] = []

    def make_task(candidate: Candidate, known: Timing | None, step: RungStep | None = None) -> Task:
        seen.append(known)
        return FakeTask(candidate)

    run(drive_plan(3, make_task=make_task, shape_key=lambda candidate: "one shape"), new_store(tmp_path))
    assert seen[0] is None and all(known is not None for known in seen[1:])


def test_drive_killed_between_record_and_listener_leaves_the_record_whole(tmp_path: Path) -> None:
    class Deadly:
        def tell(self, trial: TrialRecord) -> None:
            raise Killed

    store = new_store(tmp_path)
    with pytest.raises(Killed):
        run(drive_plan(3), store, listener=Deadly())
    assert store.trials(1)[0].outcome == outcome_without_samples(store.trials(1)[0].candidate)
    run(drive_plan(3), store)
    assert_whole(store.trials(1), 3)


def outcome_without_samples(candidate: Candidate) -> Any:
    from automl.search.record_view import light

    return light(outcome_of(candidate))


def test_drive_is_interrupted_cleanly(tmp_path: Path) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.trials == 3:
            raise KeyboardInterrupt

    store = new_store(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        drive(drive_plan(6), store, InlineExecutor(), Silence(), interrupt)
    run(drive_plan(6), store)
    assert_whole(store.trials(1), 6)
