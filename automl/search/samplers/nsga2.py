"""NSGA-II (Deb et al., 2002) by Optuna's sampler, its generations kept in the record.

What the sampler must remember is returned as the proposal's state: the generation, the parents of that generation, and
the trials that were still open when it began (they count into it when they end, so that slow candidates are not lost).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from automl.search.record_view import OPEN, RecordView
from automl.search.samplers.listening import heard_trials
from automl.search.samplers.optuna_study import draws, indices, new_study, trial_of
from automl.search.samplers.plan import Proposal, SamplerPlan

if TYPE_CHECKING:
    from optuna.samplers import NSGAIISampler

    from automl.storage import TrialRecord

_GENERATION = "NSGAIISampler:generation"  # where Optuna's sampler looks for it; a test holds it to that


def nsga2(plan: SamplerPlan, view: RecordView, number: int) -> Iterator[Proposal]:
    """Yield draws from the youngest generation's parents."""

    def sampler(seed: int) -> NSGAIISampler:
        from optuna.samplers import NSGAIISampler

        return NSGAIISampler(population_size=plan.population, seed=seed)

    now = _generation(view)
    visible = [trial for trial in view.trials if _belongs(trial, now) or trial.number in now["parents"]]
    heard = heard_trials(plan, view, visible)
    label = 1 if now["parents"] else 0  # generations are counted from the parents: nothing older is shown
    study, space = new_study(plan), indices(plan.space, unordered=False)
    for each in heard:
        member = each.trial.number not in now["parents"]
        study.add_trial(trial_of(space, each.trial.point, each, {_GENERATION: label if member else 0}))
    if len(heard) - len(now["parents"]) >= plan.population:
        elite = sampler(0).get_parent_population(study, label + 1)
        now = {
            "generation": now["generation"] + 1,
            "parents": sorted(trial.user_attrs["number"] for trial in elite),
            "pending": [trial.number for trial in view.trials if trial.state == OPEN],
        }
    yield from draws(plan, study, space, sampler, number, now)


def _generation(view: RecordView) -> Mapping[str, Any]:
    """Return the state of the youngest generation."""
    states = [trial.sampler_state for trial in view.trials if "generation" in trial.sampler_state]
    first = {"generation": 0, "parents": [], "pending": []}
    return max(states, key=lambda state: int(state["generation"]), default=first)


def _belongs(trial: TrialRecord, now: Mapping[str, Any]) -> bool:
    return trial.sampler_state.get("generation", 0) == now["generation"] or trial.number in now["pending"]
