"""Optuna's samplers over the record: a fresh in-memory study of what was heard, and draws from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from automl.outcome import OBJECTIVES
from automl.search.hearing import Heard
from automl.search.samplers.plan import DRAWS, Proposal, SamplerPlan, draw_seed
from automl.space import SearchSpace

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

Distributions = Mapping[str, "BaseDistribution"]

_ANY_TIME = datetime(2000, 1, 1)  # noqa: DTZ001 (no sampler looks at it, and Optuna wants it without a zone)


def draws(
    plan: SamplerPlan,
    study: optuna.Study,
    space: Distributions,
    kind: Callable[[int], Any],
    number: int,
    state: Mapping[str, Any],
) -> Iterator[Proposal]:
    """Yield proposals of freshly seeded samplers; every draw stays in the study as a running trial.

    The sampler is called without `study.ask`, whose copies cost more than the sampling.
    """
    import optuna

    for draw in range(DRAWS):
        sampler = kind(draw_seed(plan, number, draw))
        study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING))
        asked = study.get_trials(deepcopy=False)[-1]
        drawn = sampler.sample_relative(study, asked, dict(space))
        for name in space:
            if name not in drawn:
                drawn[name] = sampler.sample_independent(study, asked, name, space[name])
        yield Proposal({name: int(drawn.get(name, 0)) for name in plan.space.names()}, state)


def new_study(plan: SamplerPlan) -> optuna.Study:
    """Return an empty study in memory with the plan's directions."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # or each ask would announce a study
    return optuna.create_study(directions=[OBJECTIVES[name].direction for name in plan.objectives])


def indices(space: SearchSpace, *, unordered: bool) -> Distributions:
    """Return a distribution of indices for each dimension that leaves a choice.

    With `unordered` a sampler learns that the choices of some dimensions have no order; without it they are mere
    integers, which is alike for crossover and uniform mutation, and faster.
    """
    from optuna.distributions import CategoricalDistribution, IntDistribution

    return {
        each.name: CategoricalDistribution(range(len(each.choices)))
        if unordered and not each.ordered
        else IntDistribution(0, len(each.choices) - 1)
        for each in space.dimensions
        if len(each.choices) > 1
    }


def trial_of(
    space: Distributions, point: Mapping[str, int], heard: Heard | None, system_attrs: Mapping[str, Any]
) -> optuna.trial.FrozenTrial:
    """Return a complete trial with what was heard of it, or a running one where nothing was."""
    from optuna.trial import FrozenTrial, TrialState

    trial = FrozenTrial(
        number=-1,  # given by Optuna
        trial_id=-1,
        state=TrialState.RUNNING if heard is None else TrialState.COMPLETE,
        value=None,
        values=None if heard is None else list(heard.values),
        datetime_start=_ANY_TIME,
        datetime_complete=None if heard is None else _ANY_TIME,
        params=_Shared({name: point[name] for name in space}),
        distributions=_Shared(space),
        user_attrs={} if heard is None else {"number": heard.trial.number},
        system_attrs=dict(system_attrs),
        intermediate_values={},
    )
    for name, violation in heard.constraints.items() if heard is not None else ():
        trial.set_constraint(name, violation)
    return trial


class _Shared(dict[str, Any]):
    """A dictionary that deep copies share: Optuna copies every trial it is given, which is most of an ask's cost."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _Shared:
        return self
