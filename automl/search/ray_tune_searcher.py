"""Ray Tune's `Searcher` for a study: what it suggests the conductor has assigned, and how that ends is settled there.

SQL is the only truth: Tune is a pool and a loop, and what it saves of its own is never read again. All of it lives in
the process of the Tuner. Importing this module imports Ray, which reads its network settings at that moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from ray.tune.search import Searcher

from automl.errors import AutomlError
from automl.search.conductor import Assignment, Conductor
from automl.search.executor import Completion
from automl.search.ray_tune_parcels import Packed

DEATH_GRACE_S = 1.0  # deaths within this time have one cause, such as a full memory
SHOW_S = 1.0
RESTORED = "a study is not restored from Ray Tune's files: run it again, and it goes on from its record"


class Wire(Protocol):
    """How assignments become configs of Tune's trials, and results become ends."""

    @property
    def hands_over(self) -> bool:
        """Tell whether the worker is handed the config of its next rung."""
        ...

    def config(self, assignment: Assignment) -> Mapping[str, Any]:
        """Return the config of a trial."""
        ...

    def rung(self, assignment: Assignment, result: Mapping[str, Any]) -> Completion | None:
        """Return the end at a rung that a report tells of, None where it is only a sign of life."""
        ...

    def end(self, assignment: Assignment, result: Mapping[str, Any]) -> Completion:
        """Return the end that the last report tells of."""
        ...


class ConductorSearcher(Searcher):
    """Suggests what the conductor assigns, and settles how it ended, each end exactly once.

    Each assignment is a Tune trial of its own, a second run after its worker's death as well: Tune's `max_failures`
    stays 0. The capacity is `capacity`, else Tune's `max_concurrent_trials`. An error in here is kept in `fault` and
    raised again at the next step, because Tune takes some errors for those of a trial. `is_done`: the study is.
    """

    def __init__(
        self,
        conductor: Conductor,
        wire: Wire,
        capacity: Callable[[], int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.fault: Exception | None = None
        self.is_done = False
        self.wire = wire
        self._conductor, self._clock = conductor, clock
        self._capacity: Callable[[], int] = (lambda: 1) if capacity is None else capacity
        self._under_way: dict[str, Assignment] = {}  # by Tune's id
        self._configs: dict[str, Mapping[str, Any]] = {}
        self._deaths: list[Completion] = []
        self._died_at = 0.0
        self._shown_at = clock()

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Take the number of trials that may run at once, and say that it is kept here."""
        self._capacity = lambda: max_concurrent
        return True

    def suggest(self, trial_id: str) -> Any:
        """Return the config of the next trial; None where nothing may start now, FINISHED where the study is done."""
        self.beat()
        with self._kept():
            conductor, capacity = self._conductor, self._capacity()
            assignment = conductor.next(capacity) if conductor.running < capacity else None
            if assignment is None:
                self.is_done = conductor.running == 0 and conductor.pause_s() == 0
                return str(Searcher.FINISHED) if self.is_done else None
            config = dict(self.wire.config(assignment))
        self._under_way[trial_id], self._configs[trial_id] = assignment, config
        return config

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """Settle the end of a trial, unless the scheduler has done so."""
        assignment = self._under_way.get(trial_id)
        if assignment is None:
            return
        key = str(assignment.number)
        if error:
            self.end(trial_id, Completion(key, error="its trainable failed: Ray Tune's error.txt says why"))
        elif result is None:
            self.end(trial_id, Completion(key, error="Ray Tune took it back before it ran", withdrawn=True))
        else:
            with self._kept():
                completion = self.wire.end(assignment, result)
            self.end(trial_id, completion)

    def end(self, trial_id: str, completion: Completion) -> None:
        """Settle how a trial ended; deaths wait a moment for others of the same cause."""
        self._forget(trial_id)
        if completion.worker_died:
            self._died_at = self._died_at if self._deaths else self._clock()
            self._deaths.append(completion)
            return
        with self._kept():
            self._conductor.settle([completion])
            self._conductor.show()

    def climb(self, trial_id: str, completion: Completion) -> Mapping[str, Any] | None:
        """Record a rung's result, and return the config of the next one; None where the trial ends, or has to wait."""
        with self._kept():
            self._conductor.settle([completion])
            assignment = self._conductor.resume(int(completion.key))
            if assignment is not None:
                self._under_way[trial_id] = assignment
                return self.wire.config(assignment)
        self._forget(trial_id)
        return None

    def assigned(self, trial_id: str) -> Assignment | None:
        """Return what Tune's trial is running, None where it has ended."""
        return self._under_way.get(trial_id)

    def overdue(self) -> set[str]:
        """Return those of Tune's trials that have run for too long, each once."""
        numbers = set(self._conductor.overdue())
        return {trial_id for trial_id, assignment in self._under_way.items() if assignment.number in numbers}

    def beat(self) -> None:
        """Do what has to go on while Tune waits: deaths, the lease, progress; raise what was kept."""
        if self.fault is not None:
            raise self.fault
        now = self._clock()
        with self._kept():
            if self._deaths and now - self._died_at >= DEATH_GRACE_S:
                deaths, self._deaths = self._deaths, []
                self._conductor.settle(deaths)
                self._conductor.show()
            if now - self._shown_at >= SHOW_S:
                self._shown_at = now
                self._conductor.show()

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the record has it all."""

    def restore(self, checkpoint_path: str) -> None:  # noqa: ARG002
        """Refuse.

        Raises:
            AutomlError: always.
        """
        raise AutomlError(RESTORED)

    def _forget(self, trial_id: str) -> None:
        """Let go of a trial, and of what Tune keeps of it."""
        self._under_way.pop(trial_id)
        for value in self._configs.pop(trial_id).values():
            if isinstance(value, Packed):
                value.take()

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.fault = error
            raise

    def __getstate__(self) -> dict[str, Any]:
        return {}  # the Tuner pickles its settings for a restore that is refused

    def __deepcopy__(self, memo: object) -> ConductorSearcher:
        return self
