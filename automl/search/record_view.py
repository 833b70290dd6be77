"""The record as the search sees it: a ledger of all trials in memory, and the bounded view that samplers get."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

from automl.outcome import OBJECTIVES, Infeasible, Measured, Outcome, RungResult, whole_seconds
from automl.pareto import Losses, as_losses, losses
from automl.search.front import study_front
from automl.search.stopping import WINDOW

if TYPE_CHECKING:
    from automl.storage import RungRecord, TrialRecord

RECENT = 300  # finished trials that a sampler sees besides the front: the cost of an ask must not grow with the study
MAX_RUNS = 3  # of one trial whose worker dies each time, alone
OPEN = "open"


@dataclass(frozen=True)
class RecordView:
    """What a proposal may depend on: some of the trials, by number, and the hash of every candidate known.

    With trials that are ended early a sampler hears one rung only: `partial` maps a trial to its result there, and is
    None where that is the top one, whose figures are those of the outcomes.
    """

    trials: Sequence[TrialRecord]
    known: AbstractSet[str]
    partial: Mapping[int, RungResult] | None = None


@dataclass
class _Climb:
    """The rungs of a study: the results of each trial from the lowest up, and the arrivals at each rung in order."""

    results: dict[int, list[RungResult]] = field(default_factory=lambda: defaultdict(list))
    arrivals: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))


class Ledger:
    """The study's trials in memory, always equal to what the store would return."""

    def __init__(
        self,
        trials: Iterable[TrialRecord],
        objectives: Sequence[str],
        rungs: Iterable[RungRecord] = (),
        enough: int = 0,
    ) -> None:
        """Enter what is recorded; a rung is heard by samplers as soon as `enough` trials have a result there."""
        self._objectives = tuple(objectives)
        self._enough = enough
        self._climb = _Climb()
        self._trials: dict[int, TrialRecord] = {}
        self._hashes: dict[str, int] = {}  # to the first trial with this candidate
        self._answers: dict[str, int] = {}  # to the trial whose outcome may be reused
        self._open: dict[int, None] = {}
        self._counts: Counter[str] = Counter()
        self._saved = 0.0
        self._barren = 0
        for record in rungs:
            self.put_rung(record)
        ordered = sorted(trials, key=lambda trial: trial.number)
        for trial in ordered:
            self._enter(trial)
        self._front = study_front(ordered, self._objectives)

    def put_rung(self, record: RungRecord) -> None:
        """Enter the result of a rung, in the order in which they were recorded."""
        self._climb.results[record.trial].append(_lean(record.result))
        self._climb.arrivals[record.result.rung].append(record.trial)

    def climbed(self, number: int) -> Sequence[RungResult]:
        """Return the trial's results below the top, the lowest rung first."""
        return self._climb.results.get(number, [])

    def last_rung(self, number: int) -> RungResult | None:
        """Return the trial's latest result below the top, None where it has none."""
        results = self.climbed(number)
        return results[-1] if results else None

    def arrivals(self, number: int) -> Losses:
        """Return the losses of the latest to arrive at the trial's last rung up to it, its own as the last row."""
        rung = self.climbed(number)[-1].rung
        arrived = self._climb.arrivals[rung]
        before = arrived[: arrived.index(number) + 1][-WINDOW:]
        results = [self._climb.results[other][rung] for other in before]
        rows = [[result.value(name) for name in self._objectives] for result in results]
        table = as_losses(rows, len(self._objectives))
        return losses(table, [OBJECTIVES[name] for name in self._objectives])

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
        return [self._trials[number] for number in sorted(self._open)]

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

    def saved_seconds(self) -> float:
        """Return the seconds of evaluation that reused outcomes saved."""
        return self._saved

    def view(self) -> RecordView:
        """Return the front, the parents of the youngest generation, the latest trials and the open ones."""
        recent = list(islice(reversed(self._trials), RECENT))
        parents = self._trials[recent[0]].sampler_state.get("parents", []) if recent else []
        numbers = {*recent, *parents, *(trial.number for trial in self._front), *self._open}
        trials = [self._trials[number] for number in sorted(numbers)]
        return RecordView(trials, self._hashes.keys(), self._heard_rung(trials))

    def _heard_rung(self, trials: Sequence[TrialRecord]) -> Mapping[int, RungResult] | None:
        """Return the results at the highest rung that enough trials have reached; None where that is the top.

        One fidelity at a time, as BOHB's model (Falkner et al., 2018) takes the largest budget with enough results.
        """
        if not self._climb.arrivals or self._counts["measured"] >= self._enough:
            return None
        reached = [rung for rung, arrived in self._climb.arrivals.items() if len(arrived) >= self._enough]
        rung = max(reached, default=min(self._climb.arrivals))
        sources = {trial.number: trial.number if trial.reused_from is None else trial.reused_from for trial in trials}
        return {
            number: self._climb.results[source][rung]
            for number, source in sources.items()
            if len(self.climbed(source)) > rung
        }

    def _enter(self, trial: TrialRecord) -> None:
        before = self._trials.get(trial.number)
        if before is not None:
            self._counts[tally(before)] -= 1
        self._counts[tally(trial)] += 1
        if trial.state == OPEN:
            self._open[trial.number] = None
        else:
            self._open.pop(trial.number, None)
            self._barren = 0 if tally(trial) in ("measured", "stopped") else self._barren + 1
        if trial.reused_from is not None and trial.outcome is not None and (before is None or before.state == OPEN):
            climbed = self.climbed(trial.reused_from) if trial.state == "measured" else ()
            self._saved += sum(whole_seconds(part.seconds) for part in (trial.outcome, *climbed))
        self._trials[trial.number] = trial
        self._hashes.setdefault(trial.candidate_hash, trial.number)
        if _is_answer(trial) and trial.reused_from is None:
            self._answers.setdefault(trial.candidate_hash, trial.number)


def _is_answer(trial: TrialRecord) -> bool:
    """Tell whether the outcome holds for the candidate in any trial; one that killed its workers is set aside."""
    return trial.state in ("measured", "infeasible", "stopped") or (
        trial.state == "failed" and trial.attempts >= MAX_RUNS
    )


def tally(trial: TrialRecord) -> str:
    """Return the word under which a trial is counted: "reused", or its state."""
    return "reused" if trial.reused_from is not None else trial.state


def _lean(result: RungResult) -> RungResult:
    return replace(result, curve=(), timings=tuple(replace(timing, samples_ms={}) for timing in result.timings))


def light(outcome: Outcome) -> Outcome:
    """Return the outcome without what is bulky, as the store lists it: no samples, no learning curve."""
    if isinstance(outcome, Measured):
        outcome = replace(outcome, curve=())
    if isinstance(outcome, Measured | Infeasible):
        return replace(outcome, timings=tuple(replace(timing, samples_ms={}) for timing in outcome.timings))
    return outcome
