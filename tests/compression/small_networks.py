"""Small networks with known answers, and evidence for them, that tests of pruning share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import nn

from automl.candidate import Cell, Edge, Genotype
from automl.compression.criteria import Evidence
from automl.models.deployable import Axis, Deployable
from automl.models.network import Network
from tests.models.architectures import GREY_TASK

OPERATIONS = ("conv_3x3", "skip_connect", "sep_conv_3x3", "max_pool_3x3")
WIDTHS = (8, 16, 32)


def cell_network(seed: int = 0, operations: tuple[str, ...] = OPERATIONS) -> Network:
    """Return a network of three cells of two nodes, whose norms are not the initial ones and have seen data."""
    torch.manual_seed(seed)
    pairs = zip(operations[::2], operations[1::2], ((0, 1), (1, 2)), strict=True)
    one = Cell(tuple((Edge(a, left), Edge(b, right)) for a, b, (left, right) in pairs), (2, 3))
    network = Network(Genotype(one, one, 3, 8), WIDTHS, GREY_TASK)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.3)
        for _ in range(3):
            network.train()(pixels(32))
    return network.eval()


def pixels(count: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 17, (count, 8, 8), dtype=np.uint8))


def evidence(network: Deployable, count: int = 128, seed: int = 0) -> Evidence:
    """Return images with the network's own answers as labels: whatever changes the answers costs loss."""
    train, validation = pixels(count, 1), pixels(count, 2)
    with torch.inference_mode():
        labels = [network.eval()(part).argmax(dim=1).numpy() for part in (train, validation)]
    return Evidence(train.numpy(), labels[0], validation.numpy(), labels[1], seed)


class Perceptron(Deployable):
    """Two linear layers over 8x8 pixels: a network that is not ours, with one group of channels and no norm."""

    def __init__(self, hidden: int = 8) -> None:
        super().__init__()
        self.task = GREY_TASK
        self.first, self.second = nn.Linear(64, hidden), nn.Linear(hidden, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.relu(self.first((x.float() - 8).flatten(1) / 8)))

    def coupled_axes(self) -> Iterator[Axis]:
        yield from (Axis("first.weight", 0, "hidden", 1), Axis("first.bias", 0, "hidden", 1))
        yield Axis("second.weight", 1, "hidden", 1)

    def group_widths(self) -> dict[str, int]:
        return {"hidden": self.first.out_features}

    def groups_kept(self, kept_widths: Sequence[int]) -> dict[str, int]:
        return {"hidden": kept_widths[0]}

    def narrowed(self, kept: Mapping[str, torch.Tensor]) -> Perceptron:
        narrow = Perceptron(len(kept["hidden"]))
        state = self.state_dict()
        for axis in self.coupled_axes():
            state[axis.parameter] = state[axis.parameter].index_select(axis.axis, kept["hidden"])
        narrow.load_state_dict(state)
        return narrow
