"""A driver on Ray in a process of its own, which is killed or interrupted after a number of finished trials.

Arguments: folder, trials, after how many to end, how ("kill", "interrupt" or "never"), and a cluster's address.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from automl.candidate import Candidate
from automl.outcome import Timing
from automl.search.driver import RungStep, drive
from automl.search.executor import Task
from automl.search.mirror import Mirror
from automl.search.progress import Progress
from automl.search.ray_pool import PoolPlan, RayExecutor
from tests.search.search_fakes import OBJECTIVES, FakeTask, drive_plan, new_store, small_space


def main(folder: Path, trials: int, last: int, how: str, address: str | None = None) -> None:
    """Run the study in `folder`."""

    def make_task(candidate: Candidate, known: Timing | None, step: RungStep | None = None) -> Task:
        return FakeTask(candidate, folder=str(folder / "runs"))

    ended: list[int] = []

    def end(progress: Progress) -> None:
        if progress.trials - progress.open >= last and not ended:
            ended.append(progress.trials)  # once: a second signal could meet the answer to the first
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            elif how == "interrupt":
                os.killpg(os.getpgrp(), signal.SIGINT)  # what Ctrl-C does: everyone in the foreground hears it

    (folder / "runs").mkdir(exist_ok=True)
    store, executor = new_store(folder), RayExecutor(PoolPlan(2, address))
    mirror = Mirror(store.url, "study", small_space(), OBJECTIVES, store.trials(1))
    print(*executor.pids(), flush=True)
    try:
        drive(drive_plan(trials, make_task=make_task), store, executor, mirror, end)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    finally:
        mirror.close()
        executor.close()
        store.release_lease(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
