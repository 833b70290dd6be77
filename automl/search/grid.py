"""scikit-learn's grid and random search over the same space, as the bar that other methods must clear.

Both are functions of the seed and the trial's place alone. ParameterGrid needs a sub-grid that can be counted, since
the whole space has more points than 2^63: an axis is a list of partial points, and a grid point joins one of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from automl.space import Dimension, Point, SearchSpace

Grid = Mapping[str, Sequence[Mapping[str, int]]]
UNNAMED_CELLS = 3  # drawn from the space where no cells are named


def declared_grid(space: SearchSpace, cells: Sequence[Mapping[str, int]], seed: int) -> Grid:
    """Return the sub-grid: named cells x ratios x bits x temperatures, each of the last three alike in all stages.

    `cells` are whole points, of which the architecture counts. Dimensions outside the axes (the weight of
    distillation, training) stay at their middle choice; the weight is the one that hears the teacher most.
    """
    rng = np.random.default_rng(seed)
    named = list(cells) if cells else [space.sample(rng) for _ in range(UNNAMED_CELLS)]
    group = {
        kind: [d for d in space.dimensions if d.group == kind] for kind in ("architecture", "pruning", "quantization")
    }
    temperature = [dimension for dimension in space.dimensions if dimension.name == "temperature"]
    rest = [
        d for d in space.dimensions if d.group == "training" or (d.group == "distillation" and d not in temperature)
    ]
    return {
        "cell": [{d.name: point[d.name] for d in group["architecture"]} for point in named],
        "ratio": _alike(group["pruning"]),
        "bits": _alike(group["quantization"]),
        "temperature": _alike(temperature),
        "rest": [{d.name: len(d.choices) - 1 if d.name == "alpha" else len(d.choices) // 2 for d in rest}],
    }


def grid_point(grid: Grid, seed: int, place: int) -> Point | None:
    """Return the point at `place` of the grid in seeded order; None past its end."""
    from sklearn.model_selection import ParameterGrid

    corners = ParameterGrid({axis: list(range(len(parts))) for axis, parts in grid.items()})
    if place >= len(corners):
        return None
    corner = corners[int(np.random.default_rng(seed).permutation(len(corners))[place])]
    return {name: index for axis, part in corner.items() for name, index in grid[axis][part].items()}


def random_point(space: SearchSpace, seed: int) -> Point:
    """Return one point of ParameterSampler over integer distributions."""
    from scipy.stats import randint
    from sklearn.model_selection import ParameterSampler

    distributions = {dimension.name: randint(0, len(dimension.choices)) for dimension in space.dimensions}
    drawn = next(iter(ParameterSampler(distributions, n_iter=1, random_state=seed)))
    return {name: int(drawn[name]) for name in space.names()}


def _alike(dimensions: Sequence[Dimension]) -> list[dict[str, int]]:
    levels = max((len(dimension.choices) for dimension in dimensions), default=1)
    return [{d.name: min(level, len(d.choices) - 1) for d in dimensions} for level in range(levels)]
