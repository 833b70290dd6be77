import onnx
import pytest
import torch
from torch import nn

from automl.candidate import PruningPlan
from automl.compression.replacement import low_rank, replace_layers, saving_rank, separated
from automl.errors import InputError
from automl.evaluation.weights import count_multiply_adds
from automl.models.deployable import Chain
from automl.models.operations import Depthwise, DepthwiseSeparable
from tests.compression.small_networks import WIDTHS, cell_network, pixels
from tests.models.architectures import network_file
from tests.models.test_network_file import session_of


def plan(**fields):
    return PruningPlan(WIDTHS, **fields)


def error(layer, chain, x):
    with torch.inference_mode():
        return float((chain(x) - layer(x)).norm() / layer(x).norm())


LAYERS = {
    "linear": (nn.Linear(24, 16), torch.randn(5, 24)),
    "pointwise": (nn.Conv2d(24, 16, 1), torch.randn(2, 24, 5, 5)),
    "strided pointwise": (nn.Conv2d(24, 16, 1, 2, bias=False), torch.randn(2, 24, 5, 5)),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_low_rank_at_full_rank_changes_nothing(kind):
    layer, x = LAYERS[kind]
    chain = low_rank(layer, 16)
    assert len(chain) == 2
    assert error(layer, chain, x) < 1e-5


@pytest.mark.parametrize("kind", LAYERS)
def test_low_rank_is_nearer_the_higher_its_rank(kind):
    layer, x = LAYERS[kind]
    errors = [error(layer, low_rank(layer, rank), x) for rank in (2, 4, 8, 12, 15)]
    assert errors == sorted(errors, reverse=True)
    assert 0.02 < errors[-1] < errors[0] < 1


def test_low_rank_is_the_best_approximation_of_its_rank():
    layer, _ = LAYERS["linear"]
    first, last = low_rank(layer, 4)
    distance = (last.weight @ first.weight - layer.weight).norm() ** 2
    torch.testing.assert_close(distance, (torch.linalg.svdvals(layer.weight)[4:] ** 2).sum())


def test_separated_equals_a_dense_convolution_that_was_separable():
    depthwise, pointwise = nn.Conv2d(6, 6, 3, 2, 1, groups=6, bias=False), nn.Conv2d(6, 9, 1)
    dense = nn.Conv2d(6, 9, 3, 2, 1)
    with torch.no_grad():
        dense.weight.copy_(pointwise.weight * depthwise.weight.transpose(0, 1))
        dense.bias.copy_(pointwise.bias)
    x = torch.randn(2, 6, 7, 7)
    assert error(dense, separated(dense), x) < 1e-5
    assert error(nn.Sequential(depthwise, pointwise), separated(dense), x) < 1e-5


def test_separated_approximates_any_dense_convolution_better_than_its_middle_taps():
    layer, x = nn.Conv2d(6, 9, 3, padding=1, bias=False), torch.randn(2, 6, 7, 7)
    middle = nn.Conv2d(6, 9, 1, bias=False)
    with torch.no_grad():
        middle.weight.copy_(layer.weight[:, :, 1:2, 1:2])
    assert error(layer, separated(layer), x) < min(error(layer, middle, x), 1)


@pytest.mark.parametrize("geometry", [{"padding": 0}, {"padding": (1, 2), "dilation": 2}, {"stride": (2, 1)}])
def test_separated_keeps_every_geometry(geometry):
    layer, x = nn.Conv2d(4, 5, 3, **geometry), torch.randn(1, 4, 9, 9)
    assert separated(layer)(x).shape == layer(x).shape


@pytest.mark.parametrize(
    ("inputs", "outputs", "share", "rank"),
    [(64, 64, 0.1, 16), (64, 64, 0.5, None), (32, 32, 0.25, 8), (16, 16, 0.25, None), (256, 256, 0.4, 112)],
)
def test_saving_rank_is_aligned_and_saves(inputs, outputs, share, rank):
    assert saving_rank(inputs, outputs, share) == rank


@pytest.mark.parametrize("fields", [{"separable": True}, {"rank": 0.25}, {"separable": True, "rank": 0.25}])
def test_replaced_network_saves_multiply_adds_and_answers_alike(fields):
    network = cell_network()
    replaced = replace_layers(network, plan(**fields))
    assert count_multiply_adds(replaced) < 0.95 * count_multiply_adds(network)
    with torch.inference_mode():
        assert not torch.allclose(replaced(pixels(8)), network(pixels(8)), atol=1e-3)
        fresh = replace_layers(network, plan(**fields), are_trained=False).eval()
        answers, right, wrong = (one(pixels(64)) for one in (network, replaced, fresh))
    assert (right - answers).norm() < (wrong - answers).norm()


def test_a_rank_of_one_and_no_drops_leave_the_network_itself():
    network = cell_network()
    assert replace_layers(network, plan()) is network


def convolutions(network):
    content = network_file(network, [(32, 32)] * 3, codes=None, largest_code=127)
    graph = onnx.load_from_string(content).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    groups = [{a.name: a.i for a in node.attribute}.get("group", 1) for node in graph.node if node.op_type == "Conv"]
    return list(zip((shapes[node.input[1]] for node in graph.node if node.op_type == "Conv"), groups, strict=True))


def test_the_file_has_the_separated_layers():
    network = cell_network()
    before, after = convolutions(network), convolutions(replace_layers(network, plan(separable=True)))
    dense = [(shape, groups) for shape, groups in before if shape[2:] == (3, 3) and groups == 1 and shape[1] > 1]
    assert len(dense) == 3  # conv_3x3 of each cell
    assert not set(dense) & set(after)
    assert len(after) == len(before) + len(dense)
    assert after.count(((16, 1, 3, 3), 16)) == before.count(((16, 1, 3, 3), 16)) + 1
    assert ((8, 1, 3, 3), 1) in after  # the stem over the pixels stays


def test_the_file_has_the_factorised_layers():
    network = cell_network()
    before, after = convolutions(network), convolutions(replace_layers(network, plan(rank=0.25)))
    wide = [shape for shape, _ in before if shape[2:] == (1, 1) and 8 * (shape[0] + shape[1]) < shape[0] * shape[1]]
    assert wide
    assert not set(wide) & {shape for shape, _ in after}
    assert len(after) == len(before) + len(wide)


@pytest.mark.parametrize("fields", [{"separable": True}, {"rank": 0.25}, {"separable": True, "rank": 0.25}])
def test_the_file_answers_as_the_replaced_network(fields):
    replaced = replace_layers(cell_network(), plan(**fields, dropped=("normal.1_0",)))
    content = network_file(replaced, [(32, 32)] * 3, codes=None, largest_code=127, batch=8)
    with torch.inference_mode():
        expected = replaced(pixels(8)).numpy()
    (got,) = session_of(content).run(None, {"pixels": pixels(8).numpy()})
    assert abs(got - expected).max() <= 1e-5 * max(1, abs(expected).max())


def test_replaced_network_trains_on_and_loses_channels():
    network = replace_layers(cell_network(), plan(separable=True, rank=0.25)).train()
    network(pixels(8)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    narrow = network.narrowed({group: torch.arange(width // 2) for group, width in network.group_widths().items()})
    assert narrow(pixels(8)).shape == (8, 10)
    kinds = [[type(layer) for layer in module] for module in narrow.modules() if isinstance(module, Chain)]
    assert [Depthwise, nn.Conv2d] in kinds
    assert [nn.Conv2d, nn.Conv2d] in kinds


def test_layers_of_a_chain_are_not_replaced_again():
    once = replace_layers(cell_network(), plan(separable=True, rank=0.25))
    assert replace_layers(once, plan(separable=True, rank=0.25)) is once


def test_separable_operations_stay_as_they_are():
    network = replace_layers(cell_network(), plan(separable=True))
    operations = [module for module in network.modules() if isinstance(module, DepthwiseSeparable)]
    assert operations
    assert not any(isinstance(module.pointwise.convolution, Chain) for module in operations)


@pytest.mark.parametrize("rank", [0.0, -0.5, 1.5])
def test_impossible_ranks_are_refused(rank):
    with pytest.raises(ValueError, match=f"the rank must be above 0 and at most 1 of the full one, but got {rank:g}"):
        replace_layers(cell_network(), plan(rank=rank))


def test_unknown_drops_are_refused():
    with pytest.raises(InputError, match=r"pruning\.drop must be one of normal\.0_0, .* but got 'normal\.3_0'"):
        replace_layers(cell_network(), plan(dropped=("normal.3_0",)))
