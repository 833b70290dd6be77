import numpy as np
import pytest
import torch
from torch import nn

from automl.candidate import QuantizationPlan
from automl.compression.onnx.facts import graph_facts, layer_facts
from automl.compression.onnx.quantization import quantize_onnx
from tests.compression.onnx.graphs import graph
from tests.compression.onnx.networks import SmallCnn, SmallMlp, SmallRecurrent, exported, network_file


class Bottleneck(nn.Module):
    """As torchvision lays it out: 1x1, 3x3 with the stride, 1x1 to four times the width."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.downsample = nn.Sequential(nn.Conv2d(inputs, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width))
        if inputs == 4 * width and stride == 1:
            self.downsample = nn.Sequential()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))
        return torch.relu(self.bn3(self.conv3(y)) + self.downsample(x))


def resnet_50() -> nn.Module:
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for index in range(count):
            layers.append(Bottleneck(inputs, width, stride if index == 0 else 1))
            inputs = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000)).eval()


def test_resnet_50_has_its_known_parameters_and_multiply_adds():
    with torch.device("meta"):
        network = resnet_50()
    facts = graph_facts(exported(network.to_empty(device="cpu"), (1, 3, 224, 224)))  # counted, not run
    assert facts.parameters == 25_557_032
    assert facts.multiply_adds == 4_089_184_256


@pytest.mark.parametrize("kind", [SmallCnn, SmallMlp, SmallRecurrent])
def test_parameters_are_those_of_the_module(kind):
    facts = graph_facts(network_file(kind, clean=False))
    assert facts.parameters == sum(parameter.numel() for parameter in kind().parameters())


def test_layers_have_shapes_multiply_adds_and_bytes():
    layers = {layer.name: layer for layer in layer_facts(network_file(SmallCnn, clean=False))}
    stem, depthwise = layers["/stem/stem.0/Conv"], layers["/block/block.0/Conv"]
    assert (stem.shape, stem.parameters, stem.size_bytes) == ((1, 16, 16, 16), 432, 1728)
    assert stem.multiply_adds == 16 * 16 * 16 * 27
    assert depthwise.multiply_adds == 16 * 16 * 16 * 9
    assert layers["/Relu"].multiply_adds == layers["/Relu"].parameters == 0


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_recurrent_layers_count_every_step(kind):
    content = network_file(SmallRecurrent, kind=getattr(nn, kind))
    (layer,) = [layer for layer in layer_facts(content) if layer.kind == kind]
    gates = {"LSTM": 4, "GRU": 3}[kind]
    assert layer.multiply_adds == 12 * gates * 32 * (16 + 32)
    assert layer.parameters == gates * 32 * (16 + 32 + 2)


@pytest.mark.parametrize(
    ("pair", "options"),
    [
        ((8, 32), {}), ((4, 32), {}), ((16, 32), {}), ((8, 8), {}), ((8, 8), {"activations": "dynamic"}),
        ((4, 32), {"block": 32}),
    ],
)  # fmt: skip
def test_quantization_leaves_parameters_and_multiply_adds_as_they_are(pair, options):
    content = network_file(SmallMlp)
    plan = QuantizationPlan((pair[0],), (pair[1],), **options)
    quantized = quantize_onnx(content, plan, codes=None, stage_of=lambda _: 0, largest_code=64)
    before, after = graph_facts(content), graph_facts(quantized)
    assert (after.parameters, after.multiply_adds) == (before.parameters, before.multiply_adds)
    assert sum(layer.size_bytes for layer in layer_facts(quantized)) < 0.55 * before.size_bytes


def test_shared_constants_count_once():
    weight = np.ones((4, 4), np.float32)
    model = graph("g (float[1, 4] x) => (float[1, 4] y) { a = MatMul(x, w) y = MatMul(a, w) }", w=weight)
    assert [layer.parameters for layer in layer_facts(model.SerializeToString())] == [16, 0]
