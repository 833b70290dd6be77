"""Where to clip an activation's range: few far values against a finer code for all the others."""

from __future__ import annotations

import numpy as np

from automl.models.number_formats import Range, activation_code

BINS = 2048
PERCENTILE = 99.99
SHARES = np.linspace(0.2, 1.0, 33)
ROUNDS = 2


class Histogram:
    """Counts of values on a fixed grid of points from `low` to `high`, whatever their number.

    The ends of the grid are points themselves, so that the zeros of a rectified activation are counted at zero.
    """

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high
        self.counts = np.zeros(BINS + 1, np.int64)

    def add(self, values: np.ndarray) -> None:
        """Count more values; all lie in the range."""
        width = max(self.high - self.low, 1e-30) / BINS
        places = np.rint((values.ravel() - np.float32(self.low)) * np.float32(1 / width)).astype(np.int64)
        self.counts += np.bincount(np.clip(places, 0, BINS), minlength=BINS + 1)

    def points(self) -> np.ndarray:
        """Return the value of every grid point."""
        return np.linspace(self.low, self.high, BINS + 1)


def percentile_range(histogram: Histogram) -> Range:
    """Return the range that leaves out one value in ten thousand on either side."""
    shares = histogram.counts.cumsum() / histogram.counts.sum()
    points, outside = histogram.points(), 1 - PERCENTILE / 100
    low = points[np.searchsorted(shares, outside, side="left")]
    high = points[np.searchsorted(shares, 1 - outside, side="left")]
    return Range(float(low), float(high))


def least_error_range(histogram: Histogram) -> Range:
    """Return the range whose code has the least squared error over the values.

    Nagel et al., "A White Paper on Neural Network Quantization" (2021), section 3.1.1, eq. 9; searched over shares of
    the full range, the two ends in turn. It is never worse on them than the full range.
    """
    points, held = histogram.points(), histogram.counts > 0
    values, counts = points[held], histogram.counts[held].astype(np.float64)
    low, high = histogram.low, histogram.high
    for _ in range(ROUNDS):
        high = _best([(low, share * histogram.high) for share in SHARES[::-1]], values, counts)[1]
        low = _best([(share * histogram.low, high) for share in SHARES[::-1]], values, counts)[0]
    return Range(float(low), float(high))


def squared_error(values: np.ndarray, counts: np.ndarray, low: float, high: float) -> float:
    """Return the sum of the squared errors of values that come up `counts` times, coded for the range."""
    code = activation_code(Range(low, high))
    scale, zero = float(code.scale), int(code.zero_point)
    restored = (np.clip(np.rint(values / scale) + zero, 0, 255) - zero) * scale
    return float((counts * (values - restored) ** 2).sum())


def _best(ranges: list[tuple[float, float]], values: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    return min(ranges, key=lambda ends: squared_error(values, counts, *ends))
