"""Compute in torch what the exported graph will compute, site by site and with gradients.

The same network tells itself to this writer and to the one that writes ONNX, so nothing can be rounded in training
that is not rounded in the file. Codes, zero points and clipping are those of the file; sums are in single precision
where the runtime's are integers, so that now and then a value on the edge of two codes falls to the other one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from automl.candidate import QuantizationPlan
from automl.models.codebooks import codebook_of
from automl.models.number_formats import (
    Codes,
    activation_code,
    bias_code,
    check_plan,
    largest_code_of_layer,
    largest_weight_code,
    smallest_weight_scale,
    weight_code,
)
from automl.models.onnx_graph import ABSORBED, RECTIFYING, array
from automl.models.operations import depthwise_convolution
from automl.models.rounding import rounded, straight_through
from automl.models.writer import FLOAT, Tensor

FUNCTIONS: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "none": lambda x: x,
    "relu": torch.relu,
    "relu6": functional.relu6,
    "hardswish": functional.hardswish,
    "hardsigmoid": functional.hardsigmoid,
    "sigmoid": torch.sigmoid,
    "silu": torch.sigmoid,  # the gate
    "gelu": functional.gelu,
    "tanh": torch.tanh,
}


@dataclass(frozen=True)
class Step:
    """The code of an activation: its scale (a tensor without axes, that may be learned) and its zero point."""

    scale: torch.Tensor
    zero_point: int


@dataclass(frozen=True)
class Steps:
    """The code of each site, and the learned scales of weights by the site of their layer (`out` of them, or one)."""

    activations: Mapping[str, Step]
    weights: Mapping[str, torch.Tensor] = field(default_factory=dict)


def steps_of(codes: Codes) -> Steps:
    """Return the steps that a file written with these codes has."""
    activations = {}
    for site, values in codes.ranges.items():
        code = activation_code(values)
        activations[site] = Step(torch.tensor(code.scale), int(code.zero_point))
    return Steps(activations, {site: torch.from_numpy(scales) for site, scales in codes.weight_scales.items()})


@dataclass(frozen=True)
class CodedLayer:
    """A layer whose weight is coded: the weight as it was told, its bits and largest code."""

    weight: torch.Tensor
    bits: int
    largest: int


SAFE_INPUTS = 8


def _breaks_in_channels_last(weight: torch.Tensor, stride: Sequence[int]) -> bool:
    """Tell whether torch's gradient of this convolution corrupts memory where the channels come last.

    Seen with torch 2.13 on CPUs: strided 1x1 convolutions of fewer than eight input channels.
    """
    return weight.shape[1] < SAFE_INPUTS and weight[0, 0].numel() == 1 and max(stride) > 1


class Rehearsal:
    """A writer that computes: its tensors are torch's, raw pixels in, logits out; one object a forward pass.

    Args:
        steps: the code of each site and the learned weight scales; other weights are coded as the file codes them.
        largest_code: of 8-bit weights: 127, or 64 where the target's kernels saturate.
        plan: how weights are coded.

    Raises:
        InputError: where the plan asks for what the graph cannot hold.
    """

    def __init__(self, steps: Steps, largest_code: int, plan: QuantizationPlan) -> None:
        check_plan(plan)
        self.precision = FLOAT
        self.layers: dict[str, CodedLayer] = {}
        self.coded: dict[str, int] = {}  # site -> values a sample
        self.capped: list[str] = []  # sites behind a ReLU6
        self._steps = steps
        self._largest_code = largest_code
        self._plan = plan
        self._dequantized: dict[str, torch.Tensor] = {}

    def image(self, pixels: Any, mean: Sequence[float], deviation: Sequence[float], shape: Sequence[int]) -> Tensor:
        """Take raw pixels to (pixels - mean) / deviation, n x c x h x w."""
        x = pixels.reshape(-1, *shape[1:3], len(mean)).float()  # channels last, as convolutions are fastest
        x = ((x - torch.tensor(mean)) / torch.tensor(deviation)).permute(0, 3, 1, 2)
        return self.mark(x, "input", rectified=False)

    def convolution(
        self, x: Tensor, weight: torch.Tensor, bias: torch.Tensor | None, site: str, *, stride: Sequence[int] = (1, 1),
        padding: Sequence[int] = (0, 0), dilation: Sequence[int] = (1, 1), groups: int = 1, activation: str = "none",
    ) -> Tensor:  # fmt: skip
        """Compute a convolution (`out x in/groups x kh x kw` weights), and its activation."""
        values = self.read(x)
        coded, offset = self._weights(x, weight, bias, site, groups)
        shape = (tuple(stride), tuple(padding), tuple(dilation))
        if _is_same_depthwise(weight, shape, groups):
            y = depthwise_convolution(values, coded, shape[0][0], shape[2][0])
            y = y if offset is None else y + offset[:, None, None]
        else:
            if _breaks_in_channels_last(weight, stride):
                values = values.contiguous()
            y = functional.conv2d(values, coded, offset, shape[0], shape[1], shape[2], groups)
        # Behind a single channel torch cannot tell the layout, and forgets that this one is the fast one.
        return self._activated(y.contiguous(memory_format=torch.channels_last), activation, site)

    def linear(
        self, x: Tensor, weight: torch.Tensor, bias: torch.Tensor | None, site: str, *, activation: str = "none"
    ) -> Tensor:
        """Compute a fully connected layer (`out x in` weights), and its activation."""
        return self._activated(self._gemm(x, weight, bias, site), activation, site)

    def logits(self, x: Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """Compute the last fully connected layer; its output stays in floating point."""
        return self._gemm(x, weight, bias, "logits")

    def max_pool(self, x: Tensor, site: str, *, kernel: int = 3, stride: int = 1, padding: int = 1) -> Tensor:
        """Compute a max pool: of codes, so nothing is rounded."""
        return self._kept(functional.max_pool2d(self.read(x), kernel, stride, padding), site, x)

    def average_pool(self, x: Tensor, site: str, *, kernel: int = 3, stride: int = 1, padding: int = 1) -> Tensor:
        """Compute an average pool that does not count its padding."""
        y = functional.avg_pool2d(self.read(x), kernel, stride, padding, count_include_pad=False)
        return self.mark(y, site, rectified=x.rectified, like=x)

    def global_average_pool(self, x: Tensor, site: str) -> Tensor:
        """Compute a global average pool and a flatten: `n x c x h x w` to `n x c`."""
        pooled = self.mark(self.read(x).mean(dim=(2, 3)), site, rectified=x.rectified, like=x)
        return self._kept(self.read(pooled), f"{site}.flat", pooled)

    def flatten(self, x: Tensor, site: str) -> Tensor:
        """Compute a flatten of all but the first axis."""
        return self._kept(torch.flatten(self.read(x), 1), site, x)

    def add(self, first: Tensor, second: Tensor, site: str, *, activation: str = "none") -> Tensor:
        """Compute the sum of two activations, and its activation."""
        return self._activated(self.read(first) + self.read(second), activation, site)

    def multiply(self, first: Tensor, second: Tensor, site: str) -> Tensor:
        """Compute the product of two activations."""
        return self._activated(self.read(first) * self.read(second), "none", site)

    def activate(self, x: Tensor, activation: str, site: str) -> Tensor:
        """Compute an activation function on its own."""
        if activation in ABSORBED:
            return self._activated(self.read(x), activation, site)
        return self._function(x, activation, site)

    def concatenate(self, tensors: Sequence[Tensor], site: str) -> Tensor:
        """Compute a concatenation along the channels; a single tensor stays as it is."""
        if len(tensors) == 1:
            return tensors[0]
        y = torch.cat([self.read(tensor) for tensor in tensors], dim=1)
        return self.mark(y, site, rectified=all(tensor.rectified for tensor in tensors))

    def mark(self, value: torch.Tensor, site: str, *, rectified: bool, like: Tensor | None = None) -> Tensor:
        """Return a value as the activation of `site`, rounded at once where the precision says so."""
        tensor = Tensor(value, site, site if like is None else like.code_site, rectified)
        if self.precision[1] == 8:
            self._dequantize(tensor)
        return tensor

    def read(self, tensor: Tensor) -> torch.Tensor:
        """Return the value that the current precision reads."""
        if self.precision[1] == 8 or tensor.site in self._dequantized:
            return self._dequantize(tensor)
        return tensor.value  # type: ignore[no-any-return]

    def _kept(self, value: torch.Tensor, site: str, like: Tensor) -> Tensor:
        """Return a value that already is one of the codes of `like`, where that is coded."""
        tensor = Tensor(value, site, like.code_site, like.rectified)
        if self.precision[1] == 8:
            self._dequantized[site] = value
        return tensor

    def _dequantize(self, tensor: Tensor) -> torch.Tensor:
        if tensor.site not in self._dequantized:
            step = self._steps.activations[tensor.code_site]
            count = tensor.value[0].numel()
            self.coded[tensor.code_site] = count
            share = 1 / sqrt(count * 255)
            self._dequantized[tensor.site] = rounded(tensor.value, step.scale, step.zero_point, 0, 255, share)
        return self._dequantized[tensor.site]

    def _activated(self, value: torch.Tensor, activation: str, site: str) -> Tensor:
        if activation not in ABSORBED:
            return self._function(self.mark(value, f"{site}.linear", rectified=False), activation, site)
        if activation == "relu6":
            self.capped.append(site)
        return self.mark(FUNCTIONS[activation](value), site, rectified=activation in RECTIFYING)

    def _function(self, x: Tensor, activation: str, site: str) -> Tensor:
        value = FUNCTIONS[activation](self.read(x))
        if activation != "silu":
            return self.mark(value, site, rectified=activation in RECTIFYING)
        return self.multiply(x, self.mark(value, f"{site}.gate", rectified=True), site)

    def _gemm(self, x: Tensor, weight: torch.Tensor, bias: torch.Tensor | None, site: str) -> torch.Tensor:
        values = self.read(x)
        return functional.linear(values, *self._weights(x, weight, bias, site))

    def _weights(
        self, x: Tensor, weight: torch.Tensor, bias: torch.Tensor | None, site: str, groups: int = 1
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return weight and bias of the layer at `site` as the file holds them in the current precision."""
        bits, activation_bits = self.precision
        if activation_bits != 8:
            return self._stored_weight(weight, bits, site), bias
        largest = largest_code_of_layer(weight.shape, groups, self._largest_code)
        input_scale = np.float32(self._steps.activations[x.code_site].scale.item())
        values = np.zeros(len(weight), np.float32) if bias is None else array(bias)
        smallest = smallest_weight_scale(values, input_scale)
        coded, scales = self._coded_weight(weight, bits, largest, site, smallest)
        if bias is None:
            return coded, None
        codes, steps = bias_code(values, input_scale, scales)
        return coded, straight_through(bias, torch.from_numpy(codes.astype(np.float32) * steps))

    def _coded_weight(
        self, weight: torch.Tensor, bits: int, largest: int, site: str, smallest: np.ndarray | float = 0.0
    ) -> tuple[torch.Tensor, np.ndarray]:
        """Return the weight as its codes stand for it, and their scales."""
        self.layers[site] = CodedLayer(weight, bits, largest)
        if site not in self._steps.weights:
            code = weight_code(array(weight), bits, largest, smallest, scales=self._plan.scales)
            return straight_through(weight, torch.from_numpy(code.restored())), code.scales
        learned, last = self._steps.weights[site], largest_weight_code(bits, largest)
        lower = np.max(smallest) if learned.ndim == 0 else smallest
        scales = torch.maximum(learned, torch.as_tensor(lower, dtype=torch.float32))
        share = 1 / sqrt(weight.numel() / max(learned.numel(), 1) * last)
        spread = scales.reshape(-1, *[1] * (weight.ndim - 1)) if scales.ndim else scales
        return rounded(weight, spread, 0, -last, last, share), array(scales)

    def _stored_weight(self, weight: torch.Tensor, bits: int, site: str) -> torch.Tensor:
        if bits == 32:
            return weight
        if bits == 16:
            return straight_through(weight, weight.half().float())
        book = codebook_of(array(weight), bits, self._plan)
        if book is not None:
            return straight_through(weight, torch.from_numpy(book.restored()))
        return self._coded_weight(weight, bits, 127, site)[0]


def _is_same_depthwise(weight: torch.Tensor, shape: tuple[tuple[int, ...], ...], groups: int) -> bool:
    """Tell whether `depthwise_convolution` computes this one: square, "same"-padded, strides and steps of 1 or 2."""
    stride, padding, dilation = shape
    side = weight.shape[2]
    square = weight.shape[2] == weight.shape[3] and all(pair[0] == pair[1] for pair in shape)
    fits = side % 2 == 1 and padding[0] == dilation[0] * (side // 2) and {stride[0], dilation[0]} <= {1, 2}
    return square and fits and groups > 1 and groups == len(weight) and weight.shape[1] == 1
