"""A driver under Ray Tune in a process of its own, which is killed or interrupted after a number of finished trials.

Arguments: folder, trials, after how many to end, and how: "kill", "interrupt" or "never".
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automl.candidate import Candidate
from automl.outcome import Outcome, Timing
from automl.search.driver import RungStep
from automl.search.executor import Task
from automl.search.mirror import Mirror
from automl.search.progress import Progress
from automl.search.ray_pool import PoolPlan, RayExecutor
from automl.search.ray_tune import drive_with_tune
from tests.search.search_fakes import OBJECTIVES, FakeTask, drive_plan, new_store, small_space


@dataclass(frozen=True)
class TellingTask(FakeTask):
    """Says in a file which process ran it."""

    def __call__(self, context: Any) -> Outcome:
        """Return the outcome."""
        with (Path(self.folder) / "pids").open("a") as file:
            file.write(f"{os.getpid()}\n")
        return super().__call__(context)


def main(folder: Path, trials: int, last: int, how: str) -> None:
    """Run the study in `folder`."""

    def make_task(candidate: Candidate, known: Timing | None, step: RungStep | None = None) -> Task:
        return TellingTask(candidate, folder=str(folder / "runs"))

    ended: list[int] = []

    def end(progress: Progress) -> None:
        if progress.trials - progress.open >= last and not ended:
            ended.append(progress.trials)  # once: a second signal could meet the answer to the first
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            elif how == "interrupt":
                os.killpg(os.getpgrp(), signal.SIGINT)  # what Ctrl-C does: everyone in the foreground hears it

    (folder / "runs").mkdir(exist_ok=True)
    store, pool = new_store(folder), RayExecutor(PoolPlan(2))
    mirror = Mirror(store.url, "study", small_space(), OBJECTIVES, store.trials(1))
    try:
        drive_with_tune(drive_plan(trials, make_task=make_task), store, pool, mirror, end, folder)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    finally:
        mirror.close()
        pool.close()
        store.release_lease(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
