import pytest
import torch

from automl.compression.pruning import kept_channels, l1_importance, prune_network
from automl.models.network import build_network
from tests.models.architectures import GREY_TASK, candidate


def network():
    torch.manual_seed(0)
    return build_network(candidate(), GREY_TASK, pruned=False).eval()


def test_l1_importance_of_a_channel_falls_with_its_filters():
    net = network()
    before = l1_importance(net)["cells.0"]
    with torch.no_grad():
        for axis in net.coupled_axes():
            if axis.group == "cells.0" and axis.axis == 0 and axis.parameter.endswith("weight"):
                dict(net.named_parameters())[axis.parameter][3] *= 0.01
    after = l1_importance(net)["cells.0"]
    assert after.argmin() == 3
    assert after[3] < 0.2 * before[3]


def test_kept_channels_are_the_most_important_in_order():
    kept = kept_channels({"stem": torch.tensor([3.0, 1.0, 3.0, 2.0])}, {"stem": 2})
    assert kept["stem"].tolist() == [0, 2]


def test_prune_network_computes_what_the_network_does_without_the_removed_channels():
    """Zero the removed channels everywhere: the wide network must then answer as the narrow one."""
    net = network()
    narrow = prune_network(net, (4, 8, 16))
    kept = kept_channels(l1_importance(net), narrow.group_widths())
    state = net.state_dict()
    for axis in net.coupled_axes():
        if axis.axis == 0 and axis.parameter in state:
            removed = sorted(set(range(net.group_widths()[axis.group])) - set(kept[axis.group].tolist()))
            state[axis.parameter][removed] = 0
    net.load_state_dict(state)
    pixels = torch.randint(0, 17, (4, 8, 8), dtype=torch.uint8)
    with torch.inference_mode():
        torch.testing.assert_close(narrow(pixels), net(pixels), atol=1e-5, rtol=1e-4)


def test_prune_network_leaves_the_original_as_it_was():
    net = network()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    prune_network(net, (4, 8, 16))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_prune_network_to_its_own_widths_changes_nothing():
    net = network()
    pixels = torch.randint(0, 17, (4, 8, 8), dtype=torch.uint8)
    with torch.inference_mode():
        torch.testing.assert_close(prune_network(net, net.widths)(pixels), net(pixels))


@pytest.mark.parametrize("widths", [(0, 8, 16), (16, 8, 16)])
def test_prune_network_refuses_impossible_widths(widths):
    with pytest.raises(ValueError, match="the kept width must be between 1 and 8"):
        prune_network(network(), widths)
