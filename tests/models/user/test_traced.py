from __future__ import annotations

import collections
import copy

import numpy as np
import pytest
import torch
from torch import nn

from automl.candidate import PruningPlan, QuantizationPlan
from automl.compression.pruning import nominal_structure, prune_network
from automl.compression.quantization import calibrate
from automl.compression.replacement import replace_layers
from automl.errors import InputError
from automl.models.deployable import INPUT, Task
from automl.models.user.traced import PREFIX, TracedModel
from automl.models.zoo.resnet import BasicBlock, ResNet, resnet50
from tests.models.user.user_networks import COLOUR, Concatenating, Gated, Grouped, Nested, inverted, pictures, settled

PIXELS = pictures(32, seed=1)
IN_INTEGERS = {
    "Cast", "Transpose", "Reshape", "Sub", "Div", "QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearAdd",
    "QLinearGlobalAveragePool", "MaxPool", "Flatten", "QGemm",
}  # fmt: skip


def residual() -> nn.Module:
    return ResNet(BasicBlock, (2, 1, 1), width=16, classes=5, channels=3, image_size=16)


def traced(build=residual, task: Task = COLOUR, stages: tuple[str, ...] | None = None) -> TracedModel:
    torch.manual_seed(0)
    return TracedModel(settled(build(), task.channels), task, stages).eval()


def plan_of(network: TracedModel, weights: int, activations: int) -> QuantizationPlan:
    stages = len(network.stage_ends())
    return QuantizationPlan((weights,) * stages, (activations,) * stages)


def open_file(content: bytes, optimised_to: str = ""):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if optimised_to:
        options.optimized_model_filepath = optimised_to
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def answers(content: bytes, pixels: np.ndarray = PIXELS) -> np.ndarray:
    return open_file(content).run(None, {INPUT: pixels})[0]


def of_torch(network: nn.Module, pixels: np.ndarray = PIXELS) -> np.ndarray:
    with torch.inference_mode():
        return network(torch.from_numpy(pixels)).numpy()


def float_file(network: TracedModel, batch: int = len(PIXELS)) -> bytes:
    return network.write(plan_of(network, 32, 32), codes=None, largest_code=127, batch=batch)


@pytest.mark.parametrize("build", [residual, inverted, Gated, Concatenating, Grouped, Nested])
def test_float_file_answers_as_torch(build):
    network = traced(build)
    expected = of_torch(network)
    assert np.abs(expected - expected[0]).max() > 1e-3  # the images matter
    assert np.abs(answers(float_file(network)) - expected).max() <= 1e-5 * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("build", [residual, inverted])
def test_integer_file_has_no_float_islands(build, tmp_path):
    import onnx

    network = traced(build)
    plan = plan_of(network, 8, 8)
    codes = calibrate(network, PIXELS, plan)
    content = network.write(plan, codes=codes, largest_code=64, batch=len(PIXELS))
    session = open_file(content, str(tmp_path / "optimised.onnx"))
    kinds = collections.Counter(node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node)
    assert set(kinds) <= IN_INTEGERS and kinds["QuantizeLinear"] == 1 and kinds["DequantizeLinear"] == 0
    agreement = session.run(None, {INPUT: PIXELS})[0].argmax(1) == of_torch(network).argmax(1)
    assert agreement.mean() >= 0.8


def test_each_stage_has_its_own_precision():
    network = traced()
    bits = QuantizationPlan((32, 8, 32), (32, 8, 32))
    mixed = network.write(bits, codes=None, largest_code=127, batch=1)
    assert len(network.stage_ends()) == 3
    assert len(network.write(plan_of(network, 8, 8), codes=None, largest_code=127, batch=1)) < len(mixed)
    assert len(mixed) < len(float_file(network, 1))


def test_stages_can_be_named():
    network = traced(stages=("conv1", "layer1.1"))
    assert network.stage_ends() == (f"{PREFIX}layer1.0", f"{PREFIX}layer3")
    assert network.group_stages()["layer1.0.conv1"] == 0 and network.group_stages()["layer1.1.conv1"] == 1
    for end in network.stage_ends():
        network.get_submodule(end)


def test_grey_pixels_have_no_channel_axis():
    task = Task((16, 16), 5, (100.0,), (50.0,))
    network = traced(lambda: ResNet(BasicBlock, (1, 1), width=4, classes=5, channels=1, image_size=16), task)
    grey = PIXELS[..., 0]
    assert np.abs(answers(float_file(network), grey) - of_torch(network, grey)).max() < 1e-5


def test_pruned_network_is_smaller_in_parameters_work_and_file():
    network = traced()
    widths = tuple(width // 2 for width in network.group_widths().values())
    small = prune_network(network, widths).eval()
    assert small.group_widths() == dict(zip(network.group_widths(), widths, strict=True))
    assert sum(p.numel() for p in small.parameters()) < 0.3 * sum(p.numel() for p in network.parameters())
    assert len(float_file(small)) < 0.35 * len(float_file(network))
    assert multiply_adds(small) < 0.4 * multiply_adds(network)
    assert np.abs(answers(float_file(small)) - of_torch(small)).max() < 1e-5


def test_half_of_resnet50_is_physically_gone():
    task = Task((64, 64, 3), 1000, (120.0,) * 3, (60.0,) * 3)
    network = TracedModel(resnet50(1000, 3, 64).eval(), task)
    whole = sum(p.numel() for p in network.parameters())
    kept = tuple(round(width * 0.7 / 16) * 16 for width in network.group_widths().values())
    small = nominal_structure(network, PruningPlan(kept)).eval()
    assert whole == 25_557_032 and sum(p.numel() for p in small.parameters()) < 0.51 * whole
    assert len(float_file(small, 1)) < 4.1 * 0.51 * whole
    assert multiply_adds(small) < 0.55 * multiply_adds(network)


def multiply_adds(network: TracedModel) -> int:
    return sum(
        int(np.prod(step.shape)) * layer.weight[0].numel()
        for step in network.steps
        if isinstance(layer := network.own_module().get_submodule(step.module), nn.Conv2d | nn.Linear)
    )


def test_pruned_network_can_be_pruned_again():
    network = traced()
    widths = np.array(list(network.group_widths().values()))
    once = prune_network(network, tuple(widths * 3 // 4))
    twice = prune_network(once, tuple(widths // 2)).eval()
    assert tuple(twice.group_widths().values()) == tuple(widths // 2)
    assert np.abs(answers(float_file(twice)) - of_torch(twice)).max() < 1e-5


def test_nominal_structure_is_the_graph_of_the_pruned_network():
    network = traced()
    plan = PruningPlan(tuple(width // 2 for width in network.group_widths().values()), dropped=("layer1.1",))
    nominal = nominal_structure(network, plan)
    trained = replace_layers(prune_network(network, plan.kept_widths), plan)
    assert len(float_file(nominal)) == len(float_file(trained))
    assert [step.shape for step in nominal.steps] == [step.shape for step in trained.steps]


def test_without_makes_a_block_the_identity():
    network = traced()
    shorter = network.without(["layer1.1"]).eval()
    assert network.droppable() == ("layer1.0", "layer1.1") and shorter.droppable() == ("layer1.0",)
    assert len(shorter.steps) == len(network.steps) - 3
    by_hand = copy.deepcopy(network.own_module())
    by_hand.layer1[1] = nn.Identity()
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(shorter.own_module()(images), by_hand.eval()(images))
    assert np.abs(answers(float_file(shorter)) - of_torch(shorter)).max() < 1e-5


def test_without_leaves_the_other_groups_their_widths():
    network = traced()
    shorter = network.without(["layer1.1"])
    kept = tuple(width // 2 for width in network.group_widths().values())
    assert "layer1.1.conv1" not in shorter.group_widths()
    assert shorter.groups_kept(kept)["layer2.0.conv1"] == 16
    assert prune_network(shorter, kept).group_widths() == shorter.groups_kept(kept)


@pytest.mark.parametrize("name", ["layer2.0", "conv1", "nothing"])
def test_without_refuses_what_is_no_identity_block(name):
    with pytest.raises(InputError, match=rf"identity: layer1.0, layer1.1, but got {name}"):
        traced().without([name])


@pytest.mark.parametrize("plan", [{"separable": True}, {"rank": 0.25}])
def test_with_chains_writes_what_it_computes(plan):
    network = traced(lambda: ResNet(BasicBlock, (1, 1), width=32, classes=5, channels=3, image_size=16))
    names = list(network.group_widths())
    replaced = replace_layers(network, PruningPlan(tuple(network.group_widths().values()), **plan)).eval()
    assert len(replaced.steps) > len(network.steps)
    assert len(float_file(replaced)) < len(float_file(network))
    assert list(replaced.group_widths()) == names
    assert np.abs(answers(float_file(replaced)) - of_torch(replaced)).max() < 1e-5


def test_groups_kept_refuses_another_number_of_widths():
    with pytest.raises(ValueError, match="this model keeps 7 widths, one a group, but got 2"):
        traced().groups_kept((8, 8))


def test_strided_projection_of_few_channels_trains_in_the_plain_layout():
    assert traced(Concatenating).body.layout == torch.contiguous_format
    assert traced().body.layout == torch.channels_last
    network = traced(Concatenating).train()
    for _ in range(3):  # in channels_last torch's gradient of it writes past its memory
        network(torch.from_numpy(PIXELS)).sum().backward()


def test_training_reaches_every_parameter():
    network = traced().train()
    torch.nn.functional.cross_entropy(network(torch.from_numpy(PIXELS)), torch.arange(32) % 5).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
