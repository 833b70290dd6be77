import pytest
import torch

from automl.models.network import Network, build_network
from tests.models.architectures import GREY_TASK, candidate, cell


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
