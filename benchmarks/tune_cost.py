"""What a trivial trial costs from end to end with real workers: under our own loop ("ray") and under Ray Tune ("tune").

    python benchmarks/tune_cost.py --trials 60

Two workers, the random sampler (its ask costs next to nothing), the 40 dimensions of the engine's study, record and
mirror on SQLite. The first trials wait for each other, so that both workers are warm; the time runs from there on.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from engine_cost import FIRST_TRIALS
from engine_study import LIMIT_MS, NAME, STUDY, MadeUpTask, joined, sampler_plan

from automl.candidate import Candidate
from automl.outcome import Outcome, Timing
from automl.search.driver import Budget, DrivePlan, RungStep, drive
from automl.search.executor import Task
from automl.search.mirror import Mirror
from automl.search.ray_pool import PoolPlan, RayExecutor
from automl.search.ray_tune import drive_with_tune
from automl.storage import TrialRecord, current_holder, open_store

ENGINES = ("ray", "tune")
WORKERS = 2
MEET_S = 120.0


@dataclass(frozen=True)
class Meet(MadeUpTask):
    """Waits until every worker runs one like it."""

    folder: str = ""

    def __call__(self, context: object) -> Outcome:
        (Path(self.folder) / f"{os.getpid()}.here").touch()
        deadline = time.monotonic() + MEET_S
        while len(list(Path(self.folder).glob("*.here"))) < WORKERS and time.monotonic() < deadline:
            time.sleep(0.01)
        return super().__call__(context)


def cost_per_trial(engine: str, trials: int, folder: Path) -> float:
    """Return the seconds between two ends of trivial trials.

    Args:
        engine: "ray" or "tune".
        trials: how many; the first ones are not counted.
        folder: where the engine's study lies.
    """
    study, ends = joined(folder), list[float]()
    objectives = study.spec.objectives
    with tempfile.TemporaryDirectory() as scratch, open_store(f"sqlite:///{scratch}/cost.db") as store:
        record = store.require_study(NAME, {}, "digest", 0, {}, "device", objectives)
        store.take_lease(record.id, current_holder())
        mirror = Mirror(store.url, NAME, study.space, objectives, ())

        class Clock:
            def tell(self, trial: TrialRecord) -> None:
                ends.append(time.perf_counter())
                mirror.tell(trial)

        made = itertools.count()

        def make_task(candidate: Candidate, _: Timing | None, __: RungStep | None = None) -> Task:
            return Meet(candidate, 0, 0.0, scratch) if next(made) < WORKERS else MadeUpTask(candidate, 0)

        plan = DrivePlan(
            record.id, sampler_plan(study, "random"), Budget(trials, None, None), "device", make_task,
            lambda candidate: candidate.shape_key((8, 8), 10),
        )  # fmt: skip
        pool = RayExecutor(PoolPlan(WORKERS))
        pool.share(None)
        if engine == "tune":
            drive_with_tune(plan, store, pool, Clock(), lambda _: None, Path(scratch))
        else:
            drive(plan, store, pool, Clock(), lambda _: None)
        pool.close()
        mirror.close()
        failed = [trial.number for trial in store.trials(record.id) if trial.state == "failed"]
        assert not failed, f"trials {failed} failed: what they cost says nothing"
    warm = ends[FIRST_TRIALS:]
    return (warm[-1] - warm[0]) / (len(warm) - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=60)
    trials = parser.parse_args().trials
    folder = Path(tempfile.mkdtemp())
    (folder / f"{NAME}.yaml").write_text(STUDY.replace("LIMIT", str(LIMIT_MS)))
    print(f"milliseconds a trivial trial, {WORKERS} workers, {trials} trials")
    for engine in ENGINES:
        print(f"  ours on {engine:5} {1e3 * cost_per_trial(engine, trials, folder):8.1f}", flush=True)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
