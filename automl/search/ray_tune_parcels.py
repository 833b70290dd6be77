"""What travels through Ray Tune: a task in a trial's config on the way out, its end in a result on the way back.

Tune copies, prints and keeps configs and results of every trial; what is in here costs next to nothing there.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from automl.search.conductor import Assignment
from automl.search.executor import Completion, Task, describe
from automl.search.ray_files import Delivery

END = "automl_end"  # the key of a parcel in a result
TRIAL, TASK = "trial", "task"  # keys of a config


class Packed:
    """A value in a trial's config, printed as its name and never copied."""

    def __init__(self, name: str, value: Any) -> None:
        self._name, self._value = name, value

    def take(self) -> Any:
        """Return the value and let go of it: Tune keeps the config for as long as it runs."""
        value, self._value = self._value, None
        return value

    def __deepcopy__(self, memo: object) -> Packed:
        return self

    def __str__(self) -> str:
        return self._name


class Parcel:
    """A task's end, pickled where it came about: what cannot be pickled fails its task there."""

    def __init__(self, delivery: Delivery) -> None:
        self._content = _pickled(delivery)

    def take(self) -> Delivery:
        """Return the end, once, and let go of its bytes: Tune keeps every trial's last result."""
        assert self._content, "a parcel was opened twice"
        delivery: Delivery = pickle.loads(self._content)  # noqa: S301 from a worker of ours
        self._content = b""
        return delivery


class Sealed:
    """A task that is unpickled where it runs, and not before: one that cannot be fails there, and kills no worker."""

    def __init__(self, task: Task) -> None:
        from ray import cloudpickle  # as Ray itself pickles tasks

        self._content = cloudpickle.dumps(task)  # type: ignore[no-untyped-call]

    def __call__(self, context: Any) -> Any:
        """Return what the task returns."""
        return pickle.loads(self._content)(context)  # noqa: S301 from the driver


@dataclass(frozen=True)
class TaskWire:
    """How tasks reach the workers of ours and their ends come back.

    `carry` returns what goes with a task, `deliver` the end of one, as `ray_loan.Loan` has them.
    """

    carry: Callable[[Task], list[Any]]
    deliver: Callable[[Delivery], Completion]
    hands_over = True

    def config(self, assignment: Assignment) -> dict[str, Any]:
        """Return the config of a trial: its number, and its task with what goes with that."""
        content = (Sealed(assignment.task), self.carry(assignment.task))
        packed = Packed(f"task of trial {assignment.number}", content)
        return {TRIAL: assignment.number, TASK: packed}

    def rung(self, assignment: Assignment, result: Mapping[str, Any]) -> Completion | None:
        """Return the end at a rung: a worker of ours reports nothing else before the last end."""
        return self.end(assignment, result)

    def end(self, assignment: Assignment, result: Mapping[str, Any]) -> Completion:
        """Return the end that a result holds; without one somebody has stopped the trial meanwhile."""
        if END not in result:
            return Completion(str(assignment.number), error="Ray Tune stopped it as it ran", withdrawn=True)
        return self.deliver(result[END].take())


def _pickled(delivery: Delivery) -> bytes:
    try:
        return pickle.dumps(delivery)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        failure = Completion(delivery.completion.key, error=describe(error), traceback=traceback.format_exc())
        return pickle.dumps(Delivery(failure, {}))
