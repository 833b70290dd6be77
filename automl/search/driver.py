"""The driver: the loop that asks, records, dispatches and records again. It alone writes to the study.

The order of its writes is what survives a kill at any moment. A proposal is recorded as an open trial before anything
runs it; an outcome is recorded before the mirror or the sampler hears of it; open trials are run again at the start.
So the record holds every trial exactly once, whatever died when.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol, cast

from automl.candidate import Candidate
from automl.outcome import Failed, Outcome, Timing, state_of
from automl.search.executor import Completion, Executor, Task
from automl.search.progress import Progress, progress
from automl.search.record_view import Ledger, light
from automl.search.samplers import Proposal, SamplerPlan, propose
from automl.storage import RENEW_EVERY_S, State, Store, TrialRecord

MAX_RUNS = 3  # of one trial whose worker dies each time, alone
BARREN_TRIALS = 500  # in a row without a newly trained network end a search that has no limit of trials
COLLECT_S = 1.0

MakeTask = Callable[[Candidate, Timing | None], Task]
ShapeKey = Callable[[Candidate], str]


class Listener(Protocol):
    """Who is told of every finished trial, after the record has it."""

    def tell(self, trial: TrialRecord) -> None:
        """Take note of a finished trial; must return at once and never raise."""
        ...


@dataclass(frozen=True)
class Budget:
    """When to stop asking, whichever comes first; None means no such limit.

    `trials` counts all, `trained` those that were trained for this study, `seconds` the search over all sessions.
    """

    trials: int | None
    trained: int | None
    seconds: float | None


@dataclass(frozen=True)
class DrivePlan:
    """What a driver needs to know of its study: how to propose, when to stop, how to make a candidate's task.

    `device` is the fingerprint under which timings are known.
    """

    study_id: int
    sampler: SamplerPlan
    budget: Budget
    device: str
    make_task: MakeTask
    shape_key: ShapeKey


def drive(
    plan: DrivePlan,
    store: Store,
    executor: Executor,
    mirror: Listener,
    on_progress: Callable[[Progress], None],
    clock: Callable[[], float] = time.monotonic,
) -> Progress:
    """Run the study until its budget is spent and nothing is open, and return how it stands.

    The caller holds the study's lease, and has shared the context with the executor. What was open is run first.

    Raises:
        LeaseError: where another driver took the study over.
        KeyboardInterrupt: where the user pressed Ctrl-C; nothing recorded is lost, open trials are run next time.
    """
    driver = _Driver(plan, store, executor, mirror, on_progress, clock)
    driver.recover()
    while driver.fill():
        driver.settle(executor.collect(COLLECT_S))
        driver.show()
    driver.show()
    return driver.progress()


class _Driver:
    def __init__(
        self,
        plan: DrivePlan,
        store: Store,
        executor: Executor,
        mirror: Listener,
        on_progress: Callable[[Progress], None],
        clock: Callable[[], float],
    ) -> None:
        self._plan, self._store, self._executor = plan, store, executor
        self._mirror, self._on_progress, self._clock = mirror, on_progress, clock
        self._ledger = Ledger(store.trials(plan.study_id), plan.sampler.objectives)
        self._spent = store.total_seconds(plan.study_id, "search")
        store.mark_phase(plan.study_id, "search")
        self._started = self._renewed = clock()
        self._queue: deque[int] = deque()  # open trials to dispatch before anything new is asked
        self._running: set[int] = set()
        self._begun: set[int] = set()  # open trials whose present attempt is recorded
        self._suspects: set[int] = set()  # died together with others: run alone, so that the culprit shows
        self._exhausted = False

    def recover(self) -> None:
        """Queue what is open; the attempts under way when the last driver ended do not count."""
        for trial in self._ledger.open_trials():
            if trial.attempts > 0:
                self._attempts(trial.number, self._store.withdraw_attempt(self._plan.study_id, trial.number))
            self._queue.append(trial.number)

    def fill(self) -> bool:
        """Dispatch as much as there is room for, and tell whether anything is still under way."""
        while len(self._running) < self._executor.capacity and not self._running & self._suspects:
            number = self._next_queued()
            if number is None and not self._may_ask():
                break
            if number is None:
                number = self._ask()
            if number is None:
                break
            self._start(number)
            self.show()
        return bool(self._running)

    def settle(self, completions: Sequence[Completion]) -> None:
        """Record what has ended, and queue again what has to run again."""
        died = [int(completion.key) for completion in completions if completion.worker_died]
        for completion in completions:
            number = int(completion.key)
            self._running.discard(number)
            if completion.worker_died and len(died) > 1:
                self._suspects.add(number)
                self._queue.append(number)
            elif completion.worker_died:
                self._retry(number, completion)
            else:
                self._finish(number, _outcome(completion))

    def show(self) -> None:
        """Renew the lease now and then, and tell how it goes."""
        if self._clock() - self._renewed >= RENEW_EVERY_S:
            self._renewed = self._clock()
            self._store.renew_lease(self._plan.study_id)
        self._on_progress(self.progress())

    def progress(self) -> Progress:
        """Return the present moment."""
        seconds = self._plan.budget.seconds
        left = None if seconds is None else max(0.0, seconds - self._elapsed())
        return progress(self._ledger, self._plan.sampler.objectives, "search", left)

    def _next_queued(self) -> int | None:
        """Return the next open trial that may start now: not while its like is running, a suspect only alone."""
        running = {self._ledger.trial(number).candidate_hash for number in self._running}
        for number in self._queue:
            blocked = self._ledger.trial(number).candidate_hash in running
            if not blocked and not (number in self._suspects and self._running):
                self._queue.remove(number)
                return number
        return None

    def _may_ask(self) -> bool:
        if self._exhausted or self._suspects or len(self._queue) >= self._executor.capacity:
            return False  # what waits for its like, or to run alone, comes first
        budget, ledger = self._plan.budget, self._ledger
        if budget.trials is not None and len(ledger) >= budget.trials:
            return False
        if budget.seconds is not None and self._elapsed() >= budget.seconds:
            return False
        if budget.trained is not None and ledger.counts()["measured"] + len(self._running) >= budget.trained:
            return False
        if budget.trials is None and ledger.barren() >= BARREN_TRIALS:
            self._stop_asking(f"the last {BARREN_TRIALS} trials trained no new network")
            return False
        return True

    def _stop_asking(self, why: str) -> None:
        self._exhausted = True
        self._store.add_event(self._plan.study_id, "exhausted", f"stopped asking: {why}")

    def _ask(self) -> int | None:
        """Record a new open trial and return its number; None where there is nothing more to propose."""
        number = len(self._ledger)
        proposal = propose(self._plan.sampler, self._ledger.view(), number)
        if proposal is None:
            self._stop_asking(f"{self._plan.sampler.method} has nothing more to propose")
            return None
        trial = self._open_trial(number, proposal)
        self._store.add_trial(
            self._plan.study_id, number, trial.point, trial.candidate, trial.candidate_hash, trial.shape_key,
            trial.sampler_state, trial.enqueued,
        )  # fmt: skip
        self._ledger.put(trial)
        return number

    def _open_trial(self, number: int, proposal: Proposal) -> TrialRecord:
        candidate = self._plan.sampler.space.decode(proposal.point)
        return TrialRecord(
            number=number,
            point=proposal.point,
            candidate=candidate,
            candidate_hash=candidate.candidate_hash(),
            shape_key=self._plan.shape_key(candidate),
            state="open",
            attempts=0,
            reused_from=None,
            sampler_state=proposal.sampler_state,
            outcome=None,
            created_at=datetime.now(UTC),
            finished_at=None,
            enqueued=proposal.enqueued,
        )

    def _start(self, number: int) -> None:
        """Answer the trial from the record, wait for its like, or dispatch it."""
        trial = self._ledger.trial(number)
        answer = self._ledger.answer(trial.candidate_hash)
        if answer is not None and answer.outcome is not None:
            full = self._store.trial(self._plan.study_id, answer.number)
            assert full is not None and full.outcome is not None
            self._finish(number, full.outcome, reused_from=answer.number)
            return
        if any(self._ledger.trial(other).candidate_hash == trial.candidate_hash for other in self._running):
            self._queue.append(number)
            return
        if number not in self._begun:
            self._begin(number)
        known = self._store.known_timing(self._plan.study_id, self._plan.device, trial.shape_key)
        self._running.add(number)
        self._executor.submit(str(number), self._plan.make_task(trial.candidate, known))

    def _retry(self, number: int, completion: Completion) -> None:
        """Count the death of a worker that died alone; the third one fails the trial."""
        attempts = self._ledger.trial(number).attempts
        if attempts >= MAX_RUNS:
            reason = f"its worker died in each of {attempts} runs (killed, or out of memory): {completion.error}"
            self._finish(number, Failed(reason, completion.traceback))
            return
        self._begin(number)  # at once: an open trial has one attempt under way, also if this driver dies now
        self._queue.appendleft(number)

    def _begin(self, number: int) -> None:
        self._begun.add(number)
        self._attempts(number, self._store.begin_attempt(self._plan.study_id, number))

    def _attempts(self, number: int, attempts: int) -> None:
        self._ledger.put(replace(self._ledger.trial(number), attempts=attempts))

    def _finish(self, number: int, outcome: Outcome, reused_from: int | None = None) -> None:
        """Record the outcome first, then tell those who listen."""
        self._suspects.discard(number)
        fresh = self._store.finish_trial(self._plan.study_id, number, outcome, reused_from)
        assert fresh, f"trial {number} was finished twice"
        trial = replace(
            self._ledger.trial(number),
            state=cast(State, state_of(outcome)),
            outcome=light(outcome),
            reused_from=reused_from,
            finished_at=datetime.now(UTC),
        )
        self._ledger.put(trial)
        self._mirror.tell(trial)

    def _elapsed(self) -> float:
        return self._spent + self._clock() - self._started


def _outcome(completion: Completion) -> Outcome:
    if completion.error is not None:
        return Failed(completion.error, completion.traceback)
    assert isinstance(completion.value, Outcome), f"trial {completion.key} returned {type(completion.value).__name__}"
    return completion.value
