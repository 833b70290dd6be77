"""One driver of a fake study, as `automl search` has it: started again after every fault until the study is done.

Arguments: the database's URL, the study's folder, trials, workers (0 runs them in this process), seconds a trial.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
from pathlib import Path

from fake_study import DEVICE, LIMITS, OBJECTIVES, ChaosTask, fake_space

from automl.candidate import Candidate
from automl.errors import AutomlError
from automl.outcome import Timing
from automl.search.driver import Budget, DrivePlan, RungStep, drive
from automl.search.executor import Executor, Task
from automl.search.mirror import Mirror
from automl.search.progress import Progress
from automl.search.samplers import SamplerPlan
from automl.storage import current_holder, open_store
from automl.storage.patience import patient
from automl.targets.lanes import end_stuck_holder

STUDY = "chaos"
GAVE_UP = 3  # the exit status of a driver that says why it ends
STUCK_S = 1.0
LOOK_EVERY_S = 0.2


def main(url: str, folder: Path, trials: int, workers: int, seconds: float) -> None:
    faulthandler.register(signal.SIGUSR1)
    for name in ("runs", "lanes", "orders"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    store = patient(open_store(url), say)
    study = store.require_study(STUDY, {}, "digest", 0, {}, DEVICE, OBJECTIVES)
    store.take_lease(study.id, current_holder())
    recorded = store.trials(study.id)
    threading.Thread(target=watch_lane, args=(folder,), daemon=True).start()
    executor = open_pool(workers)
    mirror = Mirror(store.url, STUDY, fake_space(), OBJECTIVES, recorded)

    def make_task(candidate: Candidate, _known: Timing | None, _step: RungStep | None) -> Task:
        return ChaosTask(candidate, str(folder), seconds)

    def shape_key(candidate: Candidate) -> str:
        return candidate.shape_key((8, 8), 10)

    sampler = SamplerPlan(
        space=fake_space(), objectives=OBJECTIVES, limits=LIMITS, method="nsga2", seed=0, population=12
    )
    plan = DrivePlan(study.id, sampler, Budget(trials, None, None), DEVICE, make_task, shape_key)
    say("driving")
    try:
        drive(plan, store, executor, mirror, ignore)
    except AutomlError as error:
        say(f"gives up: {error}")
        sys.exit(GAVE_UP)
    finally:
        executor.close()
        mirror.close()
        store.release_lease(study.id)
    if mirror.fault is not None:
        say(f"the mirror lags behind: {mirror.fault}")


def open_pool(workers: int) -> Executor:
    if workers == 0:
        from automl.search.inline import InlineExecutor

        return InlineExecutor()
    from automl.search.ray_cluster import PoolPlan
    from automl.search.ray_pool import RayExecutor

    return RayExecutor(PoolPlan(workers, address=os.environ.get("CHAOS_RAY_ADDRESS")))


def watch_lane(folder: Path) -> None:
    while True:
        holder = end_stuck_holder(folder / "lanes", "cpu", STUCK_S)
        if holder is not None:
            say(f"ended process {holder.pid}, which was stuck in the timing lane")
        time.sleep(LOOK_EVERY_S)


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} driver {os.getpid()}: {text}", flush=True)


def ignore(_progress: Progress) -> None:
    pass


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
