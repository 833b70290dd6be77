"""Which of the front are retrained at the end, and the runs that come one by one: the teacher and the finalists."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence

from automl.candidate import Candidate
from automl.errors import AutomlError
from automl.outcome import Measured
from automl.pareto import front_mask
from automl.search.executor import Completion, Executor, Task
from automl.search.front import choose, objective_losses
from automl.storage import TrialRecord

MAX_RUNS = 3  # of a task whose worker dies each time
COLLECT_S = 1.0
PATIENCE_S = 600.0  # of a pool that cannot run anything
NEARLY = 0.025  # of accuracy: what validation can hardly tell from the best, and a user might give for speed


def choose_finalists(front: Sequence[TrialRecord], count: int) -> list[TrialRecord]:
    """Return at most `count` trials of the front: the most accurate, the one that compression sped up most, the knee.

    More than three are filled up with the most accurate of the rest, those on the front of accuracy and latency first.
    """
    if not front:
        return []
    wanted = [choose(front, "accuracy"), *most_sped_up(front), choose(front, "knee")]
    flat = front_mask(objective_losses(front, ("accuracy", "latency_ms")))
    rest = sorted(zip(front, flat, strict=True), key=lambda pair: (not pair[1], -_accuracy(pair[0])))
    wanted += [trial for trial, _ in rest]
    return list({trial.number: trial for trial in wanted}.values())[:count]


def most_sped_up(front: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the trial with the smallest ratio to its twin among those nearly as accurate as the best; none, or one."""
    enough = max(_accuracy(trial) for trial in front) - NEARLY
    ratios = {
        trial.number: trial.outcome.gain.twin_ratio.value
        for trial in front
        if isinstance(trial.outcome, Measured) and trial.outcome.gain.twin_ratio is not None
    }
    near = [trial for trial in front if trial.number in ratios and _accuracy(trial) >= enough]
    return sorted(near, key=lambda trial: (ratios[trial.number], trial.number))[:1]


def choose_twin(finalists: Sequence[TrialRecord]) -> TrialRecord | None:
    """Return the finalist that is held against its uncompressed twin, trained alike: the one sped up most."""
    found = most_sped_up(finalists) if finalists else []
    return found[0] if found else None


def run_all(
    executor: Executor, tasks: Mapping[str, Task], on_wait: Callable[[], None], done: Callable[[str, Completion], None]
) -> None:
    """Run tasks to their end, as many at a time as there are workers; `done` hears of each end as it comes.

    A task whose worker died runs at most three times. Its last death is handed to `done` like any other end. One that
    its machine or pool failed runs again, uncounted, unless that goes on for `PATIENCE_S`.
    """
    waiting, runs, under_way = list(tasks), dict.fromkeys(tasks, 0), 0
    patient_until = math.inf
    while waiting or under_way:
        while waiting and under_way < executor.capacity:
            key = waiting.pop(0)
            runs[key] += 1
            under_way += 1
            executor.submit(key, tasks[key])
        for completion in executor.collect(COLLECT_S):
            under_way -= 1
            again = completion.worker_died and runs[completion.key] < MAX_RUNS
            if completion.withdrawn:
                patient_until = min(patient_until, time.monotonic() + PATIENCE_S)
                again = time.monotonic() < patient_until
                runs[completion.key] -= 1
            else:
                patient_until = math.inf
            if again:
                waiting.append(completion.key)
            else:
                done(completion.key, completion)
        on_wait()


def run_one(executor: Executor, task: Task, what: str, on_wait: Callable[[], None]) -> object:
    """Return the value of a single task.

    Raises:
        AutomlError: naming `what` and why it failed.
    """
    ends: list[Completion] = []
    run_all(executor, {what: task}, on_wait, lambda _, completion: ends.append(completion))
    if ends[0].error is not None:
        raise AutomlError(f"{what} failed: {ends[0].error}\n{ends[0].traceback}".rstrip())
    return ends[0].value


def finalist_key(role: str, candidate: Candidate, runtime: str = "onnxruntime") -> tuple[str, str]:
    """Return what tells one finalist's record from another's; a twin's record holds the twin, run by `runtime`."""
    return role, (candidate.twin(runtime) if role == "twin" else candidate).canonical().candidate_hash()


def _accuracy(trial: TrialRecord) -> float:
    assert isinstance(trial.outcome, Measured), f"trial {trial.number} was not measured"
    return trial.outcome.value("accuracy")
