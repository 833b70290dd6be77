"""What the driver asks of a pool of workers, and how a task's end is told.

A task is a picklable value that is called with the shared context and returns a value. Executors promise: what was
submitted is collected exactly once: as its value, as the exception that it raised, as the death of its worker, or as
withdrawn where the pool or its machine failed.
"""

from __future__ import annotations

import errno
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from automl.errors import AutomlError

Task = Callable[[Any], Any]
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)  # no fault of the task: it runs again when there is room


class MachineError(AutomlError):
    """Something that a task needs of its machine or pool is not there; no fault of the task, which should run again."""


@dataclass(frozen=True)
class Completion:
    """How the task submitted under `key` ended.

    Exactly one of four: `error` is None and `value` is what it returned; `error` names the exception that it raised,
    with its traceback as text; `worker_died` is set, and `error` says what is known of the death; `withdrawn` is set
    where the machine or the pool failed the task (its node or the whole pool was lost, the disk is full): it should run
    again, and `error` says why.
    """

    key: str
    value: Any = None
    error: str | None = None
    traceback: str = ""
    worker_died: bool = False
    withdrawn: bool = False


class Executor(Protocol):
    """Warm workers that all hold the same context. `capacity` is the number of tasks that may run at once."""

    @property
    def capacity(self) -> int:
        """Return how many tasks may be submitted and not yet collected; it may change as machines come and go."""
        ...

    def share(self, context: Any) -> None:
        """Give every worker the context that later tasks are called with."""
        ...

    def submit(self, key: str, task: Task) -> None:
        """Start the task, or queue it; at most `capacity` may be uncollected."""
        ...

    def collect(self, timeout_s: float) -> list[Completion]:
        """Return what has ended, waiting at most `timeout_s` seconds for the first; at once if nothing is under way."""
        ...

    def end(self, key: str) -> None:
        """End the worker that runs the task: it is collected as a death. Nothing happens where it is not under way."""
        ...

    def close(self) -> None:
        """End every worker, finished or not."""
        ...


def run_task(key: str, task: Task, context: Any) -> Completion:
    """Return the task's end; the one place where a crash of any kind is turned into a value."""
    try:
        return Completion(key, task(context))
    except Exception as error:  # noqa: BLE001
        failed = isinstance(error, MachineError) or (isinstance(error, OSError) and error.errno in DISK_FULL)
        return Completion(key, error=describe(error), traceback=traceback.format_exc(), withdrawn=failed)


def describe(error: BaseException) -> str:
    """Return an exception as one line; running out of memory says so first."""
    text = " ".join(str(error).split())
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return f"out of memory: {line}" if isinstance(error, MemoryError) else line
