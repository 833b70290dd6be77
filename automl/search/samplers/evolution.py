"""Aged (regularised) evolution (Real et al., 2019), generalised to fronts.

The population is the youngest trials; the oldest dies with every new one, however good. The parent is the best of a
drawn tournament: by non-dominated rank within the population, the youngest of equals. One choice of it is mutated.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from automl.pareto import front_mask
from automl.search.record_view import RecordView
from automl.search.samplers.listening import Array, heard_losses
from automl.search.samplers.moves import as_indices, as_point, mutated
from automl.search.samplers.plan import DRAWS, Proposal, SamplerPlan

TOURNAMENT = 0.3  # of the population; Real et al. take 25 of 100


def evolution(plan: SamplerPlan, view: RecordView, number: int) -> Iterator[Proposal]:
    """Yield children of drawn tournaments; random points until there is a population."""
    losses = heard_losses(plan, view)
    whole = np.flatnonzero(np.isfinite(losses.table).all(axis=1))[-plan.population :]
    ranks = dominance_ranks(losses.table[whole], losses.violation[whole])
    rows = as_indices(plan.space, [losses.trials[place].point for place in whole])
    for draw in range(DRAWS):
        rng = np.random.default_rng([plan.seed, number, draw])
        if len(whole) < plan.population:
            yield Proposal(plan.space.sample(rng), {})
            continue
        size = max(2, round(TOURNAMENT * plan.population))
        drawn = np.sort(rng.choice(len(whole), size=size, replace=False))[::-1]
        parent = drawn[np.argmin(ranks[drawn])]
        yield Proposal(as_point(plan.space, mutated(plan.space, rows[[parent]], np.array([1]), rng)[0]), {})


def dominance_ranks(table: Array, violation: Array) -> np.ndarray:
    """Return each row's rank: 0 on the front, 1 on the front of the others, and so on.

    Who violates a limit ranks behind all who do not, by how much (Deb et al., 2002).
    """
    ranks = np.full(len(table), -1)
    left = np.flatnonzero(violation <= 0)
    rank = 0
    while len(left):
        front = front_mask(table[left])
        if not front.any():
            break
        ranks[left[front]] = rank
        left, rank = left[~front], rank + 1
    for place in sorted(np.flatnonzero(ranks < 0), key=lambda place: violation[place]):
        ranks[place] = rank
        rank += 1
    return ranks
