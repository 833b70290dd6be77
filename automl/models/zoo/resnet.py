"""Residual networks in torchvision's layout and names: He et al., "Deep Residual Learning" (CVPR 2016).

With 1000 classes at 224 pixels ResNet-18 has 11.690 M parameters and ResNet-50 25.557 M; the stride of a bottleneck
is in its 3x3 convolution. Images below 64 pixels get the stem of the paper's CIFAR networks, a 3x3 convolution that
keeps the resolution, since a stem that takes a quarter of it would leave a map of one pixel.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

SMALL_IMAGE = 64  # pixels: below it the stem keeps the resolution


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `n x inputs x h x w` to `n x width x h/stride x w/stride`."""
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(out + shortcut)  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    """A 1x1, a 3x3 and a 1x1 convolution around a shortcut; the last one has four times the width."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `n x inputs x h x w` to `n x 4 width x h/stride x w/stride`."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(out)))))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(out + shortcut)  # type: ignore[no-any-return]


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """Return the projection of a shortcut whose shape changes, None where it can be the identity."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """A stem, stages of residual blocks whose width doubles as the resolution halves, and a linear classifier.

    Args:
        block: `BasicBlock` or `Bottleneck`.
        depths: blocks in each stage.
        width: channels of the stem and of the first stage's 3x3 convolutions.
        classes: of the answers.
        channels: of the images.
        image_size: pixels of the shorter side; it decides the stem.
    """

    def __init__(
        self, block: type[BasicBlock | Bottleneck], depths: Sequence[int], *, width: int, classes: int, channels: int,
        image_size: int,
    ) -> None:  # fmt: skip
        super().__init__()
        small = image_size < SMALL_IMAGE
        kernel, stride = (3, 1) if small else (7, 2)
        self.conv1 = nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        inputs = width
        for index, depth in enumerate(depths):
            blocks = []
            for position in range(depth):
                halves = index > 0 and position == 0
                blocks.append(block(inputs, width * 2**index, 2 if halves else 1))
                inputs = width * 2**index * block.expansion
            self.add_module(f"layer{index + 1}", nn.Sequential(*blocks))
        self.stages = len(depths)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inputs, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `n x channels x h x w` to `n x classes` logits."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for index in range(self.stages):
            x = self.get_submodule(f"layer{index + 1}")(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))  # type: ignore[no-any-return]


def resnet18(classes: int, channels: int = 3, image_size: int = 224) -> ResNet:
    """Return an untrained ResNet-18."""
    return ResNet(BasicBlock, (2, 2, 2, 2), width=64, classes=classes, channels=channels, image_size=image_size)


def resnet18_width32(classes: int, channels: int = 3, image_size: int = 224) -> ResNet:
    """Return an untrained ResNet-18 that begins with 32 channels instead of 64: a quarter of the parameters."""
    return ResNet(BasicBlock, (2, 2, 2, 2), width=32, classes=classes, channels=channels, image_size=image_size)


def resnet50(classes: int, channels: int = 3, image_size: int = 224) -> ResNet:
    """Return an untrained ResNet-50."""
    return ResNet(Bottleneck, (3, 4, 6, 3), width=64, classes=classes, channels=channels, image_size=image_size)


def residual_teacher(classes: int, channels: int = 3, image_size: int = 32) -> ResNet:
    """Return an untrained teacher for small images: three stages of two basic blocks from 64 channels, 2.8 M."""
    return ResNet(BasicBlock, (2, 2, 2), width=64, classes=classes, channels=channels, image_size=image_size)


def residual_student(classes: int, channels: int = 3, image_size: int = 32) -> ResNet:
    """Return an untrained student for small images: three stages of one basic block from 16 channels, 0.08 M."""
    return ResNet(BasicBlock, (1, 1, 1), width=16, classes=classes, channels=channels, image_size=image_size)
