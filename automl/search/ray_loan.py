"""A pool's cluster lent to others, who run its `Worker` in their own way while its own workers rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from automl.search.executor import Completion, Task
from automl.search.ray_cluster import PoolPlan
from automl.search.ray_files import Delivery, files_of_task
from automl.search.ray_pool import RayExecutor


@dataclass(frozen=True)
class Loan:
    """What is lent: `shared` is what a `Worker` is born with, `plan` says what each takes of the cluster.

    `carry` returns what goes with a task, `deliver` the end of one, once its files lie in the driver's run folder, and
    `room` how many workers the cluster has room for.
    """

    shared: tuple[Any, ...]
    plan: PoolPlan
    carry: Callable[[Task], list[Any]]
    deliver: Callable[[Delivery], Completion]
    room: Callable[[], int]


@contextmanager
def lent(pool: RayExecutor) -> Iterator[Loan]:
    """End the workers of an idle pool and lend their place; they start again when it is given back."""
    # ruff: noqa: SLF001
    assert not pool._waiting and all(slot.key is None for slot in pool._slots), "lent while tasks are under way"
    for slot in pool._slots:
        pool._kill(slot.actor)
    pool._slots.clear()

    def carry(task: Task) -> list[Any]:
        files = {} if pool._cluster.is_private else files_of_task(task, pool._context)
        return [pool._ray.put(files)] if files else []

    def room() -> int:
        if pool._plan.workers is not None:
            return pool._plan.workers
        return max(1, sum(node.size(pool._plan.cpus, pool._plan.gpus) for node in pool._nodes()))

    yield Loan(pool._shared, pool._plan, carry, pool._delivered, room)
    pool._grow()
    pool._await_worker()
