"""The bar that other methods must clear: random, quasi-random, and scikit-learn's grid and random search.

They propose what they say and heed no result.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from automl.errors import input_error
from automl.search.grid import grid_point, random_point
from automl.search.record_view import RecordView
from automl.search.samplers.plan import DRAWS, Proposal, SamplerPlan, draw_seed
from automl.space import Point


def random(plan: SamplerPlan, _view: RecordView, number: int) -> Iterator[Proposal]:
    """Yield points drawn uniformly (Bergstra and Bengio, 2012)."""
    for draw in range(DRAWS):
        yield Proposal(plan.space.sample(np.random.default_rng([plan.seed, number, draw])), {})


def quasi_random(plan: SamplerPlan, _view: RecordView, number: int) -> Iterator[Proposal]:
    """Yield the point at the trial's place of a scrambled Sobol sequence (Owen, 1998) over the cube of indices."""
    yield Proposal(sobol_point(plan, number - len(plan.enqueue)), {})


def sobol_point(plan: SamplerPlan, place: int) -> Point:
    """Return the point at `place` of the plan's sequence."""
    from scipy.stats import qmc

    dimensions = plan.space.dimensions
    sequence = qmc.Sobol(len(dimensions), scramble=True, rng=np.random.default_rng([plan.seed, len(dimensions)]))
    if place > 0:
        sequence.fast_forward(place)
    drawn = sequence.random(1)[0]
    counts = [len(dimension.choices) for dimension in dimensions]
    return {
        dimension.name: min(int(share * count), count - 1)
        for dimension, share, count in zip(dimensions, drawn, counts, strict=True)
    }


def sklearn_random(plan: SamplerPlan, _view: RecordView, number: int) -> Iterator[Proposal]:
    """Yield the point of scikit-learn's ParameterSampler."""
    yield Proposal(random_point(plan.space, draw_seed(plan, number, 0)), {})


def sklearn_grid(plan: SamplerPlan, _view: RecordView, number: int) -> Iterator[Proposal]:
    """Yield the point at the trial's place of scikit-learn's ParameterGrid; nothing past its end.

    Raises:
        InputError: where the plan declares no grid.
    """
    if plan.grid is None:
        raise input_error("search.method sklearn_grid", "with a declared grid", "none", "Take the method random.")
    point = grid_point(plan.grid, plan.seed, number - len(plan.enqueue))
    if point is not None:
        yield Proposal(point, {})
