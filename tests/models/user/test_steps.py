from __future__ import annotations

import pytest
import torch
from torch import nn

from automl.models.user.steps import read_steps
from automl.models.user.tracing import UntraceableError
from automl.models.zoo.resnet import residual_student
from tests.models.user.user_networks import Branching, Concatenating, Gated, Leaky

SHAPE = (3, 16, 16)


def body(*layers: nn.Module, features: int = 4) -> nn.Sequential:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, 2))


def test_read_steps_joins_norms_and_activations_to_what_they_follow():
    steps = {step.name: step for step in read_steps(residual_student(5), SHAPE)}
    assert (steps["conv1"].norm, steps["conv1"].activation) == ("bn1", "relu")
    assert (steps["add"].kind, steps["add"].activation) == ("add", "relu")
    assert steps["avgpool"].kind == "global_average_pool"
    assert not {"norm", "activation", "identity"} & {step.kind for step in steps.values()}


def test_read_steps_knows_functions_methods_and_modules_alike():
    kinds = [step.kind for step in read_steps(Gated(), SHAPE)]
    assert kinds == [
        "input", "convolution", "convolution", "full_pool", "convolution", "convolution", "multiply", "convolution",
        "global_average_pool", "linear",
    ]  # fmt: skip


def test_read_steps_keeps_a_norm_that_follows_no_layer():
    kinds = [step.kind for step in read_steps(Concatenating(), SHAPE)]
    assert "norm" in kinds and "concatenate" in kinds and "flatten" in kinds


def test_read_steps_leaves_the_mode_as_it_is():
    module = Gated().train()
    read_steps(module, SHAPE)
    assert module.training and module.norm.training


def test_read_steps_names_layer_and_line_of_what_it_cannot_write():
    with pytest.raises(UntraceableError, match=r"act \(.*user_networks.py line \d+\) must be .* LeakyReLU"):
        read_steps(Leaky(), SHAPE)


def test_read_steps_names_the_line_that_depends_on_values():
    with pytest.raises(UntraceableError, match=r"user_networks.py line \d+ must be traceable .* control flow"):
        read_steps(Branching(), SHAPE)


class OverwritesWhatIsReadAgain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        return self.head((x + self.second(self.relu(x))).mean([2, 3]))


@pytest.mark.parametrize(
    ("module", "got"),
    [
        (OverwritesWhatIsReadAgain(), "in place whose input is read again"),
        (body(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2, ceil_mode=True)), "ceil_mode"),
        (body(nn.Conv2d(3, 4, 3), nn.AvgPool2d(3, 1, 1)), "counts its padding"),
        (body(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")), "padded with reflect"),
        (body(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)), "without running statistics"),
        (body(nn.Conv2d(3, 4, 3), nn.GELU("tanh")), "approximated GELU"),
        (nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), "last layer must be linear"),
        (nn.Sequential(body(nn.Conv2d(3, 4, 3)), nn.Softmax(1)), "Softmax"),
    ],
)  # fmt: skip
def test_read_steps_refuses_what_would_answer_otherwise(module: nn.Module, got: str):
    with pytest.raises(UntraceableError, match=got):
        read_steps(module, SHAPE)


def test_read_steps_collects_every_fault():
    with pytest.raises(UntraceableError) as caught:
        read_steps(body(nn.Conv2d(3, 4, 3), nn.ELU(), nn.Mish()), SHAPE)
    assert len(caught.value.faults) == 2
