"""The table of operations: each name with a module that has both faces, torch's `forward` and ONNX's `emit`.

An operation maps `n x c x h x w` to `n x c x ceil(h/stride) x ceil(w/stride)` and ends linear: the cell's node adds
two of them and rectifies once. That differs from DARTS' order (ReLU-Conv-BN) on purpose: runtimes fuse
Conv-Add-ReLU into one kernel, and rectified states take unsigned 8-bit codes with zero point 0. A strided skip is an
average pool and a 1x1 convolution (ResNet-D; He et al., 2019) instead of DARTS' FactorizedReduce, whose
normalised concatenation cannot be folded and leaves floating-point islands in integer graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.nn import functional

from automl.models.deployable import Chain
from automl.models.writer import Tensor, Writer


class ConvolutionNorm(nn.Module):
    """A convolution without bias and its batch normalisation, rectified where asked; folded on export.

    The convolution may be a chain of them; the normalisation is then folded into the last one.
    """

    convolution: nn.Conv2d | Chain

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, rectify: bool = False) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.rectify = rectify

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `n x inputs x h x w` to `n x outputs x h/stride x w/stride`."""
        x = self.norm(self.convolution(x))
        return torch.relu(x) if self.rectify else x

    def emit(self, writer: Writer, x: Tensor, site: str) -> Tensor:
        """Write the folded convolution, or each of a chain."""
        *inner, last = self.layers()
        for position, layer in enumerate(inner):
            x = emit_convolution(writer, x, layer, (layer.weight, layer.bias), f"{site}.{position}")
        activation = "relu" if self.rectify else "none"
        return emit_convolution(writer, x, last, folded(last, self.norm), site, activation)

    def layers(self) -> list[nn.Conv2d]:
        """Return the convolution, or those of the chain in its place, first one first."""
        members = list(self.convolution) if isinstance(self.convolution, Chain) else [self.convolution]
        return [member for member in members if isinstance(member, nn.Conv2d)]


class Depthwise(nn.Conv2d):
    """A depthwise convolution without bias, "same"-padded."""

    def __init__(self, channels: int, kernel: int, *, stride: int, dilation: int) -> None:
        padding = dilation * (kernel // 2)
        super().__init__(channels, channels, kernel, stride, padding, dilation, channels, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `n x c x h x w` to `n x c x h/stride x w/stride`."""
        return depthwise_convolution(x, self.weight, self.stride[0], self.dilation[0])


class DepthwiseSeparable(nn.Module):
    """A depthwise convolution, a 1x1 convolution, and batch normalisation."""

    def __init__(self, channels: int, kernel: int, *, stride: int, dilation: int = 1, rectify: bool = False) -> None:
        super().__init__()
        self.depthwise = Depthwise(channels, kernel, stride=stride, dilation=dilation)
        self.pointwise = ConvolutionNorm(channels, channels, 1, rectify=rectify)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `n x c x h x w` to `n x c x h/stride x w/stride`."""
        return self.pointwise(self.depthwise(x))  # type: ignore[no-any-return]

    def emit(self, writer: Writer, x: Tensor, site: str) -> Tensor:
        """Write both convolutions."""
        x = emit_convolution(writer, x, self.depthwise, (self.depthwise.weight, None), f"{site}.depthwise")
        return self.pointwise.emit(writer, x, site)


class SeparableTwice(nn.Module):
    """DARTS' separable convolution: the depthwise-separable block twice, the stride in the first."""

    def __init__(self, channels: int, kernel: int, *, stride: int) -> None:
        super().__init__()
        self.first = DepthwiseSeparable(channels, kernel, stride=stride, rectify=True)
        self.second = DepthwiseSeparable(channels, kernel, stride=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `n x c x h x w` to `n x c x h/stride x w/stride`."""
        return self.second(self.first(x))  # type: ignore[no-any-return]

    def emit(self, writer: Writer, x: Tensor, site: str) -> Tensor:
        """Write both blocks."""
        return self.second.emit(writer, self.first.emit(writer, x, f"{site}.first"), site)


class MaxPool(nn.MaxPool2d):
    """A 3x3 max pool."""

    def __init__(self, stride: int) -> None:
        super().__init__(3, stride, 1)
        self.step = stride

    def emit(self, writer: Writer, x: Tensor, site: str) -> Tensor:
        """Write the pool."""
        return writer.max_pool(x, site, stride=self.step)


class AveragePool(nn.AvgPool2d):
    """A 3x3 average pool that does not count its padding."""

    def __init__(self, stride: int) -> None:
        super().__init__(3, stride, 1, count_include_pad=False)
        self.step = stride

    def emit(self, writer: Writer, x: Tensor, site: str) -> Tensor:
        """Write the pool."""
        return writer.average_pool(x, site, stride=self.step)


class Skip(nn.Identity):
    """The state itself."""

    def emit(self, writer: Writer, x: Tensor, site: str) -> Tensor:  # noqa: ARG002 the table's form
        """Write nothing."""
        return x


class StridedProjection(nn.Module):
    """An average pool that halves, and a 1x1 convolution with batch normalisation."""

    def __init__(self, inputs: int, outputs: int, *, rectify: bool = False) -> None:
        super().__init__()
        self.pool = AveragePool(2)
        self.projection = ConvolutionNorm(inputs, outputs, 1, rectify=rectify)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `n x inputs x h x w` to `n x outputs x h/2 x w/2`."""
        return self.projection(self.pool(x))  # type: ignore[no-any-return]

    def emit(self, writer: Writer, x: Tensor, site: str) -> Tensor:
        """Write pool and convolution."""
        return self.projection.emit(writer, self.pool.emit(writer, x, f"{site}.pool"), site)


OperationModule = (
    ConvolutionNorm | DepthwiseSeparable | SeparableTwice | MaxPool | AveragePool | Skip | StridedProjection
)

OPERATIONS: Mapping[str, Callable[[int, int], OperationModule]] = {  # each built from (channels, stride)
    "skip_connect": lambda c, s: Skip() if s == 1 else StridedProjection(c, c),
    "max_pool_3x3": lambda _, s: MaxPool(s),
    "avg_pool_3x3": lambda _, s: AveragePool(s),
    "sep_conv_3x3": lambda c, s: SeparableTwice(c, 3, stride=s),
    "sep_conv_5x5": lambda c, s: SeparableTwice(c, 5, stride=s),
    "dil_conv_3x3": lambda c, s: DepthwiseSeparable(c, 3, stride=s, dilation=2),
    "dil_conv_5x5": lambda c, s: DepthwiseSeparable(c, 5, stride=s, dilation=2),
    "conv_3x3": lambda c, s: ConvolutionNorm(c, c, 3, stride=s),
}


def end_rectified(operation: nn.Module) -> None:
    """Make an operation over rectified states end in a ReLU: a node that adds nothing rectifies in its one operation.

    Pools and skips of what is not below zero are not below zero either.
    """
    layers = [module for module in operation.modules() if isinstance(module, ConvolutionNorm)]
    if layers:
        layers[-1].rectify = True


def emit_convolution(
    writer: Writer, x: Tensor, layer: nn.Conv2d, parameters: tuple[torch.Tensor, torch.Tensor | None], site: str,
    activation: str = "none",
) -> Tensor:  # fmt: skip
    """Write a convolution of the layer's geometry with these (weight, bias)."""
    weight, bias = parameters
    padding = (int(layer.padding[0]), int(layer.padding[1]))
    return writer.convolution(
        x, weight, bias, site, stride=layer.stride, padding=padding, dilation=layer.dilation, groups=layer.groups,
        activation=activation,
    )  # fmt: skip


def depthwise_convolution(x: torch.Tensor, weight: torch.Tensor, stride: int, dilation: int) -> torch.Tensor:
    """Return the "same"-padded depthwise convolution, computed in the way whose gradient is fast on a CPU.

    Exactly torch's `conv2d` (a test holds them together), but taps that can only meet padding are left out, and
    stride 2 with dilation 2 is the plain convolution of every other pixel: PyTorch's gradients of dilated and of
    overhanging depthwise kernels are 2 to 15 times slower.

    Args:
        x: `n x c x h x w`.
        weight: `c x 1 x k x k`, k odd.
        stride: 1 or 2.
        dilation: 1 or 2.
    """
    if stride == dilation == 2:  # every tap meets an even position
        x, stride, dilation = x[:, :, ::2, ::2], 1, 1
    reach = weight.shape[2] // 2
    overhang = max(reach - (max(x.shape[2:]) - 1) // dilation, 0)
    weight = weight[:, :, overhang : weight.shape[2] - overhang, overhang : weight.shape[3] - overhang]
    return functional.conv2d(x, weight, None, stride, dilation * (reach - overhang), dilation, x.shape[1])


def folded(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight and bias of the convolution that does both (Jacob et al., 2018, eq. 14), in float32.

    Gradients reach the convolution's weight and the norm's own parameters; its running statistics are constants.
    """
    assert norm.running_var is not None and norm.running_mean is not None
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    weight = convolution.weight.double() * scale[:, None, None, None]
    bias = norm.bias.double() - norm.running_mean.double() * scale
    if convolution.bias is not None:
        bias = bias + convolution.bias.double() * scale
    return weight.float(), bias.float()
