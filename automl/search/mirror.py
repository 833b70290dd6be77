"""The mirror: finished trials in Optuna's own tables, so that optuna-dashboard shows the study live.

It is written from a thread of its own, off the path of the search, and only ever from the record: what a killed
driver had not mirrored yet is added at the next start. Our trial number is carried as a user attribute, because
Optuna numbers by insertion. Only finished trials are written, each in one transaction: nothing can be left running.
"""

from __future__ import annotations

import math
import queue
import threading
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from automl.outcome import OBJECTIVES, Failed, Infeasible, Measured, Stopped
from automl.space import SearchSpace

if TYPE_CHECKING:
    import optuna

    from automl.storage import TrialRecord

NUMBER = "number"  # the user attribute with our trial number
CLOSE_S = 60.0
BUSY_TIMEOUT_S = 30.0
RETRY_AFTER_S = (0.2, 1.0, 5.0)


class Mirror:
    """Optuna's study of the same name in the same database. Build it with all trials of the record: it is made whole.

    A fault of Optuna's tables never ends a search: mirroring stops, `fault` says why, and the next start catches up.
    """

    def __init__(
        self, url: str, study: str, space: SearchSpace, objectives: Sequence[str], trials: Iterable[TrialRecord]
    ) -> None:
        self.fault: str | None = None
        self._space, self._objectives = space, tuple(objectives)
        self._ended = threading.Event()
        self._held: TrialRecord | None = None  # taken from the queue and not yet written
        self._waiting: queue.SimpleQueue[TrialRecord | None] = queue.SimpleQueue()
        for trial in trials:
            self.tell(trial)
        self._thread = threading.Thread(target=self._write, args=(url, study), name="mirror", daemon=True)
        self._thread.start()

    def tell(self, trial: TrialRecord) -> None:
        """Queue a trial of the record; open ones are passed over."""
        if trial.outcome is not None:
            self._waiting.put(trial)

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
        study = open_mirror(url, name, self._objectives)
        mirrored = mirrored_numbers(study)
        while (trial := self._next()) is not None:
            if trial.number not in mirrored:
                study.add_trial(frozen_trial(trial, self._space, self._objectives))
                mirrored.add(trial.number)
            self._held = None

    def _next(self) -> TrialRecord | None:
        """Return the trial that a fault interrupted, or the next one; None at the end."""
        if self._held is None and not (self._ended.is_set() and self._waiting.empty()):
            self._held = self._waiting.get()
        return self._held


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


def frozen_trial(trial: TrialRecord, space: SearchSpace, objectives: Sequence[str]) -> optuna.trial.FrozenTrial:
    """Return the trial as Optuna shows it: measured is COMPLETE, infeasible and stopped PRUNED, failed FAIL."""
    from optuna.distributions import CategoricalDistribution
    from optuna.trial import FrozenTrial, TrialState

    values = _values(trial, objectives)
    states = {"measured": TrialState.COMPLETE, "infeasible": TrialState.PRUNED, "stopped": TrialState.PRUNED}
    state = states.get(trial.state, TrialState.FAIL)
    if state == TrialState.COMPLETE and values is None:
        state = TrialState.FAIL  # Optuna refuses a complete trial without finite values
    return FrozenTrial(
        number=-1,  # given by Optuna
        trial_id=-1,
        state=state,
        value=None,
        values=values if state == TrialState.COMPLETE else None,
        datetime_start=trial.created_at.replace(tzinfo=None),
        datetime_complete=None if trial.finished_at is None else trial.finished_at.replace(tzinfo=None),
        params=space.choices(trial.point),
        distributions={each.name: CategoricalDistribution(each.choices) for each in space.dimensions},
        user_attrs=user_attributes(trial),
        system_attrs={},
        intermediate_values={},
    )


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


def _values(trial: TrialRecord, objectives: Sequence[str]) -> list[float] | None:
    if not isinstance(trial.outcome, Measured):
        return None
    figures = _figures(trial.outcome)
    return [figures[name] for name in objectives] if set(objectives) <= set(figures) else None


def _engine_settings(url: str) -> dict[str, Any]:
    if url.startswith("sqlite"):
        return {"connect_args": {"timeout": BUSY_TIMEOUT_S}}  # the driver writes to the same file
    return {}
