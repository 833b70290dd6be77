"""The methods by name, and the one entry: enqueued points first, due twins next, never a known candidate twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from automl import plugins
from automl.search.record_view import RecordView
from automl.search.samplers.bar import quasi_random, random, sklearn_grid, sklearn_random
from automl.search.samplers.evolution import evolution
from automl.search.samplers.gp import gp
from automl.search.samplers.moves import unseen_neighbour
from automl.search.samplers.nsga2 import nsga2
from automl.search.samplers.plan import Proposal, SamplerPlan
from automl.search.samplers.reinforce import reinforce
from automl.search.samplers.surrogate import surrogate
from automl.search.samplers.tpe import tpe
from automl.search.twins import due_twin

METHODS: Mapping[str, Callable[[SamplerPlan, RecordView, int], Iterator[Proposal]]] = {
    "nsga2": nsga2,
    "tpe": tpe,
    "random": random,
    "sklearn_grid": sklearn_grid,
    "sklearn_random": sklearn_random,
    "quasi_random": quasi_random,
    "gp": gp,
    "evolution": evolution,
    "reinforce": reinforce,
    "surrogate": surrogate,
}
THE_BAR = ("random", "quasi_random", "sklearn_grid", "sklearn_random")  # they propose what they say, and nothing else
TAKES_TWINS = ("nsga2", "tpe", "gp", "evolution", "surrogate")
_SIDESTEP = 1_000_003  # apart from the seeds of draws


def propose(plan: SamplerPlan, view: RecordView, number: int) -> Proposal | None:
    """Return the proposal for the trial `number`; None where the method has nothing more to propose.

    A method that repeats a known candidate in all its draws is moved to an unseen neighbour of the last one, the bar
    apart; where there is none, the last draw stands whatever it is.

    Raises:
        InputError: where the method is unknown.
    """
    method = METHODS.get(plan.method) or plugins.load(plugins.SAMPLERS, plan.method, tuple(METHODS))
    if number < len(plan.enqueue):
        return Proposal(dict(plan.enqueue[number]), {}, enqueued=True)
    twin = due_twin(plan.space, plan.objectives, view) if plan.method in TAKES_TWINS else None
    last = None
    for last in method(plan, view, number):
        if twin is not None:
            return replace(last, point=twin)  # the sampler's state goes on as with a point of its own
        if plan.space.decode(last.point).candidate_hash() not in view.known:
            return last
    return last if last is None or plan.method in THE_BAR else _moved(plan, view, number, last)


def _moved(plan: SamplerPlan, view: RecordView, number: int, proposal: Proposal) -> Proposal:
    """Return the proposal at an unseen neighbour of its point, where there is one."""
    rng = np.random.default_rng([plan.seed, number, _SIDESTEP])
    point = unseen_neighbour(plan.space, proposal.point, view.known, rng)
    return proposal if point is None else replace(proposal, point=point)
