"""The expected gain in hypervolume of a point whose losses are independent Gaussians, exactly, by disjoint boxes.

The region that the front leaves undominated is cut into boxes (along the last objective, recursively); in each the
expected gain factors into one-dimensional integrals (Yang et al., 2019). No samples, hence no noise of its own.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def free_boxes(front: Array, reference: Array) -> tuple[Array, Array]:
    """Return the lower and upper corners (`k x m`) of disjoint boxes that fill what no point of the front dominates.

    Below they are open: a lower corner may be minus infinity. No points leave one box.
    """
    front = front[np.all(front < reference, axis=1)]
    lower, upper = _boxes(front, reference)
    return np.array(lower).reshape(-1, len(reference)), np.array(upper).reshape(-1, len(reference))


def _boxes(front: Array, reference: Array) -> tuple[list[list[float]], list[list[float]]]:
    m = len(reference)
    if m == 1:
        return [[-math.inf]], [[float(front.min()) if len(front) else float(reference[0])]]
    cuts = [-math.inf, *np.unique(front[:, -1]).tolist(), float(reference[-1])]
    lower: list[list[float]] = []
    upper: list[list[float]] = []
    for low, high in itertools.pairwise(cuts):
        below = front[front[:, -1] <= low][:, :-1]
        for left, right in zip(*_boxes(below, reference[:-1]), strict=True):
            lower.append([*left, low])
            upper.append([*right, high])
    return lower, upper


def expected_gain(means: Array, deviations: Array, boxes: tuple[Array, Array]) -> Array:
    """Return the expected gain of each of `n` points with independent Gaussian losses (`n x m` each)."""
    lower, upper = boxes
    product = np.ones((len(means), len(lower)))
    for objective in range(means.shape[1]):
        mean, deviation = means[:, objective, None], deviations[:, objective, None]
        ends, place = np.unique(np.concatenate([lower[:, objective], upper[:, objective]]), return_inverse=True)
        shortfall = _shortfall(mean, deviation, ends[None, :])
        k = len(lower)
        product *= shortfall[:, place[k:]] - shortfall[:, place[:k]]
    return np.asarray(product.sum(axis=1))


def _shortfall(mean: Array, deviation: Array, ends: Array) -> Array:
    """Return E[max(end - Y, 0)] of Y ~ N(mean, deviation^2); 0 below everything."""
    from scipy.special import ndtr

    finite = np.where(np.isfinite(ends), ends, 0.0)
    z = (finite - mean) / deviation
    value = (finite - mean) * ndtr(z) + deviation * np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return np.asarray(np.where(np.isfinite(ends), value, 0.0))
