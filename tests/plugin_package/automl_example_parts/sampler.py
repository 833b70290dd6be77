"""Hill climbing: a neighbour of one of the trials on the front, or a random point where there is none yet."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from automl.search.front import study_front
from automl.search.record_view import RecordView
from automl.search.samplers import Proposal, SamplerPlan

DRAWS = 8


def hill_climb(plan: SamplerPlan, view: RecordView, number: int) -> Iterator[Proposal]:
    """Yield proposals, the best first; the first whose candidate is new is taken. Nothing is kept between calls."""
    rng = np.random.default_rng([plan.seed, number])
    front = study_front(view.trials, plan.objectives)
    for _ in range(DRAWS):
        point = plan.space.sample(rng)
        if front:
            neighbours = list(plan.space.neighbours(front[rng.integers(len(front))].point))
            point = neighbours[rng.integers(len(neighbours))] if neighbours else point
        yield Proposal(point, {"climbed": bool(front)})
