"""A Gaussian process over encoded points: a linear trend plus a Matern-5/2 kernel, with length scales by group.

Written here in NumPy because a proposal must be cheap and a pure function: no device, no threads, no random restarts.
The hyperparameters are the maximum of the posterior under priors that widen the length scales with the number of
groups (Hvarfner et al., 2024), so that forty dimensions and twenty trials still give a model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

ROOT5 = math.sqrt(5.0)
NOISE_FLOOR = 1e-6
LEVEL, TREND, RIPPLE, NOISE = 0, 1, 2, 3  # places of the first hyperparameters; the groups' weights follow
EXTRAS = 4
PRIOR_MEAN = {LEVEL: 0.0, TREND: 0.0, RIPPLE: 0.0, NOISE: math.log(1e-2)}
PRIOR_SPREAD = {LEVEL: 1.0, TREND: 1.5, RIPPLE: 1.0, NOISE: 1.5}
WEIGHT_SPREAD = 1.5
BOUND = 12.0


@dataclass(frozen=True)
class Encoded:
    """Points as columns (`n x p`), and for each column the group that shares its length scale."""

    columns: Array
    groups: npt.NDArray[np.int64]

    def count(self) -> int:
        """Return the number of groups."""
        return int(self.groups.max()) + 1 if self.groups.size else 0


def first_guess(groups: int) -> Array:
    """Return the mode of the prior: the logarithms of the scales to start the first fit from."""
    weights = np.full(groups, -math.log(max(groups, 1)))
    return np.concatenate([[PRIOR_MEAN[place] for place in range(EXTRAS)], weights])


def fit(inputs: Encoded, values: Array, start: Array, steps: int) -> Array:
    """Return the logarithms of the scales that maximise the posterior, at most `steps` steps from `start`.

    Args:
        inputs: the observed points.
        values: one standardised value each.
        start: of length 4 + groups.
        steps: of L-BFGS.
    """
    from scipy.optimize import minimize

    prior = first_guess(inputs.count())
    spread = np.concatenate([[PRIOR_SPREAD[p] for p in range(EXTRAS)], np.full(inputs.count(), WEIGHT_SPREAD)])
    distances = group_distances(inputs)
    linear = inputs.columns @ inputs.columns.T / max(inputs.count(), 1)

    def loss(theta: Array) -> tuple[float, Array]:
        value, gradient = _likelihood(theta, distances, linear, values)
        off = (theta - prior) / spread
        return -value + 0.5 * float(off @ off), -gradient + off / spread

    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=[(-BOUND, BOUND)] * len(start), options={"maxiter": steps}
    )
    return np.asarray(found.x, dtype=np.float64)


def group_distances(inputs: Encoded) -> Array:
    """Return the squared distances of the pairs of points by group, as a `groups x n (n - 1) / 2` array."""
    pairs = np.triu_indices(len(inputs.columns), 1)
    table = np.empty((inputs.count(), len(pairs[0])))
    for group in range(inputs.count()):
        part = inputs.columns[:, inputs.groups == group]
        square = np.einsum("ij,ij->i", part, part)
        table[group] = np.maximum(square[:, None] + square[None, :] - 2 * part @ part.T, 0.0)[pairs]
    return table


def _likelihood(theta: Array, distances: Array, linear: Array, values: Array) -> tuple[float, Array]:
    """Return the logarithm of the likelihood and its gradient (Rasmussen and Williams, 2006, equation 5.9)."""
    from scipy.linalg import cho_factor, cho_solve
    from scipy.linalg.lapack import dpotri

    n = len(values)
    pairs = np.triu_indices(n, 1)
    level, trend, ripple, noise = np.exp(theta[:EXTRAS])
    weights = np.exp(theta[EXTRAS:])
    root = ROOT5 * np.sqrt(weights @ distances)
    decay = np.exp(-root)
    matern = np.eye(n)
    matern[pairs] = (1 + root + root * root / 3) * decay
    matern.T[pairs] = matern[pairs]
    kernel = level + trend * linear + ripple * matern
    kernel.flat[:: n + 1] += noise + NOISE_FLOOR
    try:
        factor = cho_factor(kernel, lower=True, check_finite=False)
    except np.linalg.LinAlgError:
        return -1e10, np.zeros_like(theta)
    solved = cho_solve(factor, values, check_finite=False)
    inverse, _ = dpotri(factor[0], lower=1)
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    slope = np.outer(solved, solved) - inverse
    through = 2 * slope[pairs] * ((-5.0 / 6.0) * ripple * (1 + root) * decay)  # a pair stands twice in the matrix
    own = [level * slope.sum(), trend * np.vdot(slope, linear), ripple * np.vdot(slope, matern), noise * slope.trace()]
    gradient = 0.5 * np.concatenate([own, weights * (distances @ through)])
    value = -0.5 * float(values @ solved) - float(np.log(np.diag(factor[0])).sum()) - 0.5 * n * math.log(2 * math.pi)
    return value, gradient


@dataclass(frozen=True)
class Posterior:
    """What the process believes after the observations, in the units of the values it was given."""

    theta: Array
    inputs: Encoded
    factor: Array
    solved: Array

    def predict(self, points: Array) -> tuple[Array, Array]:
        """Return the mean and the variance (the noise apart) of each encoded point."""
        from scipy.linalg import solve_triangular

        level, trend, ripple, _ = np.exp(self.theta[:EXTRAS])
        cross = covariance(self.theta, self.inputs, points)
        mean = cross.T @ self.solved
        half = solve_triangular(self.factor, cross, lower=True, check_finite=False)
        own = level + trend * np.einsum("ij,ij->i", points, points) / max(self.inputs.count(), 1) + ripple
        return mean, np.maximum(own - np.einsum("ij,ij->j", half, half), 1e-12)

    @property
    def noise(self) -> float:
        """Return the variance of the noise."""
        return float(np.exp(self.theta[NOISE]))


def covariance(theta: Array, inputs: Encoded, points: Array) -> Array:
    """Return the covariances of the inputs with other encoded points, as an `n x k` array."""
    level, trend, ripple, _ = np.exp(theta[:EXTRAS])
    stretch = np.exp(0.5 * theta[EXTRAS:])[inputs.groups]
    left, right = inputs.columns * stretch, points * stretch
    root = left @ right.T
    root *= -2.0
    root += np.einsum("ij,ij->i", left, left)[:, None]
    root += np.einsum("ij,ij->i", right, right)[None, :]
    np.maximum(root, 0.0, out=root)
    np.sqrt(root, out=root)
    root *= ROOT5
    matern = np.exp(-root)
    matern *= root * (root / 3 + 1) + 1
    matern *= ripple
    matern += (trend / max(inputs.count(), 1)) * (inputs.columns @ points.T)
    matern += level
    return matern


def condition(theta: Array, inputs: Encoded, values: Array) -> Posterior:
    """Return the posterior after observing `values` at `inputs`."""
    from scipy.linalg import cho_solve, cholesky

    kernel = covariance(theta, inputs, inputs.columns)
    n = len(values)
    kernel.flat[:: n + 1] += np.exp(theta[NOISE]) + NOISE_FLOOR
    factor = cholesky(kernel, lower=True, check_finite=False)
    return Posterior(theta, inputs, factor, cho_solve((factor, True), values, check_finite=False))
