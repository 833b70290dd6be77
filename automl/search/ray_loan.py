"""What a pool lends to others, who run its `Worker` in their own way while its own workers rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from automl.search.executor import Completion, Task
from automl.search.ray_cluster import PoolPlan
from automl.search.ray_files import Delivery


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
