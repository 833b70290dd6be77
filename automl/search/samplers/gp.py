"""Optuna's Gaussian process with the logarithm of the expected hypervolume gain (Ament et al., 2023).

It costs seconds a proposal beyond some hundred trials (cubic), so it hears the front and the latest `HEARD` only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from automl.search.record_view import RecordView
from automl.search.samplers.listening import heard_losses, heard_trials, open_trials
from automl.search.samplers.optuna_study import draws, indices, new_study, trial_of
from automl.search.samplers.plan import Proposal, SamplerPlan

if TYPE_CHECKING:
    from optuna.samplers import GPSampler

HEARD = 100


def gp(plan: SamplerPlan, view: RecordView, number: int) -> Iterator[Proposal]:
    """Yield draws; draws beyond the first repeat the optimisation from other starts."""

    def sampler(seed: int) -> GPSampler:
        from optuna.samplers import GPSampler

        return GPSampler(n_startup_trials=plan.population, deterministic_objective=False, seed=seed)

    study, space = new_study(plan), indices(plan.space, unordered=True)
    heard, front = heard_trials(plan, view), set(heard_losses(plan, view).front().tolist())
    kept = [each for place, each in enumerate(heard) if place in front or place >= len(heard) - HEARD]
    study.add_trials([trial_of(space, each.trial.point, each, {}) for each in kept])
    study.add_trials([trial_of(space, trial.point, None, {}) for trial in open_trials(view)])
    yield from draws(plan, study, space, sampler, number, {})
