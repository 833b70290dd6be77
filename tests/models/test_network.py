import numpy as np
import pytest
import torch
from torch import nn

from automl.candidate import Cell, Edge, Genotype
from automl.errors import InputError
from automl.models.deployable import Chain
from automl.models.network import Network, build_network
from tests.models.architectures import EVERY_OPERATION, GREY_TASK, candidate, cell, network_file
from tests.models.test_network_file import images, network_for, optimized_graph, session_of


def test_build_network_is_narrow_where_pruned_and_full_before():
    chosen = candidate(kept=(8, 8, 16))
    assert build_network(chosen, GREY_TASK, pruned=True).widths == (8, 8, 16)
    assert build_network(chosen, GREY_TASK, pruned=False).widths == (8, 16, 32)


def test_network_leaves_out_unreachable_nodes():
    chosen = candidate()
    whole = Network(chosen.genotype, (8, 16, 32), GREY_TASK)
    lonely = cell(concat=(2,))
    genotype = type(chosen.genotype)(lonely, lonely, 3, 8)
    small = Network(genotype, (8, 16, 32), GREY_TASK)
    assert len(small.cells[0].edges) == 2
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in whole.parameters())


@pytest.mark.parametrize(("side", "halved"), [(27, 1), (28, 2)])
def test_stem_strides_from_28_pixels_up(side, halved):
    task = type(GREY_TASK)((side, side), 10, (0.0,), (1.0,))
    network = build_network(candidate(), task, pruned=True)
    assert network.stem.convolution.stride[0] == halved


def test_coupled_axes_cover_every_axis_of_every_weight():
    network = build_network(candidate(), GREY_TASK, pruned=True)
    widths = network.group_widths()
    state = network.state_dict()
    for axis in network.coupled_axes():
        if axis.parameter in state:
            assert state[axis.parameter].shape[axis.axis] == widths[axis.group] * axis.blocks
    named = {(axis.parameter, axis.axis) for axis in network.coupled_axes()}
    convolutions = [name for name, value in network.named_parameters() if value.ndim == 4 and value.shape[1] > 1]
    assert {(name, 1) for name in convolutions if name != "stem.convolution.weight"} <= named
    assert {(name, 0) for name, value in network.named_parameters() if "classifier" not in name} <= named


def test_forward_takes_raw_pixels_of_both_layouts():
    grey = build_network(candidate(), GREY_TASK, pruned=True)
    assert grey(torch.zeros(2, 8, 8, dtype=torch.uint8)).shape == (2, 10)
    colour = build_network(candidate(), type(GREY_TASK)((8, 8, 3), 4, (0.0,) * 3, (1.0,) * 3), pruned=True)
    assert colour(torch.zeros(2, 8, 8, 3, dtype=torch.uint8)).shape == (2, 4)


DROPS = [
    ("normal.0_1",),
    ("normal.1_0", "reduction.1_1"),
    ("normal.2_1", "normal.3_0", "reduction.0_0", "reduction.2_0"),
]


def answers(network, pixels):
    with torch.inference_mode():
        return network(torch.from_numpy(pixels)).numpy()


def file_answers(network, pixels):
    content = network_file(network, [(32, 32)] * 3, codes=None, largest_code=127, batch=len(pixels))
    return session_of(content).run(None, {"pixels": pixels})[0]


@pytest.mark.parametrize("dropped", DROPS)
@pytest.mark.parametrize("operations", [EVERY_OPERATION, EVERY_OPERATION[::-1]])
def test_the_file_of_a_network_without_edges_answers_as_torch(dropped, operations):
    network = network_for((8, 8), operations).without(dropped)
    pixels = images((8, 8), 4)
    np.testing.assert_allclose(file_answers(network, pixels), answers(network, pixels), atol=1e-5)


def test_without_an_edge_is_the_network_whose_edge_gives_nothing():
    """Silence side 0 of node 1 in the normal cell: relu(0 + other) is what the smaller network computes."""
    network, pixels = network_for((8, 8), ("conv_3x3",) * 8), images((8, 8), 4)
    smaller = network.without(("normal.1_0",))
    before = answers(network, pixels)
    with torch.no_grad():
        norm = network.cells[0].edges["1_0"].norm  # cell 0 is the one normal cell of three
        norm.weight.zero_()
        norm.bias.zero_()
    np.testing.assert_allclose(answers(smaller, pixels), answers(network, pixels), atol=1e-5)
    assert abs(answers(smaller, pixels) - before).max() > 1e-3


def test_without_removes_the_edge_from_every_cell_of_its_kind_only():
    network = network_for((8, 8))
    smaller = network.without(("reduction.2_1",))
    assert ["2_1" in cell.edges for cell in smaller.cells] == [True, False, False]
    assert all("2_1" in cell.edges for cell in network.cells)
    assert smaller.dropped == ("reduction.2_1",)
    assert smaller.without(("normal.0_0",)).dropped == ("normal.0_0", "reduction.2_1")


def test_without_removes_what_nothing_reads_any_more():
    """Node 0 is read by side 0 of node 1 alone, the cell before last by side 0 of node 0 alone."""
    one = Cell(((Edge("conv_3x3", 0), Edge("conv_3x3", 1)), (Edge("conv_3x3", 2), Edge("conv_3x3", 1))), (3,))
    network = Network(Genotype(one, one, 3, 8), (8, 16, 32), GREY_TASK)
    smaller = network.without(("normal.1_0",))
    assert set(smaller.cells[0].edges) == {"1_1"}
    assert smaller.cells[0].before_last is None
    assert smaller.cells[1].before_last is not None
    assert not [axis for axis in smaller.coupled_axes() if axis.parameter.startswith("cells.0.before_last")]
    kinds = [type(module) for module in smaller.cells[0].modules()]
    assert kinds.count(nn.Conv2d) == 2  # the projection of the last state, and the edge


def test_dropping_and_narrowing_give_the_same_network_in_either_order():
    network, pixels = network_for((8, 8)), images((8, 8), 4)
    kept = {group: torch.arange(0, width, 2) for group, width in network.group_widths().items()}
    first, second = network.without(DROPS[2]).narrowed(kept), network.narrowed(kept).without(DROPS[2])
    assert first.state_dict().keys() == second.state_dict().keys()
    np.testing.assert_array_equal(answers(first, pixels), answers(second, pixels))
    assert first.widths == (4, 8, 16)


@pytest.mark.parametrize("name", build_network(candidate(), GREY_TASK, pruned=True).droppable())
def test_every_droppable_edge_can_be_dropped(name):
    smaller = build_network(candidate(), GREY_TASK, pruned=True).without((name,))
    assert name not in smaller.droppable()
    assert smaller(torch.zeros(2, 8, 8, dtype=torch.uint8)).shape == (2, 10)


def test_droppable_names_every_edge_that_stands():
    network = build_network(candidate(), GREY_TASK, pruned=True)
    assert network.droppable() == tuple(
        f"{kind}.{node}_{side}" for kind in ("normal", "reduction") for node in range(4) for side in (0, 1)
    )


@pytest.mark.parametrize(
    ("dropped", "message"),
    [
        (("normal.4_0",), r"pruning.drop must be one of normal.0_0, .* but got 'normal.4_0'"),
        (("cells.1",), "but got 'cells.1'"),
        (("normal.1_0", "normal.1_1"), "must be one edge of a node, but got both of node normal.1"),
    ],
)
def test_without_refuses_what_cannot_go(dropped, message):
    with pytest.raises(InputError, match=message):
        build_network(candidate(), GREY_TASK, pruned=True).without(dropped)


def test_without_refuses_a_node_s_other_edge_later():
    smaller = build_network(candidate(), GREY_TASK, pruned=True).without(("normal.1_0",))
    assert "normal.1_1" not in smaller.droppable()
    with pytest.raises(InputError, match=r"both of node normal\.1"):
        smaller.without(("normal.1_1",))


def test_without_refuses_cells_that_no_longer_read_the_cell_before():
    lonely = cell(concat=(2,))
    network = Network(Genotype(lonely, lonely, 3, 8), (8, 16, 32), GREY_TASK)
    assert network.droppable() == ("normal.0_0", "reduction.0_0")
    with pytest.raises(InputError, match="still reads the cell before it, but got normal cells that do not"):
        network.without(("normal.0_1",))


def test_an_int8_file_without_edges_has_no_float_islands(tmp_path):
    network = network_for((28, 28), ("conv_3x3", "skip_connect", "max_pool_3x3", "sep_conv_3x3") * 2)
    network = network.without(DROPS[1])
    content = network_file(network, [(8, 8)] * 3, codes=None, largest_code=64)
    kinds = {kind for kind, _, _ in optimized_graph(content, str(tmp_path / "optimized.onnx"))}
    assert not {"Conv", "FusedConv", "Relu", "Add"} & kinds


def test_a_chain_answers_as_the_convolution_that_it_multiplies_out_to():
    network, pixels = network_for((8, 8)), images((8, 8), 4)
    name = "cells.1.last.convolution"
    weight = network.get_submodule(name).weight
    chain = Chain(nn.Conv2d(weight.shape[1], weight.shape[1], 1, bias=False), nn.Conv2d(*weight.shape[1::-1], 1))
    with torch.no_grad():
        chain[0].weight.copy_(torch.eye(weight.shape[1])[:, :, None, None])
        chain[1].weight.copy_(weight)
        chain[1].bias.zero_()
    chained = network.with_chains({name: chain})
    np.testing.assert_allclose(answers(chained, pixels), answers(network, pixels), atol=1e-5)
    with torch.no_grad():
        chain[1].bias.fill_(0.5)  # folded with the norm
    np.testing.assert_allclose(file_answers(chained, pixels), answers(chained, pixels), atol=1e-5)
    assert abs(answers(chained, pixels) - answers(network, pixels)).max() > 1e-3
    narrow = chained.narrowed({group: torch.arange(width // 2) for group, width in chained.group_widths().items()})
    assert narrow.get_submodule(name)[1].bias.shape == (8,)
    np.testing.assert_allclose(file_answers(narrow, pixels), answers(narrow, pixels), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "chain"), [("classifier", Chain(nn.Conv2d(8, 8, 1))), ("stem.convolution", Chain(nn.Linear(8, 8)))]
)
def test_with_chains_takes_convolutions_only(name, chain):
    with pytest.raises(ValueError, match=f"{name}: only a convolution before its normalisation"):
        build_network(candidate(), GREY_TASK, pruned=True).with_chains({name: chain})


def test_groups_kept_takes_a_width_a_stage():
    network = build_network(candidate(), GREY_TASK, pruned=True)
    assert network.groups_kept((2, 4, 6)) == {"stem": 2, "cells.0": 2, "cells.1": 4, "cells.2": 6}
    with pytest.raises(ValueError, match="keeps 3 widths, one a stage, but got 4"):
        network.groups_kept((1, 2, 3, 4))
