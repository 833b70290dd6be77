"""Weights as indices into a short table of levels that are not evenly spaced.

No integer kernel multiplies such codes: the table is looked up when the file is loaded, and the network computes in
floating point. It is a method for size, which pays once the indices are entropy-coded (Han et al., "Deep Compression",
2016): see `automl.models.packing`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from automl.candidate import QuantizationPlan
from automl.models.number_formats import spread, weight_code

WEIGHTS_PER_LEVEL = 16  # a layer with fewer weights for each level of its table is smaller in even codes
DISTINCT_LEVELS = 24  # a power of two this far below the largest weight is lost in single precision
POINTS = 4096  # more weights than these are clustered by their histogram


@dataclass(frozen=True)
class Codebook:
    """weight = scale x levels[index]; indices (uint8) have the weight's shape, scales are one a channel or one."""

    indices: np.ndarray
    levels: np.ndarray
    scales: np.ndarray

    def restored(self) -> np.ndarray:
        """Return the weight that the indices stand for (float32)."""
        return np.asarray(self.levels[self.indices] * spread(self.scales, self.indices.ndim), np.float32)


def kmeans_codebook(weight: np.ndarray, bits: int, scales: str = "channel") -> Codebook:
    """Return the weight as indices into 2^bits levels with about the least squared error (k-means; Lloyd, 1982).

    Clustering starts from the evenly spaced code of the same bits, so that it can only improve on it; a level is
    shared by all channels of the layer, behind the scales that even codes would have. Where the weight holds zeros
    (it is sparse), zero stays a level, so that zeros stay zero.

    Args:
        weight: `out x ...` float32.
        bits: 2, 3, 4 or 8.
        scales: "channel" or "tensor".
    """
    even = weight_code(weight, bits, 127, scales=scales)
    steps = spread(even.scales, weight.ndim)
    values = (weight / steps).ravel()
    importance = np.broadcast_to(steps**2, weight.shape).ravel()
    start = np.arange(-(2 ** (bits - 1)), 2 ** (bits - 1), dtype=np.float32)
    is_sparse = bool((values == 0).any())
    if is_sparse:
        points, masses = _points(values[values != 0], importance[values != 0])
        levels = np.append(_clustered(points, masses, start[start != 0]), np.float32(0))
    else:
        levels = _clustered(*_points(values, importance), start)
    levels = np.sort(levels)
    return Codebook(_nearest(values, levels).reshape(weight.shape), levels, even.scales)


def power_of_two_codebook(weight: np.ndarray, bits: int, scales: str = "channel") -> Codebook:
    """Return the weight as signs and exponents: each level is zero or plus or minus a power of two.

    Miyashita et al., "Convolutional Neural Networks using Logarithmic Data Representation" (2016); the largest
    exponent is the floor of log2(4/3 max|w|), as in Zhou et al., "Incremental Network Quantization" (2017, eq. 4),
    and the exponents below it follow as far as the bits reach. Scales are powers of two themselves.

    Args:
        weight: `out x ...` float32.
        bits: 2, 3, 4 or 8; 2^(bits - 1) - 1 exponents (at most 24), two signs and zero.
        scales: "channel" or "tensor": whose largest weight gives the largest exponent.
    """
    rows = weight.reshape(1 if scales == "tensor" else len(weight), -1)
    peak = np.abs(rows).max(axis=1).astype(np.float64)
    chosen = np.exp2(np.floor(np.log2(np.where(peak > 0, peak, 1.0) * 4 / 3))).astype(np.float32)
    chosen = chosen.reshape(()) if scales == "tensor" else chosen
    powers = np.exp2(-np.arange(min(2 ** (bits - 1) - 1, DISTINCT_LEVELS), dtype=np.float32))
    levels = np.concatenate([-powers, np.zeros(1, np.float32), powers[::-1]])
    values = (weight / spread(chosen, weight.ndim)).ravel()
    return Codebook(_nearest(values, levels).reshape(weight.shape), levels, chosen)


def codebook_of(weight: np.ndarray, bits: int, plan: QuantizationPlan) -> Codebook | None:
    """Return the codebook that the plan asks for, None where the weight is better coded evenly.

    That is decided by its shape alone: a table of 2^bits levels must be small beside the indices.
    """
    if plan.weights == "power_of_two":
        return power_of_two_codebook(weight, bits, plan.scales)
    if plan.weights == "codebook" and weight.size >= WEIGHTS_PER_LEVEL * 2**bits:
        return kmeans_codebook(weight, bits, plan.scales)
    return None


def _points(values: np.ndarray, importance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the values with their importance, gathered into a histogram where they are many."""
    if len(values) <= POINTS:
        return values, importance
    low, high = values.min(), values.max()
    bins = ((values - low) * (POINTS / max(high - low, 1e-30))).astype(np.int64).clip(0, POINTS - 1)
    masses = np.bincount(bins, importance, POINTS)
    sums = np.bincount(bins, importance * values, POINTS)
    held = masses > 0
    return sums[held] / masses[held], masses[held]


def _clustered(points: np.ndarray, masses: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return as many levels as `start` has, moved to the clusters of the points; with few points, the points."""
    from sklearn.cluster import KMeans

    distinct = np.unique(points)
    if len(distinct) <= len(start):
        return np.append(distinct, np.repeat(distinct[-1:], len(start) - len(distinct))).astype(np.float32)
    clusters = KMeans(len(start), init=start[:, None], n_init=1, max_iter=100, random_state=0)
    clusters.fit(points[:, None].astype(np.float64), sample_weight=masses / masses.max())
    return np.asarray(clusters.cluster_centers_[:, 0], np.float32)


def _nearest(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return the index of the level nearest to each value; levels ascend."""
    indices = np.searchsorted((levels[1:] + levels[:-1]) / 2, values)
    return np.asarray(indices, np.uint8)
