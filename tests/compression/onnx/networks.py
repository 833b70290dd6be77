"""Small real networks as ONNX files, exported by torch as users do it."""

from __future__ import annotations

import io
import warnings
from functools import cache

import numpy as np
import onnx
import torch
from torch import nn

from automl.compression.onnx.optimisation import optimised


class SmallCnn(nn.Module):
    """Normalised convolutions with a residual sum, a depthwise one, a pool and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.block = nn.Sequential(
            nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False), nn.BatchNorm2d(16), nn.ReLU6()
        )
        self.project = nn.Conv2d(16, 16, 1)
        self.head = nn.Sequential(nn.MaxPool2d(2), nn.Dropout(0.2))
        self.classifier = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = torch.relu(self.project(self.block(x)) + x)
        return self.classifier(self.head(x).mean((2, 3)))


class SmallMlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(64, 128), nn.Linear(128, 128), nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.second(torch.relu(self.first(x)))))


class SmallRecurrent(nn.Module):
    """A recurrent layer over 12 steps of 16 numbers, its last state, a classifier."""

    def __init__(self, kind: type[nn.Module] = nn.LSTM) -> None:
        super().__init__()
        self.recurrent = kind(16, 32, batch_first=True)
        self.classifier = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.recurrent(x)[0][:, -1])


SHAPES = {SmallCnn: (3, 16, 16), SmallMlp: (64,), SmallRecurrent: (12, 16)}


def lively(module: nn.Module) -> nn.Module:
    """Return the module in inference with running statistics that are not the initial ones."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for value, low, high in ((layer.running_mean, -0.5, 0.5), (layer.running_var, 0.5, 2.0)):
                nn.init.uniform_(value, low, high)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.uniform_(layer.bias, -0.5, 0.5)
    return module.eval()


def exported(module: nn.Module, shape: tuple[int, ...]) -> bytes:
    """Return the file of the module as torch writes it, batch normalisation and dropout in place."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (torch.zeros(shape),), buffer, dynamo=False, input_names=["pixels"], output_names=["logits"],
            opset_version=20, do_constant_folding=False, training=torch.onnx.TrainingMode.PRESERVE,
        )  # fmt: skip
    return buffer.getvalue()


@cache
def network_file(network: type[nn.Module], batch: int = 1, *, clean: bool = True, **settings: object) -> bytes:
    torch.manual_seed(0)
    content = exported(lively(network(**settings)), (batch, *SHAPES[network]))
    return optimised(content) if clean else content


def samples(kind: type[nn.Module], count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, *SHAPES[kind])).astype(np.float32)


def kinds(content: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(content).graph.node]
