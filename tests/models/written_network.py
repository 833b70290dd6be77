"""A small network that uses what cells do not: bounded and curved activations, grouped layers, products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from automl.models.deployable import Emitted, Task
from automl.models.writer import Writer

COLOUR_TASK = Task((8, 8, 3), 10, (100.0, 110.0, 120.0), (60.0, 50.0, 40.0))


class WrittenNetwork(Emitted):
    """Five convolutions, a gate and two linear layers, told to a writer; it has no forward of its own."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.task = COLOUR_TASK
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.depthwise = nn.Conv2d(16, 16, 3, stride=2, padding=1, groups=16)
        self.grouped = nn.Conv2d(16, 16, 3, padding=1, groups=4)
        self.wide = nn.Conv2d(16, 32, 1)
        self.gate = nn.Conv2d(32, 32, 1)
        self.hidden = nn.Linear(32, 24)
        self.classifier = nn.Linear(24, 10, bias=False)
        with torch.no_grad():
            self.stem.weight.mul_(3)  # some values beyond 6

    def stage_ends(self) -> tuple[str, ...]:
        return ("grouped", "gate", "hidden")

    def emit(self, writer: Writer, inputs: Any, precisions: Sequence[tuple[int, int]], batch: int) -> Any:
        def layer(x: Any, name: str, activation: str) -> Any:
            module = getattr(self, name)
            return writer.convolution(
                x, module.weight, module.bias, name, stride=module.stride, padding=module.padding,
                groups=module.groups, activation=activation,
            )  # fmt: skip

        writer.precision = precisions[0]
        x = writer.image(inputs, self.task.mean, self.task.deviation, (batch, *self.task.input_shape))
        x = layer(layer(x, "stem", "relu6"), "depthwise", "hardswish")
        x = layer(x, "grouped", "silu")
        writer.precision = precisions[1]
        x = layer(x, "wide", "relu")
        x = writer.multiply(x, layer(x, "gate", "hardsigmoid"), "gated")
        writer.precision = precisions[2]
        x = writer.average_pool(x, "pool", kernel=2, stride=2, padding=0)
        x = writer.global_average_pool(writer.activate(x, "gelu", "curved"), "pooled")
        x = writer.linear(x, self.hidden.weight, self.hidden.bias, "hidden", activation="relu")
        return writer.logits(x, self.classifier.weight, self.classifier.bias)
