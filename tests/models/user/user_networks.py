"""Small modules that tests of user's models share: what people bring."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from automl.models.deployable import Task
from automl.models.zoo.mobilenet import ConvolutionNormActivation, InvertedResidual

COLOUR = Task((16, 16, 3), 5, (120.0, 110.0, 100.0), (60.0, 65.0, 70.0))


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """Return raw colour images of smooth shapes: unlike noise, they differ from each other after pooling."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return coarse.repeat(4, axis=1).repeat(4, axis=2)


def settled(module: nn.Module, channels: int = 3) -> nn.Module:
    """Give the normalisations scales, shifts and statistics as training would: none neutral, so that signals live."""
    generator = torch.Generator().manual_seed(0)
    norms = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    for layer in norms:
        for value, low, high in ((layer.weight, 0.5, 1.5), (layer.bias, -0.3, 0.3)):
            value.data.copy_(low + (high - low) * torch.rand(value.shape, generator=generator))
        layer.momentum = 1.0
    images = (torch.from_numpy(pictures(64)).permute(0, 3, 1, 2).float() - 110) / 65
    with torch.no_grad():
        module.train()(images[:, :channels])
    return module.eval()


def inverted() -> nn.Module:
    """Return a short MobileNetV2: with all seventeen blocks at random weights, answers would be noise."""
    return nn.Sequential(
        ConvolutionNormActivation(3, 8, 3), InvertedResidual(8, 8, stride=1, expansion=3),
        InvertedResidual(8, 16, stride=2, expansion=3), InvertedResidual(16, 16, stride=1, expansion=3),
        ConvolutionNormActivation(16, 32, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(32, 5),
    )  # fmt: skip


class Gated(nn.Module):
    """A dense convolution, a depthwise one, a gate of squeeze and excitation, and a hard swish."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding="same"), nn.BatchNorm2d(8), nn.Hardswish())
        self.depthwise = nn.Conv2d(8, 8, 3, 2, 1, groups=8, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.squeeze = nn.Conv2d(8, 4, 1)
        self.excite = nn.Conv2d(4, 8, 1)
        self.project = nn.Conv2d(8, 12, 1)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(12, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.silu(self.norm(self.depthwise(self.stem(x))))
        gate = torch.sigmoid(self.excite(functional.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))
        x = functional.adaptive_avg_pool2d(functional.gelu(self.project(gate * x)), 1)
        return self.head(self.drop(x.view(x.size(0), -1)))


class Concatenating(nn.Module):
    """Branches of unequal width that are concatenated, normalised before the next convolution, and flattened."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.left = nn.Conv2d(3, 6, 3, 2, 1)
        self.right = nn.Conv2d(3, 10, 1, 2)
        self.norm = nn.BatchNorm2d(16)
        self.mix = nn.Conv2d(16, 8, 3, 1, 1)
        self.hidden = nn.Linear(8 * 4 * 4, 24)
        self.hidden_norm = nn.BatchNorm1d(24)
        self.head = nn.Linear(24, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.cat([torch.relu(self.left(x)), self.right(x)], dim=1)
        x = functional.max_pool2d(torch.relu(self.mix(torch.relu(self.norm(x)))), 2)
        return self.head(self.hidden_norm(self.hidden(torch.flatten(x, 1))).relu())


class Grouped(nn.Module):
    """A convolution in two groups between dense ones."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, 2, 1)
        self.grouped = nn.Conv2d(8, 12, 3, 1, 1, groups=2)
        self.norm = nn.BatchNorm2d(12)
        self.last = nn.Conv2d(12, 6, 1)
        self.head = nn.Linear(6, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.grouped(torch.relu(self.first(x)))))
        return self.head(torch.relu(self.last(x)).mean([2, 3]))


class Leaky(nn.Module):
    """A network with an activation that we do not write."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, 2, 1)
        self.act = nn.LeakyReLU(0.1)
        self.second = nn.Conv2d(8, 6, 3, 1, 1)
        self.head = nn.Linear(6, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.act(self.second(self.act(self.first(x)))).mean([2, 3]))


class Branching(nn.Module):
    """A network whose way depends on the values that pass through it."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        is_bright = x.amax() > 0
        x = self.first(x).mean([2, 3])
        if is_bright:
            x = -x
        return self.head(x)


class Nested(nn.Module):
    """A shortcut around the input itself, and one around a block."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.on_input = nn.Conv2d(3, 3, 3, 1, 1)
        self.wide = nn.Conv2d(3, 8, 3, 2, 1)
        self.inner = nn.Conv2d(8, 8, 3, 1, 1)
        self.head = nn.Linear(8, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.wide(torch.relu(x + self.on_input(x)))
        return self.head(torch.relu(x + self.inner(x)).mean([2, 3]))
