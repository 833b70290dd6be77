"""Tell a writer the steps of a traced network, batch normalisation folded into the layer before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from automl.models.user.reading import CONVOLUTION
from automl.models.user.steps import Step
from automl.models.writer import Tensor, Writer

Layers = Mapping[str, nn.Module]


def emit_steps(
    writer: Writer, steps: Sequence[Step], layers: Layers, image: Callable[[], Tensor],
    precisions: Sequence[tuple[int, int]], stages: Mapping[str, int],
) -> Any:  # fmt: skip
    """Tell the writer every step and return the logits.

    Args:
        writer: of a graph, or one that rehearses it.
        steps: the input first, the linear classifier last.
        layers: by dotted path.
        image: adds the normalised input.
        precisions: (weight bits, activation bits) by stage.
        stages: the stage of each step, by its name.
    """
    writer.precision = precisions[0]
    values = {steps[0].name: image()}
    for step in steps[1:-1]:
        writer.precision = precisions[stages[step.name]]
        values[step.name] = _EMITTERS[step.kind](writer, step, [values[name] for name in step.inputs], layers)
    last = steps[-1]
    writer.precision = precisions[stages[last.name]]
    return writer.logits(values[last.inputs[0]], *_linear_parameters(last, layers))


def scale_and_shift(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what a batch normalisation multiplies with and adds in evaluation, a value a channel, in float64."""
    assert norm.running_var is not None and norm.running_mean is not None
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return scale, norm.bias.double() - norm.running_mean.double() * scale


def folded_parameters(
    layer: nn.Conv2d | nn.Linear, norm: nn.BatchNorm1d | nn.BatchNorm2d | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return weight and bias of the layer that does both (Jacob et al., 2018, eq. 14), in float32."""
    if norm is None:
        return layer.weight.float(), None if layer.bias is None else layer.bias.float()
    scale, shift = scale_and_shift(norm)
    weight = layer.weight.double() * scale.reshape(-1, *[1] * (layer.weight.ndim - 1))
    bias = shift if layer.bias is None else shift + layer.bias.double() * scale
    return weight.float(), bias.float()


def _norm_of(step: Step, layers: Layers) -> nn.BatchNorm1d | nn.BatchNorm2d | None:
    norm = layers[step.norm] if step.norm else None
    assert norm is None or isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    return norm


def _linear_parameters(step: Step, layers: Layers) -> tuple[torch.Tensor, torch.Tensor | None]:
    layer = layers[step.module]
    assert isinstance(layer, nn.Linear)
    return folded_parameters(layer, _norm_of(step, layers))


def _convolution(writer: Writer, step: Step, inputs: Sequence[Tensor], layers: Layers) -> Tensor:
    layer = layers[step.module]
    assert isinstance(layer, nn.Conv2d)
    weight, bias = folded_parameters(layer, _norm_of(step, layers))
    return writer.convolution(
        inputs[0], weight, bias, step.name, stride=layer.stride, padding=step.settings["padding"],
        dilation=layer.dilation, groups=layer.groups, activation=step.activation,
    )  # fmt: skip


def _linear(writer: Writer, step: Step, inputs: Sequence[Tensor], layers: Layers) -> Tensor:
    weight, bias = _linear_parameters(step, layers)
    return writer.linear(inputs[0], weight, bias, step.name, activation=step.activation)


def _norm(writer: Writer, step: Step, inputs: Sequence[Tensor], layers: Layers) -> Tensor:
    """Add a normalisation that no layer comes before as a depthwise 1x1 convolution."""
    norm = layers[step.module]
    assert isinstance(norm, nn.BatchNorm2d)
    scale, shift = scale_and_shift(norm)
    weight = scale.float().reshape(-1, 1, 1, 1)
    return writer.convolution(
        inputs[0], weight, shift.float(), step.name, groups=len(weight), activation=step.activation
    )


def _max_pool(writer: Writer, step: Step, inputs: Sequence[Tensor], _: Layers) -> Tensor:
    return writer.max_pool(inputs[0], step.name, **step.settings)


def _average_pool(writer: Writer, step: Step, inputs: Sequence[Tensor], _: Layers) -> Tensor:
    return writer.average_pool(inputs[0], step.name, **step.settings)


def _full_pool(writer: Writer, step: Step, inputs: Sequence[Tensor], _: Layers) -> Tensor:
    side = int(step.settings["side"])
    return writer.average_pool(inputs[0], step.name, kernel=side, stride=side, padding=0)


def _global_average_pool(writer: Writer, step: Step, inputs: Sequence[Tensor], _: Layers) -> Tensor:
    return writer.global_average_pool(inputs[0], step.name)


def _flatten(writer: Writer, step: Step, inputs: Sequence[Tensor], _: Layers) -> Tensor:
    return writer.flatten(inputs[0], step.name)


def _add(writer: Writer, step: Step, inputs: Sequence[Tensor], _: Layers) -> Tensor:
    return writer.add(inputs[0], inputs[1], step.name, activation=step.activation)


def _multiply(writer: Writer, step: Step, inputs: Sequence[Tensor], _: Layers) -> Tensor:
    first, second = (1, 0) if step.settings["gate_first"] else (0, 1)
    return writer.multiply(inputs[first], inputs[second], step.name)


def _activation(writer: Writer, step: Step, inputs: Sequence[Tensor], _: Layers) -> Tensor:
    return writer.activate(inputs[0], step.settings["activation"], step.name)


def _concatenate(writer: Writer, step: Step, inputs: Sequence[Tensor], _: Layers) -> Tensor:
    return writer.concatenate(inputs, step.name)


_EMITTERS: Mapping[str, Callable[[Writer, Step, Sequence[Tensor], Layers], Tensor]] = {
    CONVOLUTION: _convolution,
    "linear": _linear,
    "norm": _norm,
    "max_pool": _max_pool,
    "average_pool": _average_pool,
    "full_pool": _full_pool,
    "global_average_pool": _global_average_pool,
    "flatten": _flatten,
    "add": _add,
    "multiply": _multiply,
    "activation": _activation,
    "concatenate": _concatenate,
}
