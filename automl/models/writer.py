"""What a network's `emit` talks to: something that writes an ONNX graph, or something that computes what it would.

A *site* is an activation that a quantized runtime would store; each has a name. Weights and biases are torch tensors
with batch normalisation folded in, so that a writer that computes can send gradients through them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

FLOAT = (32, 32)
ACTIVATIONS = ("none", "relu", "relu6", "hardswish", "hardsigmoid", "sigmoid", "silu", "gelu", "tanh")


@dataclass(frozen=True)
class Tensor:
    """An activation: its value, its site, the site whose code it shares, and whether it can be below zero.

    `value` is the name of a graph's tensor, or a torch tensor, as the writer has it.
    """

    value: Any
    site: str
    code_site: str
    rectified: bool


class Writer(Protocol):
    """Set `precision` to the (weight bits, activation bits) of what comes next."""

    precision: tuple[int, int]

    def image(self, pixels: Any, mean: Sequence[float], deviation: Sequence[float], shape: Sequence[int]) -> Tensor:
        """Take raw pixels of static `shape` (batch x h x w[ x c]) to (pixels - mean) / deviation, n x c x h x w."""
        ...

    def convolution(
        self, x: Tensor, weight: torch.Tensor, bias: torch.Tensor | None, site: str, *, stride: Sequence[int] = (1, 1),
        padding: Sequence[int] = (0, 0), dilation: Sequence[int] = (1, 1), groups: int = 1, activation: str = "none",
    ) -> Tensor:  # fmt: skip
        """Add a convolution (`out x in/groups x kh x kw` weights), and its activation."""
        ...

    def linear(
        self, x: Tensor, weight: torch.Tensor, bias: torch.Tensor | None, site: str, *, activation: str = "none"
    ) -> Tensor:
        """Add a fully connected layer (`out x in` weights) over `n x in`, and its activation."""
        ...

    def logits(self, x: Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> Any:
        """Add the last fully connected layer; its output stays in floating point and has no site."""
        ...

    def max_pool(self, x: Tensor, site: str, *, kernel: int = 3, stride: int = 1, padding: int = 1) -> Tensor:
        """Add a max pool."""
        ...

    def average_pool(self, x: Tensor, site: str, *, kernel: int = 3, stride: int = 1, padding: int = 1) -> Tensor:
        """Add an average pool that does not count its padding."""
        ...

    def global_average_pool(self, x: Tensor, site: str) -> Tensor:
        """Add a global average pool and a flatten: `n x c x h x w` to `n x c`."""
        ...

    def flatten(self, x: Tensor, site: str) -> Tensor:
        """Add a flatten of all but the first axis."""
        ...

    def add(self, first: Tensor, second: Tensor, site: str, *, activation: str = "none") -> Tensor:
        """Add the sum of two activations of one shape, and its activation."""
        ...

    def multiply(self, first: Tensor, second: Tensor, site: str) -> Tensor:
        """Add the product of two activations (`n x c x 1 x 1` spreads over `n x c x h x w`)."""
        ...

    def activate(self, x: Tensor, activation: str, site: str) -> Tensor:
        """Add an activation function on its own."""
        ...

    def concatenate(self, tensors: Sequence[Tensor], site: str) -> Tensor:
        """Add a concatenation along the channels; a single tensor stays as it is."""
        ...
