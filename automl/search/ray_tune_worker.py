"""What runs in the workers of Ray Tune: tasks of one study, one after the other, in a process that stays warm."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ray.tune import Trainable
from ray.tune.result import DONE

from automl.outcome import RungResult
from automl.search.executor import Task
from automl.search.ray_tune_parcels import END, TASK, TRIAL, Parcel
from automl.search.ray_worker import Worker

WENT_FROM, GOES = "TUNE_ORIG_WORKING_DIR", "RAY_CHDIR_TO_TRIAL_DIR"  # Tune's words for its change of folder


class TaskTrainable(Trainable):
    """Runs the task of each trial's config, and those that `assign` hands over for higher rungs."""

    _worker: Worker
    _key: str
    _task: Task
    _files: Sequence[Any]

    def setup(self, config: dict[str, Any], shared: Sequence[Any] = ()) -> None:  # noqa: ARG002
        """Become a worker, with what it is born with, and take the first task."""
        os.chdir(os.environ.get(WENT_FROM, "."))
        os.environ[GOES] = "0"
        self._worker = Worker(shared)
        self.assign(self.config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the task of the next trial."""
        self.assign(new_config)
        return True

    def assign(self, config: dict[str, Any]) -> None:
        """Take a task; Tune sends the config back with every result, so it is relieved of it."""
        self._key = str(config[TRIAL])
        self._task, self._files = config[TASK].take()

    def step(self) -> dict[str, Any]:
        """Run the task: a result below the top rung is not the end."""
        delivery = self._worker.run(self._key, self._task, self._files)
        return {END: Parcel(delivery), DONE: not isinstance(delivery.completion.value, RungResult)}
