"""The mirror: finished trials in Optuna's own tables, so that optuna-dashboard shows the study live.

It is written from a thread of its own, off the path of the search, many trials in one transaction, and only ever from
the record: what a killed driver had not mirrored yet is added at the next start. Our trial number is carried as a user
attribute, because Optuna numbers by insertion. Only finished trials are written: nothing can be left running.
"""

from __future__ import annotations

import math
import queue
import threading
import time
import warnings
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from automl.outcome import OBJECTIVES, Failed, Infeasible, Measured, Stopped
from automl.space import SearchSpace
from automl.storage.optuna_tables import MirroredState, MirroredTrial, OptunaTables

if TYPE_CHECKING:
    import optuna

    from automl.storage import Store, TrialRecord

NUMBER = "number"  # the user attribute with our trial number
BATCH = 50  # trials at most in one transaction, so that with those that come meanwhile less than 100 are late
LATE_S = 1.5  # for which a finished trial waits for others at most: written, it is less than two seconds late
SHARE = 0.25  # of a core that catching up takes, as the driver needs the rest
CLOSE_S = 60.0
BUSY_TIMEOUT_S = 30.0
RETRY_AFTER_S = (0.2, 1.0, 5.0)


@dataclass(frozen=True)
class Recorded:
    """The finished trials of a study in the record, read a few at a time: a long study has more than fit in memory."""

    store: Store
    study_id: int

    def beyond(self, known: Container[int]) -> Iterator[TrialRecord]:
        """Yield those whose numbers are not known."""
        points = self.store.points(self.study_id, ())
        missing = [point.number for point in points if point.state != "open" and point.number not in known]
        del points
        for first in range(0, len(missing), BATCH):
            yield from self.store.trials(self.study_id, numbers=missing[first : first + BATCH])


class Mirror:
    """Optuna's study of the same name in the same database. Build it with all trials of the record: it is made whole.

    A trial is shown two seconds or 100 trials late at most, but for those that are caught up with at the start.
    A fault of Optuna's tables never ends a search: mirroring stops, `fault` says why, and the next start catches up.
    """

    def __init__(
        self,
        url: str,
        study: str,
        space: SearchSpace,
        objectives: Sequence[str],
        trials: Iterable[TrialRecord] | Recorded,
    ) -> None:
        self.fault: str | None = None
        self._space, self._objectives = space, tuple(objectives)
        self._ended = threading.Event()
        self._held: dict[int, TrialRecord] = {}  # taken from the queue and not yet written
        self._waiting: queue.SimpleQueue[TrialRecord | None] = queue.SimpleQueue()
        self._backlog = trials
        self._lags = False  # behind the record, with trials that it was not told of
        self._thread = threading.Thread(target=self._write, args=(url, study), name="mirror", daemon=True)
        self._thread.start()

    def tell(self, trial: TrialRecord) -> None:
        """Queue a trial of the record; open ones are passed over."""
        if trial.outcome is not None:
            self._waiting.put(trial)

    @property
    def waiting(self) -> int:
        """Return how many trials it was told of and has not written yet."""
        return self._waiting.qsize() + len(self._held)

    def close(self) -> None:
        """Write what is queued and end the thread."""
        self._ended.set()
        self._waiting.put(None)
        self._thread.join(CLOSE_S)

    def _write(self, url: str, name: str) -> None:
        """Follow the queue; after a fault (a lock held too long, tables being made by a dashboard) begin again."""
        for pause_s in RETRY_AFTER_S:
            try:
                self._follow(url, name)
            except Exception as error:  # noqa: BLE001 (whatever befalls Optuna's tables must not end the search)
                self.fault = f"{type(error).__name__}: {error}"
                self._ended.wait(pause_s)
            else:
                self.fault = None
                return

    def _follow(self, url: str, name: str) -> None:
        open_mirror(url, name, self._objectives)
        with OptunaTables(url, name, _distributions(self._space)) as tables:
            mirrored: set[int] = tables.attribute_values(NUMBER)
            behind = iter(self._behind(mirrored))
            while self._fill(mirrored, behind):
                started = time.perf_counter()
                tables.add([mirrored_trial(trial, self._space, self._objectives) for trial in self._held.values()])
                mirrored.update(self._held)
                self._held.clear()
                if self._lags:
                    self._ended.wait((time.perf_counter() - started) * (1 / SHARE - 1))

    def _behind(self, mirrored: Set[int]) -> Iterable[TrialRecord]:
        """Return the trials of the record that were finished before it was told of any, and are not mirrored."""
        trials = self._backlog
        known = trials.beyond(frozenset(mirrored)) if isinstance(trials, Recorded) else trials
        return (trial for trial in known if trial.outcome is not None and trial.number not in mirrored)

    def _fill(self, mirrored: Container[int], behind: Iterator[TrialRecord]) -> bool:
        """Hold the trials of the next transaction, those that a fault interrupted first; False at the end."""
        self._held = {number: trial for number, trial in self._held.items() if number not in mirrored}
        late = {trial.number: trial for trial in islice(behind, BATCH - len(self._held))}
        self._held, self._lags = self._held | late, bool(late)
        due = time.monotonic() + LATE_S
        while len(self._held) < BATCH:
            try:
                trial = self._waiting.get(timeout=self._patience_s(due))
            except queue.Empty:
                break
            if trial is not None and trial.number not in mirrored:
                due = due if self._held else time.monotonic() + LATE_S
                self._held[trial.number] = trial
        return bool(self._held)

    def _patience_s(self, due: float) -> float | None:
        """Return how long to wait for one more trial; None means as long as it takes."""
        if self._ended.is_set():
            return 0.0
        return max(0.0, due - time.monotonic()) if self._held else None


def mirror_storage(url: str) -> optuna.storages.RDBStorage:
    """Return Optuna's storage in the database at `url`, its tables made where there are none."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.storages.RDBStorage(url, engine_kwargs=_engine_settings(url))


def open_mirror(url: str, name: str, objectives: Sequence[str]) -> optuna.Study:
    """Return Optuna's study of that name, made where there is none."""
    import optuna

    study = optuna.create_study(
        storage=mirror_storage(url),
        study_name=name,
        directions=[OBJECTIVES[objective].direction for objective in objectives],
        load_if_exists=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names(list(objectives))
    return study


def mirrored_numbers(study: optuna.Study) -> set[int]:
    """Return the trial numbers of ours that the mirror holds."""
    return {trial.user_attrs[NUMBER] for trial in study.get_trials(deepcopy=False) if NUMBER in trial.user_attrs}


def mirrored_trial(trial: TrialRecord, space: SearchSpace, objectives: Sequence[str]) -> MirroredTrial:
    """Return the trial as Optuna shows it: measured is COMPLETE, infeasible and stopped PRUNED, failed FAIL."""
    values = _values(trial, objectives)
    states: Mapping[str, MirroredState] = {"measured": "COMPLETE", "infeasible": "PRUNED", "stopped": "PRUNED"}
    state = states.get(trial.state, "FAIL")
    if state == "COMPLETE" and not values:
        state = "FAIL"  # Optuna refuses a complete trial without finite values
    return MirroredTrial(
        state=state,
        started_at=trial.created_at,
        finished_at=trial.finished_at,
        values=values,
        params={each.name: float(trial.point[each.name]) for each in space.dimensions},  # a choice is kept as its index
        attributes=user_attributes(trial),
    )


def _distributions(space: SearchSpace) -> dict[str, str]:
    from optuna.distributions import CategoricalDistribution, distribution_to_json

    return {each.name: distribution_to_json(CategoricalDistribution(each.choices)) for each in space.dimensions}


def user_attributes(trial: TrialRecord) -> dict[str, Any]:
    """Return what a person wants to see beside a trial, as JSON values; ratios and bits are lists by stage."""
    candidate, outcome = trial.candidate, trial.outcome
    shown: dict[str, Any] = {
        NUMBER: trial.number,
        "state": trial.state,
        "candidate_hash": trial.candidate_hash,
        "reused_from": trial.reused_from,
        "pruning_ratios": [round(ratio, 4) for ratio in candidate.pruning.ratios(candidate.genotype)],
        "kept_widths": list(candidate.pruning.kept_widths),
        "weight_bits": list(candidate.quantization.weight_bits),
        "activation_bits": list(candidate.quantization.activation_bits),
        "temperature": candidate.distillation.temperature,
        "alpha": candidate.distillation.alpha,
    }
    if isinstance(outcome, Infeasible | Stopped | Failed):
        shown["reason"] = outcome.reason
    if isinstance(outcome, Measured):
        shown |= {"gain": outcome.gain.verdict, "stable": outcome.stable, "artefact": outcome.artefact.sha256}
    if isinstance(outcome, Measured | Infeasible):
        shown |= _figures(outcome)
    return shown


def _figures(outcome: Measured | Infeasible) -> dict[str, Any]:
    figures: Mapping[str, Any] = {each.name: each.value for each in outcome.measurements if math.isfinite(each.value)}
    kinds = {each.name: each.kind for each in outcome.measurements}
    return {**figures, "latency_kind": kinds.get("latency_ms")}


def _values(trial: TrialRecord, objectives: Sequence[str]) -> list[float]:
    """Return the finite objectives of a measured trial, none where one is missing."""
    figures = _figures(trial.outcome) if isinstance(trial.outcome, Measured) else {}
    return [figures[name] for name in objectives] if set(objectives) <= set(figures) else []


def _engine_settings(url: str) -> dict[str, Any]:
    if url.startswith("sqlite"):
        return {"connect_args": {"timeout": BUSY_TIMEOUT_S}}  # the driver writes to the same file
    return {}
