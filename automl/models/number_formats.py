"""Affine and symmetric integer codes, as an exported graph stores them.

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (2018):
real = scale x (code - zero point). Activations are unsigned 8-bit (affine, the range includes 0), weights are
signed and symmetric with one scale for each output channel, biases are 32-bit with scale (input x weight).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LARGEST_CODE = {4: 7, 8: 127}
BIAS_LIMIT = 2.0**30
SMALLEST_SCALE = 1e-30  # below it single precision loses digits: the range is as good as empty


@dataclass(frozen=True)
class Range:
    """The closed interval of values at a site of the graph."""

    low: float
    high: float


@dataclass(frozen=True)
class ActivationCode:
    """scale x (code - zero point), codes from 0 to 255; the scale is never 0."""

    scale: np.float32
    zero_point: np.uint8


def activation_code(values: Range) -> ActivationCode:
    """Return the unsigned 8-bit code of a range, widened to include 0 so that padding and ReLU are exact."""
    low, high = min(values.low, 0.0), max(values.high, 0.0)
    scale = np.float32((high - low) / 255)
    if scale < SMALLEST_SCALE:
        scale = np.float32(1.0)
    return ActivationCode(scale, np.uint8(np.clip(round(-low / float(scale)), 0, 255)))


@dataclass(frozen=True)
class WeightCode:
    """Signed codes in the weight's shape (`out x ...`, int8) and one scale for each output channel (float32)."""

    codes: np.ndarray
    scales: np.ndarray


def weight_code(weight: np.ndarray, bits: int, largest: int, smallest_scale: np.ndarray | float = 0.0) -> WeightCode:
    """Return the symmetric code of a weight, a scale for each output channel.

    At 8 bits the scale maps the largest magnitude to the largest code. At 4 bits that wastes most codes on
    outliers, so the scale is the one of sixteen clipping points with the least squared error, channel by channel.

    Args:
        weight: `out x ...` float32.
        bits: 4 or 8.
        largest: the largest code at 8 bits (64 where the target's kernels would saturate).
        smallest_scale: a lower bound for the scales, scalar or one for each channel.
    """
    rows = weight.reshape(weight.shape[0], -1)
    largest = largest if bits == 8 else LARGEST_CODE[bits]
    peak = np.abs(rows).max(axis=1)
    peak = np.where(peak > 0, peak, 1.0)
    shares = np.linspace(0.4, 1.0, 16) if bits < 8 else np.ones(1)
    trials = np.maximum(shares[:, None] * peak / largest, smallest_scale)  # shares x out
    rounded = np.clip(np.rint(rows / trials[:, :, None]), -largest, largest)  # shares x out x fan-in
    errors = ((rounded * trials[:, :, None] - rows) ** 2).sum(axis=2)
    best = errors.argmin(axis=0)
    columns = np.arange(rows.shape[0])
    codes = rounded[best, columns].astype(np.int8).reshape(weight.shape)
    return WeightCode(codes, trials[best, columns].astype(np.float32))


def smallest_weight_scale(bias: np.ndarray, input_scale: np.float32) -> np.ndarray:
    """Return the weight scales below which the 32-bit code of each bias would overflow."""
    return np.asarray(np.abs(bias) / (float(input_scale) * BIAS_LIMIT))


def bias_code(bias: np.ndarray, input_scale: np.float32, weight_scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the 32-bit codes of a bias and their scales, which are the input's scale times the weight's."""
    scales = (input_scale * weight_scales).astype(np.float32)
    return np.rint(bias / scales).astype(np.int32), scales
