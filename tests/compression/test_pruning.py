import onnx
import pytest
import torch

from automl.candidate import PruningPlan
from automl.compression.criteria import CRITERIA, channel_importance
from automl.compression.pruning import kept_channels, nominal_structure, prune_network
from automl.compression.replacement import replace_layers
from automl.errors import InputError
from automl.models.network import build_network
from tests.compression.small_networks import WIDTHS, Perceptron, cell_network, evidence, pixels
from tests.models.architectures import GREY_TASK, candidate, network_file


def everything():
    torch.manual_seed(0)
    return build_network(candidate(), GREY_TASK, pruned=False).eval()


def masked(network, kept):
    """Zero what produces the channels that are not kept, and leave the shapes alone."""
    state = network.state_dict()
    for axis in network.coupled_axes():
        if axis.axis == 0 and axis.parameter in state:
            removed = sorted(set(range(network.group_widths()[axis.group])) - set(kept[axis.group].tolist()))
            state[axis.parameter][removed] = 0
    network.load_state_dict(state)
    return network


def test_kept_channels_are_the_most_important_in_order():
    kept = kept_channels({"stem": torch.tensor([3.0, 1.0, 3.0, 2.0])}, {"stem": 2})
    assert kept["stem"].tolist() == [0, 2]


@pytest.mark.parametrize("build", [everything, cell_network])
@pytest.mark.parametrize("dropped", [(), ("reduction.1_0",)])
def test_removed_channels_leave_exactly_what_a_mask_computes(build, dropped):
    """In double precision: max |a - b| <= 1e-5 max(1, max |a|), on real norms; the difference is rounding alone."""
    network = build().without(dropped).double()
    narrow = prune_network(network, (4, 8, 16))
    kept = kept_channels(channel_importance(network, {}), narrow.group_widths())
    images = pixels(16)
    with torch.inference_mode():
        expected = masked(network, kept)(images)
        difference = (narrow(images) - expected).abs().max()
    assert expected.dtype == torch.float64
    assert float(difference) <= 1e-9 * max(1.0, float(expected.abs().max()))


def test_removed_channels_change_the_answers_of_a_network_that_used_them():
    network = cell_network()
    with torch.inference_mode():
        assert not torch.allclose(prune_network(network, (4, 8, 16))(pixels(16)), network(pixels(16)), atol=1e-2)


@pytest.mark.parametrize("criterion", sorted(CRITERIA))
def test_prune_network_keeps_what_its_criterion_prefers(criterion):
    network, widths = cell_network(operations=("conv_3x3", "skip_connect") * 2), {"stem": 4, "cells.0": 4}
    sample = evidence(network, 16)
    if criterion in {"sensitivity", "learned"}:  # measured one by one: a smaller network will do
        network, widths = Perceptron(), {"hidden": 4}
        sample = evidence(network, 16)
    narrow = prune_network(network, (4, 16, 32), criterion, sample)
    full = {**network.group_widths(), **widths}
    kept = kept_channels(channel_importance(network, full, criterion, sample), full)
    group, name = ("hidden", "first") if "hidden" in widths else ("stem", "stem.convolution")
    weights = network.get_submodule(name).weight
    assert torch.equal(narrow.get_submodule(name).weight, weights[kept[group]])


def test_prune_network_leaves_the_original_as_it_was():
    network = cell_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    prune_network(network, (4, 8, 16))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.widths == WIDTHS


def test_prune_network_to_its_own_widths_changes_nothing():
    network = cell_network()
    with torch.inference_mode():
        torch.testing.assert_close(prune_network(network, network.widths)(pixels(4)), network(pixels(4)))


def test_pruned_network_can_be_pruned_again_and_trained():
    network = prune_network(prune_network(cell_network(), (6, 12, 24)), (4, 8, 16)).train()
    assert network.widths == (4, 8, 16)
    network(pixels(8)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert {module.num_features for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)} == {
        4, 8, 16
    }  # fmt: skip


@pytest.mark.parametrize("widths", [(0, 16, 32), (16, 16, 32)])
def test_prune_network_refuses_impossible_widths(widths):
    with pytest.raises(ValueError, match=f"stem: the kept width must be between 1 and 8, but got {widths[0]}"):
        prune_network(cell_network(), widths)


def test_prune_network_refuses_another_number_of_widths():
    with pytest.raises(ValueError, match="keeps 3 widths, one a stage, but got 2"):
        prune_network(cell_network(), (8, 16))


PLANS = (
    PruningPlan((8, 16, 32)),
    PruningPlan((4, 8, 16)),
    PruningPlan((8, 8, 16), dropped=("normal.1_0", "reduction.0_1")),
    PruningPlan((8, 16, 32), rank=0.25, separable=True),
    PruningPlan((8, 16, 24), dropped=("normal.1_1",), rank=0.25, separable=True),
)


def graph_of(network):
    """Return the file's nodes with the shapes of their constants: all that its latency can depend on."""
    graph = onnx.load_from_string(network_file(network, [(32, 32)] * 3, codes=None, largest_code=127)).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    return [(node.op_type, [shapes.get(name, name) for name in node.input]) for node in graph.node]


@pytest.mark.parametrize("plan", PLANS)
def test_nominal_structure_has_the_graph_of_the_trained_network(plan):
    trained = replace_layers(prune_network(cell_network(), plan.kept_widths, "l2"), plan)
    assert graph_of(nominal_structure(cell_network(seed=1), plan)) == graph_of(trained)


def test_plans_have_graphs_of_their_own():
    graphs = [graph_of(nominal_structure(cell_network(), plan)) for plan in PLANS]
    assert all(graphs[i] != graphs[j] for i in range(len(graphs)) for j in range(i))


def test_nominal_structure_refuses_what_pruning_refuses():
    with pytest.raises(ValueError, match="between 1 and 8, but got 9"):
        nominal_structure(cell_network(), PruningPlan((9, 16, 32)))
    with pytest.raises(InputError, match=r"but got 'normal\.7_0'"):
        nominal_structure(cell_network(), PruningPlan(WIDTHS, dropped=("normal.7_0",)))


def test_fewer_channels_make_a_smaller_file():
    whole, half = (
        len(network_file(prune_network(cell_network(), widths), [(32, 32)] * 3, codes=None, largest_code=127))
        for widths in (WIDTHS, (4, 8, 16))
    )
    assert half < 0.5 * whole
