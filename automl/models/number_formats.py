"""Affine and symmetric integer codes, as an exported graph stores them.

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (2018):
real = scale x (code - zero point). Activations are unsigned 8-bit (affine, the range includes 0), weights are
signed and symmetric with one scale for each output channel or for the whole, biases are 32-bit with scale
(input x weight).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from automl.candidate import QuantizationPlan
from automl.errors import Fault, InputError

UNIFORM_BITS = (4, 8, 16, 32)
LARGEST_CODE = {2: 1, 3: 3, 4: 7, 8: 127}
BIAS_LIMIT = 2.0**30
SMALLEST_SCALE = 1e-30  # below it single precision loses digits: the range is as good as empty


@dataclass(frozen=True)
class Range:
    """The closed interval of values at a site of the graph."""

    low: float
    high: float


@dataclass(frozen=True)
class Codes:
    """What integer codes are computed with: the range at each site, and the learned scales of weights by site.

    A site of `weight_scales` is that of the layer's output; layers that are not named take their scales from their
    weights.
    """

    ranges: Mapping[str, Range]
    weight_scales: Mapping[str, np.ndarray] = field(default_factory=dict)


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
    """Signed codes in the weight's shape (`out x ...`, int8); a scale for each output channel, or one without axes."""

    codes: np.ndarray
    scales: np.ndarray

    def restored(self) -> np.ndarray:
        """Return the weight that the codes stand for (float32)."""
        return np.asarray(self.codes * spread(self.scales, self.codes.ndim), np.float32)


def spread(scales: np.ndarray, axes: int) -> np.ndarray:
    """Return scales of output channels with trailing axes, to multiply a weight of so many axes; one scale as it is."""
    return scales.reshape(-1, *[1] * (axes - 1)) if scales.ndim else scales


def weight_code(
    weight: np.ndarray, bits: int, largest: int, smallest_scale: np.ndarray | float = 0.0, *, scales: str = "channel"
) -> WeightCode:
    """Return the symmetric code of a weight, a scale for each output channel or ("tensor") a single one.

    At 8 bits the scale maps the largest magnitude to the largest code. At 4 bits that wastes most codes on
    outliers, so the scale is the one of sixteen clipping points with the least squared error, channel by channel.

    Args:
        weight: `out x ...` float32.
        bits: 2, 3, 4 or 8.
        largest: the largest code at 8 bits (64 where the target's kernels would saturate).
        smallest_scale: a lower bound for the scales, scalar or one for each channel.
        scales: "channel" or "tensor".
    """
    rows = weight.reshape(1 if scales == "tensor" else weight.shape[0], -1)
    if scales == "tensor":
        smallest_scale = np.max(smallest_scale)
    largest = largest_weight_code(bits, largest)
    peak = np.abs(rows).max(axis=1)
    peak = np.where(peak > 0, peak, 1.0)
    shares = np.linspace(0.4, 1.0, 16) if bits < 8 else np.ones(1)
    trials = np.maximum(shares[:, None] * peak / largest, smallest_scale)  # shares x out
    rounded = np.clip(np.rint(rows / trials[:, :, None]), -largest, largest)  # shares x out x fan-in
    errors = ((rounded * trials[:, :, None] - rows) ** 2).sum(axis=2)
    best = errors.argmin(axis=0)
    columns = np.arange(rows.shape[0])
    codes = rounded[best, columns].astype(np.int8).reshape(weight.shape)
    chosen = trials[best, columns].astype(np.float32)
    return WeightCode(codes, chosen.reshape(()) if scales == "tensor" else chosen)


def weight_code_at(weight: np.ndarray, scales: np.ndarray, bits: int, largest: int) -> WeightCode:
    """Return the symmetric code of a weight at given scales: one for each output channel, or one without axes."""
    largest = largest_weight_code(bits, largest)
    codes = np.clip(np.rint(weight / spread(scales, weight.ndim)), -largest, largest)
    return WeightCode(codes.astype(np.int8), scales)


def largest_weight_code(bits: int, largest: int) -> int:
    """Return the largest weight code at `bits` bits; `largest` is that of 8 bits on the target."""
    return largest if bits == 8 else LARGEST_CODE[bits]


def smallest_weight_scale(bias: np.ndarray, input_scale: np.float32) -> np.ndarray:
    """Return the weight scales below which the 32-bit code of each bias would overflow."""
    return np.asarray(np.abs(bias) / (float(input_scale) * BIAS_LIMIT))


def bias_code(bias: np.ndarray, input_scale: np.float32, weight_scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the 32-bit codes of a bias and their scales, which are the input's scale times the weight's."""
    scales = (input_scale * weight_scales).astype(np.float32)
    return np.rint(bias / scales).astype(np.int32), scales


def check_plan(plan: QuantizationPlan) -> None:
    """Refuse what a graph of our own cannot hold.

    Raises:
        InputError: with all faults.
    """
    faults = []
    if plan.weights != "uniform" and 8 in plan.activation_bits:
        faults.append(
            Fault(
                "quantization.weights", '"uniform" beside 8-bit activations', f'"{plan.weights}"',
                "Integer kernels multiply evenly spaced codes only: use 32-bit activations.",
            )
        )  # fmt: skip
    if plan.weights == "uniform" and not set(plan.weight_bits) <= set(UNIFORM_BITS):
        expected = f"one of {UNIFORM_BITS} in every stage where weights are uniform"
        faults.append(Fault("quantization.weight_bits", expected, str(plan.weight_bits)))
    if plan.activations != "static":
        remedy = "The runtime has dynamic kernels for linear and recurrent layers only."
        faults.append(Fault("quantization.activations", '"static" in a convolutional network', "dynamic", remedy))
    if plan.block:
        remedy = "The runtime has kernels with a scale a block for linear layers only."
        faults.append(Fault("quantization.block", "0 in a convolutional network", str(plan.block), remedy))
    if faults:
        raise InputError(faults)


def largest_code_of_layer(shape: Sequence[int], groups: int, dense: int) -> int:
    """Return the largest weight code at 8 bits: `dense`, but 127 in depthwise layers, whose kernels sum few products.

    Args:
        shape: of the weight, `out x in/groups x ...`.
        groups: of the convolution.
        dense: the largest code of all other layers, grouped convolutions included.
    """
    return 127 if groups > 1 and shape[0] == groups and shape[1] == 1 else dense
