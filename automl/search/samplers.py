"""Who proposes the next point: a pure function of the plan, a bounded view of the record, and the trial's number.

Every proposal builds a fresh in-memory Optuna study over the view and a sampler seeded from (seed, number), so a driver
that was killed and rebuilt proposes what the dead one would have. What a sampler must remember beyond the view is
returned as the proposal's state and recorded with the trial: NSGA-II's generation, the parents of that generation, and
the trials that were still open when it began (they count into it when they end, so that slow candidates are not lost).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from automl.errors import input_error
from automl.outcome import OBJECTIVES
from automl.search.grid import Grid, grid_point, random_point
from automl.search.hearing import Heard, hear
from automl.search.record_view import OPEN, RecordView
from automl.search.twins import due_twin
from automl.space import Point, SearchSpace

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

    from automl.storage import TrialRecord

Distributions = Mapping[str, "BaseDistribution"]

_GENERATION = "NSGAIISampler:generation"  # where Optuna's sampler looks for it; a test holds it to that
_ANY_TIME = datetime(2000, 1, 1)  # noqa: DTZ001 (no sampler looks at it, and Optuna wants it without a zone)
TAKES_TWINS = ("nsga2", "tpe")  # the others are the bar: they propose what they say and nothing else
DRAWS = 6  # a proposal that repeats a known candidate is drawn again; the last draw stands whatever it is


@dataclass(frozen=True)
class SamplerPlan:
    """Everything that proposals depend on besides the record. `limits` maps an objective to its upper bound.

    `enqueue` holds points that are proposed first; `grid` is the sub-grid of the method `sklearn_grid`.
    """

    space: SearchSpace
    objectives: tuple[str, ...]
    limits: Mapping[str, float]
    method: str
    seed: int
    population: int
    enqueue: tuple[Point, ...] = ()
    grid: Grid | None = None


@dataclass(frozen=True)
class Proposal:
    """A point of the space, what the sampler must remember with it (JSON values), and whether it was enqueued."""

    point: Point
    sampler_state: Mapping[str, Any]
    enqueued: bool = False


def propose(plan: SamplerPlan, view: RecordView, number: int) -> Proposal | None:
    """Return the proposal for the trial `number`; None where the method has nothing more to propose.

    Raises:
        InputError: where the method is unknown.
    """
    if plan.method not in METHODS:
        raise input_error("search.method", f"one of {', '.join(METHODS)}", plan.method)
    if number < len(plan.enqueue):
        return Proposal(dict(plan.enqueue[number]), {}, enqueued=True)
    twin = due_twin(plan.space, plan.objectives, view) if plan.method in TAKES_TWINS else None
    last = None
    for last in METHODS[plan.method](plan, view, number):
        if twin is not None:
            return replace(last, point=twin)  # the sampler's state goes on as with a point of its own
        if plan.space.decode(last.point).candidate_hash() not in view.known:
            break
    return last


def _nsga2(plan: SamplerPlan, view: RecordView, number: int) -> Iterator[Proposal]:
    from optuna.samplers import NSGAIISampler

    def sampler(seed: int) -> NSGAIISampler:
        return NSGAIISampler(population_size=plan.population, seed=seed)

    now = _generation(view)
    visible = [trial for trial in view.trials if _belongs(trial, now) or trial.number in now["parents"]]
    heard = hear(visible, plan.objectives, plan.limits)
    label = 1 if now["parents"] else 0  # generations are counted from the parents: nothing older is shown
    study, space = _study(plan), _indices(plan.space, unordered=False)
    for each in heard:
        member = each.trial.number not in now["parents"]
        study.add_trial(_trial(space, each.trial.point, each, {_GENERATION: label if member else 0}))
    if len(heard) - len(now["parents"]) >= plan.population:
        elite = sampler(0).get_parent_population(study, label + 1)
        now = {
            "generation": now["generation"] + 1,
            "parents": sorted(trial.user_attrs["number"] for trial in elite),
            "pending": [trial.number for trial in view.trials if trial.state == OPEN],
        }
    yield from _draws(plan, study, space, sampler, number, now)


def _generation(view: RecordView) -> Mapping[str, Any]:
    """Return the state of the youngest generation."""
    states = [trial.sampler_state for trial in view.trials if "generation" in trial.sampler_state]
    first = {"generation": 0, "parents": [], "pending": []}
    return max(states, key=lambda state: int(state["generation"]), default=first)


def _belongs(trial: TrialRecord, now: Mapping[str, Any]) -> bool:
    return trial.sampler_state.get("generation", 0) == now["generation"] or trial.number in now["pending"]


def _tpe(plan: SamplerPlan, view: RecordView, number: int) -> Iterator[Proposal]:
    from optuna.samplers import TPESampler

    def sampler(seed: int) -> TPESampler:
        # with the constant liar open trials count as bad, so that workers do not all sit on one spot
        return TPESampler(multivariate=True, constant_liar=True, n_startup_trials=plan.population, seed=seed)

    study, space = _study(plan), _indices(plan.space, unordered=True)
    heard = hear(view.trials, plan.objectives, plan.limits)
    study.add_trials([_trial(space, each.trial.point, each, {}) for each in heard])
    study.add_trials([_trial(space, trial.point, None, {}) for trial in view.trials if trial.state == OPEN])
    yield from _draws(plan, study, space, sampler, number, {})


def _random(plan: SamplerPlan, _view: RecordView, number: int) -> Iterator[Proposal]:
    for draw in range(DRAWS):
        yield Proposal(plan.space.sample(np.random.default_rng([plan.seed, number, draw])), {})


def _sklearn_random(plan: SamplerPlan, _view: RecordView, number: int) -> Iterator[Proposal]:
    yield Proposal(random_point(plan.space, _seed(plan, number, 0)), {})


def _sklearn_grid(plan: SamplerPlan, _view: RecordView, number: int) -> Iterator[Proposal]:
    assert plan.grid is not None, "the method sklearn_grid needs a declared grid"
    point = grid_point(plan.grid, plan.seed, number - len(plan.enqueue))
    if point is not None:
        yield Proposal(point, {})


METHODS: Mapping[str, Callable[[SamplerPlan, RecordView, int], Iterator[Proposal]]] = {
    "nsga2": _nsga2,
    "tpe": _tpe,
    "random": _random,
    "sklearn_grid": _sklearn_grid,
    "sklearn_random": _sklearn_random,
}


def _draws(
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
        sampler = kind(_seed(plan, number, draw))
        study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING))
        asked = study.get_trials(deepcopy=False)[-1]
        drawn = sampler.sample_relative(study, asked, dict(space))
        for name in space:
            if name not in drawn:
                drawn[name] = sampler.sample_independent(study, asked, name, space[name])
        yield Proposal({name: int(drawn.get(name, 0)) for name in plan.space.names()}, state)


def _study(plan: SamplerPlan) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # or each ask would announce a study
    return optuna.create_study(directions=[OBJECTIVES[name].direction for name in plan.objectives])


def _indices(space: SearchSpace, *, unordered: bool) -> Distributions:
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


def _trial(
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


def _seed(plan: SamplerPlan, number: int, draw: int) -> int:
    return int(np.random.SeedSequence([plan.seed, number, draw]).generate_state(1)[0])
