"""The executor without workers: tasks run one at a time in this process, when they are collected."""

from __future__ import annotations

from collections import deque
from typing import Any

from automl.search.executor import Completion, Task, run_task


class InlineExecutor:
    """Runs the oldest submitted task in `collect`; for tests, replay and debugging.

    A task that ends its process ends the driver too, and a task cannot be timed out.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, Task]] = deque()
        self._context: Any = None

    @property
    def capacity(self) -> int:
        """Return 1."""
        return 1

    def share(self, context: Any) -> None:
        """Keep the context for later tasks."""
        self._context = context

    def submit(self, key: str, task: Task) -> None:
        """Queue the task."""
        self._waiting.append((key, task))

    def collect(self, timeout_s: float) -> list[Completion]:  # noqa: ARG002
        """Run the oldest task to its end, however long that takes, and return it."""
        if not self._waiting:
            return []
        key, task = self._waiting.popleft()
        return [run_task(key, task, self._context)]

    def end(self, key: str) -> None:
        """Do nothing: a task of this process cannot be ended without it."""

    def close(self) -> None:
        """Forget what is queued."""
        self._waiting.clear()
