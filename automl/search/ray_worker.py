"""What runs inside an actor's process: one task at a time, with the context that the worker already has."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from automl.evaluation import EvaluationContext
from automl.search.executor import Completion, Task, describe, run_task
from automl.search.ray_files import (
    Delivery,
    files_of_value,
    moved,
    own_folder,
    sees_mark,
    write_files,
)
from automl.search.ray_lane import LaneTarget
from automl.search.ray_nodes import installed_versions


@dataclass(frozen=True)
class Greeting:
    """What a worker tells of itself once it is warm."""

    pid: int
    node: str
    versions: Mapping[str, str]


class Worker:
    """Holds the context and runs tasks. References come in lists, so that only who needs an object fetches it.

    Args:
        node: on which it runs.
        shared: what `share` takes, for a worker that is born later; empty where nothing was shared yet.
    """

    def __init__(self, shared: Sequence[Any] = ()) -> None:
        self._context: Any = None
        self._fault: Completion | None = None
        self._own: Path | None = None  # in place of a run folder that this machine does not see
        if shared:
            self.share(*shared)

    def greet(self) -> Greeting:
        """Tell of this worker."""
        import ray

        return Greeting(os.getpid(), str(ray.get_runtime_context().get_node_id()), installed_versions())

    def share(self, context: Sequence[Any], files: Sequence[Any], driver: str) -> None:
        """Take a new context.

        Args:
            context: a reference to it.
            files: a reference to the files of the run folder that it names.
            driver: the mark of the driver's run folder.
        """
        self._fault = None
        try:
            self._context = self._settled(_fetch(context), files, driver)
        except Exception as error:  # noqa: BLE001 told with the next task, to which it would happen
            self._fault = Completion("", error=f"the worker could not take the study: {describe(error)}")

    def run(self, key: str, task: Task, files: Sequence[Any]) -> Delivery:
        """Run a task to its end.

        Args:
            key: of the task.
            task: to run.
            files: a reference to the files that the task goes on from, or nothing.
        """
        if self._fault is not None:
            return Delivery(replace(self._fault, key=key), {})
        if self._own is None:
            return Delivery(run_task(key, task, self._context), {})
        if files:
            write_files(_fetch(files), self._own)
        completion = run_task(key, task, self._context)
        made = files_of_value(completion.value, self._own)
        for name in made:
            if not name.startswith("teacher/"):  # which later tasks read again
                (self._own / name).unlink()
        return Delivery(completion, made)

    def _settled(self, context: Any, files: Sequence[Any], driver: str) -> Any:
        """Return the context as it is right on this machine: with its own run folder, and its device close by."""
        if not isinstance(context, EvaluationContext):
            return context
        if isinstance(context.target, LaneTarget):
            import ray

            if context.target.node == ray.get_runtime_context().get_node_id():
                context = replace(context, target=context.target.device)
        if sees_mark(context.runs, driver):
            self._own = None
            return context
        self._own = own_folder() if self._own is None else self._own
        write_files(_fetch(files), self._own)
        return moved(context, self._own)


def _fetch(references: Sequence[Any]) -> Any:
    import ray

    return ray.get(references[0])
