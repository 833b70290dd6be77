"""The record as the search sees it: a ledger of all trials in memory, and the bounded view that samplers get."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from automl.outcome import Infeasible, Measured, Outcome
from automl.search.front import study_front

if TYPE_CHECKING:
    from automl.storage import TrialRecord

RECENT = 300  # finished trials that a sampler sees besides the front: the cost of an ask must not grow with the study
OPEN = "open"


@dataclass(frozen=True)
class RecordView:
    """What a proposal may depend on: some of the trials, by number, and the hash of every candidate known."""

    trials: Sequence[TrialRecord]
    known: AbstractSet[str]


class Ledger:
    """The study's trials in memory, always equal to what the store would return."""

    def __init__(self, trials: Iterable[TrialRecord], objectives: Sequence[str]) -> None:
        self._objectives = tuple(objectives)
        self._trials: dict[int, TrialRecord] = {}
        self._hashes: dict[str, int] = {}  # to the first trial with this candidate
        self._answers: dict[str, int] = {}  # to the trial whose outcome may be reused
        self._counts: Counter[str] = Counter()
        self._barren = 0
        ordered = sorted(trials, key=lambda trial: trial.number)
        for trial in ordered:
            self._enter(trial)
        self._front = study_front(ordered, self._objectives)

    def put(self, trial: TrialRecord) -> None:
        """Enter a trial that was added or has changed."""
        self._enter(trial)
        if trial.state == "measured":
            self._front = study_front([*self._front, trial], self._objectives)

    def __len__(self) -> int:
        return len(self._trials)

    def trial(self, number: int) -> TrialRecord:
        """Return the trial of this number."""
        return self._trials[number]

    def trials(self) -> Sequence[TrialRecord]:
        """Return all trials in the order of their numbers."""
        return list(self._trials.values())

    def open_trials(self) -> Sequence[TrialRecord]:
        """Return the trials without an outcome, in the order of their numbers."""
        return [trial for trial in self._trials.values() if trial.state == OPEN]

    def front(self) -> Sequence[TrialRecord]:
        """Return the trials on the front, in the order of their numbers."""
        return self._front

    def answer(self, candidate_hash: str) -> TrialRecord | None:
        """Return the trial whose outcome a trial with this candidate may take over: measured or infeasible."""
        number = self._answers.get(candidate_hash)
        return None if number is None else self._trials[number]

    def counts(self) -> Mapping[str, int]:
        """Return how many trials there are of each tally, 0 for any other word."""
        return self._counts

    def barren(self) -> int:
        """Return how many trials have ended since a network was last trained."""
        return self._barren

    def view(self) -> RecordView:
        """Return the front, the parents of the youngest generation, the latest trials and the open ones."""
        recent = list(self._trials)[-RECENT:]
        parents = self._trials[recent[-1]].sampler_state.get("parents", []) if recent else []
        numbers = {*recent, *parents, *(trial.number for trial in (*self._front, *self.open_trials()))}
        return RecordView([self._trials[number] for number in sorted(numbers)], self._hashes.keys())

    def _enter(self, trial: TrialRecord) -> None:
        before = self._trials.get(trial.number)
        if before is not None:
            self._counts[tally(before)] -= 1
        self._counts[tally(trial)] += 1
        if trial.state != OPEN:
            self._barren = 0 if tally(trial) == "measured" else self._barren + 1
        self._trials[trial.number] = trial
        self._hashes.setdefault(trial.candidate_hash, trial.number)
        if trial.state in ("measured", "infeasible") and trial.reused_from is None:
            self._answers.setdefault(trial.candidate_hash, trial.number)


def tally(trial: TrialRecord) -> str:
    """Return the word under which a trial is counted: "reused", or its state."""
    return "reused" if trial.reused_from is not None else trial.state


def light(outcome: Outcome) -> Outcome:
    """Return the outcome without what is bulky, as the store lists it: no samples, no learning curve."""
    if isinstance(outcome, Measured):
        outcome = replace(outcome, curve=())
    if isinstance(outcome, Measured | Infeasible):
        return replace(outcome, timings=tuple(replace(timing, samples_ms={}) for timing in outcome.timings))
    return outcome
