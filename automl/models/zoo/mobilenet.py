"""MobileNetV2 in torchvision's layout and names: Sandler et al., "Inverted Residuals and Linear Bottlenecks" (2018).

3.505 M parameters at width 1.0 with 1000 classes. Images below 64 pixels keep their resolution through the stem and
the first strided stage, so that the last map has the size that it has at four times the resolution.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

SMALL_IMAGE = 64  # pixels: below it the stem and the first strided stage keep the resolution
STAGES = (  # expansion, channels, blocks, stride of the first: table 2 of the paper
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip
STEM, HEAD = 32, 1280


def rounded_width(channels: float) -> int:
    """Return the nearest multiple of 8 channels that loses at most a tenth of them."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class ConvolutionNormActivation(nn.Sequential):
    """A convolution without bias, batch normalisation and ReLU6."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True))


class InvertedResidual(nn.Module):
    """A 1x1 expansion, a depthwise 3x3 and a linear 1x1 projection, around a shortcut where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.adds = stride == 1 and inputs == outputs
        layers: list[nn.Module] = [ConvolutionNormActivation(inputs, hidden, 1)] if expansion > 1 else []
        layers.append(ConvolutionNormActivation(hidden, hidden, 3, stride=stride, groups=hidden))
        layers.extend([nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs)])
        self.conv = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `n x inputs x h x w` to `n x outputs x h/stride x w/stride`."""
        return x + self.conv(x) if self.adds else self.conv(x)  # type: ignore[no-any-return]


class MobileNetV2(nn.Module):
    """A stem, seventeen inverted residuals, a 1x1 head and a linear classifier.

    Args:
        multiplier: of every width; each is rounded to a multiple of 8.
        classes: of the answers.
        channels: of the images.
        image_size: pixels of the shorter side; it decides the first strides.
    """

    def __init__(self, *, multiplier: float, classes: int, channels: int, image_size: int) -> None:
        super().__init__()
        small = image_size < SMALL_IMAGE
        widths = [rounded_width(STEM * multiplier)]
        blocks: list[tuple[int, int]] = []  # stride, expansion
        for index, (expansion, outputs, count, stride) in enumerate(STAGES):
            first = 1 if small and index == 1 else stride
            blocks += [(first if position == 0 else 1, expansion) for position in range(count)]
            widths += [rounded_width(outputs * multiplier)] * count
        head = rounded_width(HEAD * max(1.0, multiplier))
        stem = ConvolutionNormActivation(channels, widths[0], 3, stride=1 if small else 2)
        body = [
            InvertedResidual(inputs, outputs, stride=stride, expansion=expansion)
            for (inputs, outputs), (stride, expansion) in zip(pairwise(widths), blocks, strict=True)
        ]
        self.features = nn.Sequential(stem, *body, ConvolutionNormActivation(widths[-1], head, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(head, classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `n x channels x h x w` to `n x classes` logits."""
        return self.classifier(self.features(x).mean(dim=(2, 3)))  # type: ignore[no-any-return]


def mobilenet_v2(classes: int, channels: int = 3, image_size: int = 224) -> MobileNetV2:
    """Return an untrained MobileNetV2."""
    return MobileNetV2(multiplier=1.0, classes=classes, channels=channels, image_size=image_size)


def mobilenet_v2_half(classes: int, channels: int = 3, image_size: int = 224) -> MobileNetV2:
    """Return an untrained MobileNetV2 of half the width."""
    return MobileNetV2(multiplier=0.5, classes=classes, channels=channels, image_size=image_size)
