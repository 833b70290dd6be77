"""Ray Tune's `TrialScheduler` for a study: at each rung the conductor says by all objectives at once who goes on."""

# ruff: noqa: ARG002 the signatures are Tune's
from __future__ import annotations

import pickle
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from automl.errors import AutomlError
from automl.outcome import RungResult
from automl.search.executor import Completion, describe
from automl.search.ray_tune_searcher import RESTORED, ConductorSearcher


class FrontScheduler(TrialScheduler):
    """Ends trials early, tells deaths from errors, and ends what has run for too long; all as the conductor decides."""

    def __init__(self, searcher: ConductorSearcher) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._searcher = searcher
        self._trials: dict[str, Trial] = {}  # by Tune's id, those that have not ended
        self._fresh: list[Trial] = []

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Take note of a trial."""
        self._trials[trial.trial_id] = trial
        self._fresh.append(trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> str:
        """Return whether a trial goes on after a report: one at a rung below the top is decided here."""
        assignment = self._searcher.assigned(trial.trial_id)
        if assignment is None:
            return str(TrialScheduler.STOP)
        completion = self._searcher.wire.rung(assignment, result)
        if completion is None:
            return str(TrialScheduler.CONTINUE)
        if not isinstance(completion.value, RungResult):
            self._searcher.end(trial.trial_id, completion)
            return str(TrialScheduler.STOP)
        config = self._searcher.climb(trial.trial_id, completion)
        if config is None:
            return str(TrialScheduler.STOP)
        if self._searcher.wire.hands_over:  # Ray keeps the order of calls: it has the task when Tune lets it go on
            actor: Any = trial.temporary_state.ray_actor
            actor.assign.remote(config)
        return str(TrialScheduler.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Settle an error as what it was: of the trial, of its worker, or of the machine."""
        self._trials.pop(trial.trial_id, None)
        assignment = self._searcher.assigned(trial.trial_id)
        if assignment is not None:
            self._searcher.end(trial.trial_id, _failure(str(assignment.number), _error_of(trial)))

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> None:
        """Forget a trial; the searcher settles its end."""
        self._trials.pop(trial.trial_id, None)

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """Forget a trial that did not run."""
        self._trials.pop(trial.trial_id, None)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Return a trial that has just been added, None where there is none.

        Tune gives it the worker that is idle, if there is one. Were it one whose own worker is starting, Tune would end
        that one: trials that are shorter than a start would never have a second worker. As Tune asks at every step,
        what must go on while it waits is done here as well.
        """
        self._searcher.beat()
        for trial_id in self._searcher.overdue():
            actor = self._trials[trial_id].temporary_state.ray_actor
            if actor is not None:
                ray.kill(actor)
        fresh, self._fresh = self._fresh, []
        return next((trial for trial in fresh if trial.status == Trial.PENDING), None)

    def debug_string(self) -> str:
        """Return what Tune prints of it."""
        return f"{type(self).__name__}: {len(self._trials)} trials under way"

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the record has it all."""

    def restore(self, checkpoint_path: str) -> None:
        """Refuse.

        Raises:
            AutomlError: always.
        """
        raise AutomlError(RESTORED)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # the Tuner pickles its settings for a restore that is refused


def _failure(key: str, error: BaseException | None) -> Completion:
    if error is None or isinstance(error, RayActorError):
        by_machine = "node has died" in str(error)
        return Completion(key, None, _cause(error), str(error), worker_died=not by_machine, withdrawn=by_machine)
    return Completion(key, error=describe(getattr(error, "cause", error)), traceback=str(error))


def _error_of(trial: Trial) -> BaseException | None:
    """Return the exception that ended Tune's trial, None where it left none."""
    path = trial.pickled_error_file
    if path is None:
        return None
    with suppress(OSError, pickle.UnpicklingError):
        error: BaseException = pickle.loads(Path(path).read_bytes())  # noqa: S301 Tune has just written it
        return error
    return None


def _cause(error: BaseException | None) -> str:
    """Return a death as one line: the first one, or for a worker that did not start the last one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if error is None or not lines:
        return "its worker died"
    return f"{type(error).__name__}: {lines[-1] if 'creation task' in lines[0] else lines[0]}"
