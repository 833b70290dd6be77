"""The conductor of a study: it asks, records, assigns, and decides how every end is taken. It alone writes.

It knows no pool: `drive` moves its assignments to an executor and the ends back, Ray Tune does so in its own way.
The order of its writes is what survives a kill at any moment. A proposal is recorded as an open trial before anything
runs it; an outcome is recorded before the mirror or the sampler hears of it; open trials are run again at the start.
So the record holds every trial exactly once, whatever died when.
"""

from __future__ import annotations

import gc
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import cast

from automl.outcome import Failed, Measured, Outcome, RungResult, Stopped, state_of, whole_seconds
from automl.search.drive_plan import DrivePlan, Listener, RungStep
from automl.search.executor import Completion, Task
from automl.search.progress import Progress, progress
from automl.search.record_view import MAX_RUNS, Ledger, light
from automl.search.samplers import Proposal, propose
from automl.search.trouble import Trouble
from automl.storage import RENEW_EVERY_S, State, Store, TrialRecord

BARREN_TRIALS = 500  # in a row without a newly trained network end a search that has no limit of trials


@dataclass(frozen=True)
class Assignment:
    """A task to run for a trial; its end is to be settled under the trial's number."""

    number: int
    task: Task


class Conductor:
    """One study under way. The caller holds the study's lease; `recover` comes first.

    Every method may raise LeaseError, where another driver took the study over, and StorageError.
    """

    def __init__(
        self,
        plan: DrivePlan,
        store: Store,
        mirror: Listener,
        on_progress: Callable[[Progress], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan, self._store = plan, store
        self._mirror, self._on_progress, self._clock = mirror, on_progress, clock
        rungs = store.rungs(plan.study_id) if plan.stopping is not None else ()
        heard = (*plan.sampler.objectives, *plan.sampler.limits)  # no other figure decides anything here
        trials = store.trials(plan.study_id, names=heard)
        self._ledger = Ledger(trials, plan.sampler.objectives, rungs, plan.sampler.population)
        gc.collect()
        gc.freeze()  # a long record is most of the memory: looking through it for garbage cost a trial 4 ms
        self._spent = store.total_seconds(plan.study_id, "search")
        store.mark_phase(plan.study_id, "search")
        self._started = self._renewed = clock()
        self._queue: deque[int] = deque()  # open trials to assign before anything new is asked
        self._running: dict[int, float] = {}  # trial -> when it was assigned
        self._late: set[int] = set()  # ended for running too long
        self._begun: set[int] = set()  # open trials whose present attempt is recorded
        self._suspects: set[int] = set()  # died together with others: run alone, so that the culprit shows
        self._exhausted = False
        self._capacity = 0  # of the pool, as it was last told
        self._trouble = Trouble()

    @property
    def running(self) -> int:
        """Return how many assignments are not settled yet."""
        return len(self._running)

    def recover(self) -> None:
        """Queue what is open; the attempts under way when the last driver ended do not count."""
        for trial in self._ledger.open_trials():
            if trial.attempts > 0:
                self._withdraw(trial.number)
            if self._goes_on(trial.number):
                self._queue.append(trial.number)

    def next(self, capacity: int) -> Assignment | None:
        """Return what to run now, recorded; None where nothing may start now.

        Args:
            capacity: how many tasks the pool runs at once.
        """
        self._capacity = capacity
        if self.pause_s() > 0:
            return None
        while not self._suspects & self._running.keys():
            number = self._next_queued()
            if number is None and self._may_ask(capacity):
                number = self._ask()
            if number is None:
                return None
            assignment = self._start(number)
            if assignment is not None:
                return assignment
            self.show()
        return None

    def settle(self, completions: Sequence[Completion]) -> None:
        """Record what has ended, and queue again what has to run again or goes on to its next rung."""
        died = [int(completion.key) for completion in completions if completion.worker_died]
        for completion in completions:
            number = int(completion.key)
            self._running.pop(number)
            if completion.withdrawn:
                self._wait_out(number, completion)
            elif number in self._late:
                self._finish(number, self._too_long())
            elif completion.worker_died and len(died) > 1:
                self._suspects.add(number)
                self._queue.append(number)
            elif completion.worker_died:
                self._retry(number, completion)
            elif isinstance(completion.value, RungResult):
                self._climb(number, completion.value)
            else:
                self._finish(number, _outcome(completion, self._plan.sampler.objectives))

    def resume(self, number: int) -> Assignment | None:
        """Return the next stretch of a queued trial, for a pool that keeps its worker; None where it has ended."""
        if number not in self._queue:
            return None
        self._queue.remove(number)
        return self._start(number)

    def overdue(self) -> list[int]:
        """Return the trials that have run for too long, each once: end their workers, and settle that end."""
        limit, now = self._plan.timeout_s, self._clock()
        if limit is None:
            return []
        late = [number for number, since in self._running.items() if now - since > limit]
        fresh = [number for number in late if number not in self._late]
        self._late.update(fresh)
        return fresh

    def pause_s(self) -> float:
        """Return for how many seconds nothing should be started, 0 for none.

        Raises:
            AutomlError: where that has gone on for too long.
        """
        return self._trouble.pause_s(self._clock())

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
        moment = progress(self._ledger, self._plan.sampler.objectives, "search", left)
        return replace(moment, running=len(self._running), workers=self._capacity)

    # --- asking

    def _next_queued(self) -> int | None:
        """Return the next open trial that may start now: not while its like is running, a suspect only alone."""
        running = {self._ledger.trial(number).candidate_hash for number in self._running}
        for number in self._queue:
            blocked = self._ledger.trial(number).candidate_hash in running
            if not blocked and not (number in self._suspects and self._running):
                self._queue.remove(number)
                return number
        return None

    def _may_ask(self, capacity: int) -> bool:
        if self._exhausted or self._suspects or len(self._queue) >= capacity:
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
        number, started = len(self._ledger), time.perf_counter()
        proposal = propose(self._plan.sampler, self._ledger.view(), number)
        self._plan.watch("ask", time.perf_counter() - started)
        if proposal is None:
            self._stop_asking(f"{self._plan.sampler.method} has nothing more to propose")
            return None
        trial = self._open_trial(number, proposal)
        if self._ledger.answer(trial.candidate_hash) is None and not self._runs_its_like(trial):
            trial = replace(trial, attempts=1)  # it starts at once: one transaction opens and begins it
            self._begun.add(number)
        self._store.add_trial(
            self._plan.study_id, number, trial.point, trial.candidate, trial.candidate_hash, trial.shape_key,
            trial.sampler_state, trial.enqueued, trial.attempts,
        )  # fmt: skip
        self._ledger.put(trial)
        return number

    def _runs_its_like(self, trial: TrialRecord) -> bool:
        return any(self._ledger.trial(other).candidate_hash == trial.candidate_hash for other in self._running)

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

    # --- assigning

    def _start(self, number: int) -> Assignment | None:
        """Return the trial's task; None where it is answered from the record, or waits for its like."""
        trial = self._ledger.trial(number)
        answer = self._ledger.answer(trial.candidate_hash)
        if answer is not None and answer.outcome is not None:
            full = self._store.trial(self._plan.study_id, answer.number)
            assert full is not None and full.outcome is not None
            self._finish(number, full.outcome, reused_from=answer.number)
            return None
        if self._runs_its_like(trial):
            self._queue.append(number)
            return None
        if number not in self._begun:
            self._begin(number)
        known = self._store.known_timing(self._plan.study_id, self._plan.device, trial.shape_key)
        self._running[number] = self._clock()
        return Assignment(number, self._plan.make_task(trial.candidate, known, self._step(number)))

    def _step(self, number: int) -> RungStep | None:
        """Return the trial's next stretch, None where it runs whole."""
        if self._plan.stopping is None:
            return None
        last = self._ledger.last_rung(number)
        return RungStep(self._plan.stopping.rung(0 if last is None else last.rung + 1), last)

    # --- ends

    def _climb(self, number: int, result: RungResult) -> None:
        """Record the result of a rung; the trial goes on to the next one, or ends here."""
        self._ledger.put_rung(self._store.add_rung(self._plan.study_id, number, result))
        self._trouble.over()
        if self._goes_on(number):
            self._queue.appendleft(number)

    def _goes_on(self, number: int) -> bool:
        """Tell whether an open trial runs on after its last rung; one that does not is finished as stopped."""
        stopping, last = self._plan.stopping, self._ledger.last_rung(number)
        if stopping is None or last is None:
            return True
        verdict = stopping.verdict(last.rung, self._ledger.arrivals(number))
        if verdict is None:
            return True
        seconds = {f"rung {result.rung}": whole_seconds(result.seconds) for result in self._ledger.climbed(number)}
        self._finish(number, Stopped(verdict, seconds))
        return False

    def _wait_out(self, number: int, completion: Completion) -> None:
        """Take back an attempt that the machine failed, not the trial, and let the machine rest for a while."""
        self._withdraw(number)
        self._queue.appendleft(number)
        why = "its pool was lost" if completion.error is None else completion.error
        if self._trouble.begin(why, self._clock()):
            text = f"Waiting, then trying again: {why}. No attempt is counted."
            self._store.add_event(self._plan.study_id, "waiting", text, number)

    def _retry(self, number: int, completion: Completion) -> None:
        """Count the death of a worker that died alone; the third one fails the trial."""
        attempts = self._ledger.trial(number).attempts
        if attempts >= MAX_RUNS:
            reason = f"its worker died in each of {attempts} runs (killed, or out of memory): {completion.error}"
            self._finish(number, Failed(reason, completion.traceback))
            return
        self._begin(number)  # at once: an open trial has one attempt under way, also if this driver dies now
        self._queue.appendleft(number)

    def _too_long(self) -> Failed:
        return Failed(f"it ran for longer than {self._plan.timeout_s:g} s (search.timeout_seconds)", "")

    def _begin(self, number: int) -> None:
        self._begun.add(number)
        self._attempts(number, self._store.begin_attempt(self._plan.study_id, number))

    def _withdraw(self, number: int) -> None:
        self._begun.discard(number)
        self._attempts(number, self._store.withdraw_attempt(self._plan.study_id, number))

    def _attempts(self, number: int, attempts: int) -> None:
        self._ledger.put(replace(self._ledger.trial(number), attempts=attempts))

    def _finish(self, number: int, outcome: Outcome, reused_from: int | None = None) -> None:
        """Record the outcome first, then tell those who listen."""
        self._suspects.discard(number)
        self._late.discard(number)
        self._trouble.over()
        started = time.perf_counter()
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
        self._plan.watch("record", time.perf_counter() - started)

    def _elapsed(self) -> float:
        return self._spent + self._clock() - self._started


def sound(outcome: Outcome, objectives: Sequence[str]) -> Outcome:
    """Return the outcome; one that calls itself measured without a finite figure for every objective has failed."""
    if not isinstance(outcome, Measured):
        return outcome
    values = {each.name: each.value for each in outcome.measurements}
    odd = [f"{name} is {values.get(name)}" for name in objectives if not math.isfinite(values.get(name, math.nan))]
    return Failed(f"without a finite figure: {', '.join(odd)}", "", outcome.seconds) if odd else outcome


def _outcome(completion: Completion, objectives: Sequence[str]) -> Outcome:
    if completion.error is not None:
        return Failed(completion.error, completion.traceback)
    assert isinstance(completion.value, Outcome), f"trial {completion.key} returned {type(completion.value).__name__}"
    return sound(completion.value, objectives)
