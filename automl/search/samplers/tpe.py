"""The tree-structured Parzen estimator (Bergstra et al., 2011; multi-objective: Ozaki et al., 2020) by Optuna."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from automl.search.record_view import RecordView
from automl.search.samplers.listening import heard_trials, open_trials
from automl.search.samplers.optuna_study import draws, indices, new_study, trial_of
from automl.search.samplers.plan import Proposal, SamplerPlan

if TYPE_CHECKING:
    from optuna.samplers import TPESampler


def tpe(plan: SamplerPlan, view: RecordView, number: int) -> Iterator[Proposal]:
    """Yield draws from one joint fit to what was heard."""

    def sampler(seed: int) -> TPESampler:
        from optuna.samplers import TPESampler

        # with the constant liar open trials count as bad, so that workers do not all sit on one spot
        return TPESampler(multivariate=True, constant_liar=True, n_startup_trials=plan.population, seed=seed)

    study, space = new_study(plan), indices(plan.space, unordered=True)
    study.add_trials([trial_of(space, each.trial.point, each, {}) for each in heard_trials(plan, view)])
    study.add_trials([trial_of(space, trial.point, None, {}) for trial in open_trials(view)])
    yield from draws(plan, study, space, sampler, number, {})
