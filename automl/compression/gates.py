"""Gates on the channels of coupled groups: a factor for each channel, seen by everything that reads it.

A gate multiplies the channel's slice of every weight that reads the group (`Axis.axis` of at least 1). All mixing of
channels happens in those weights, so a gate at 0 removes exactly the channel, whatever pools, norms, depthwise
convolutions and sums of states lie between, and the gradient at 1 is the first-order change of the loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch.func import functional_call
from torch.nn import functional

from automl.models.deployable import Axis, Deployable

BATCH = 64


@dataclass(frozen=True)
class Evidence:
    """What a criterion may look at: a sample of the training set, one of the validation set, and a seed.

    `pixels` are raw samples as the network takes them (`n x` the input shape), `labels` is `n` (int64).
    """

    pixels: np.ndarray
    labels: np.ndarray
    validation_pixels: np.ndarray
    validation_labels: np.ndarray
    seed: int


def by_channel(value: torch.Tensor, axis: Axis, width: int) -> torch.Tensor:
    """Return a weight as `width x` everything of it that belongs to one channel of the axis' group."""
    runs = value.movedim(axis.axis, 0).reshape(axis.blocks, width, axis.repeat, -1)
    return runs.transpose(0, 1).reshape(width, -1)


def open_gates(network: Deployable) -> dict[str, torch.Tensor]:
    """Return a gate of 1 for every channel by coupled group."""
    kind = next(network.parameters()).dtype
    return {group: torch.ones(width, dtype=kind) for group, width in network.group_widths().items()}


def gated_loss(
    network: Deployable, gates: Mapping[str, torch.Tensor], pixels: np.ndarray, labels: np.ndarray
) -> torch.Tensor:
    """Return the cross entropy of the network behind its gates; gradients reach the gates only."""
    weights = {name: value.detach() for name, value in network.named_parameters()}
    for axis in network.coupled_axes():
        if axis.axis > 0 and axis.parameter in weights:
            value = weights[axis.parameter]
            gate = gates[axis.group].repeat_interleave(axis.repeat).repeat(axis.blocks)
            weights[axis.parameter] = value * gate.view(-1, *[1] * (value.ndim - 1 - axis.axis))
    logits = functional_call(network, weights, (torch.from_numpy(pixels),))
    return functional.cross_entropy(logits, torch.from_numpy(labels))


def mean_loss(
    network: Deployable, gates: Mapping[str, torch.Tensor], pixels: np.ndarray, labels: np.ndarray, batch: int = 256
) -> float:
    """Return the mean cross entropy over all samples, without gradients."""
    with torch.no_grad():
        parts = [
            gated_loss(network, gates, pixels[i : i + batch], labels[i : i + batch]) * len(labels[i : i + batch])
            for i in range(0, len(labels), batch)
        ]
    return float(sum(parts)) / len(labels)


@contextmanager
def evaluating(network: Deployable) -> Iterator[None]:
    """Put the network in evaluation mode, its norms at their running statistics, and back."""
    before = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(before)
