from __future__ import annotations

import pytest
import torch
from torch import nn

from automl.models.user.groups import coupled_axes, find_coupling
from automl.models.user.surgery import masked_module, narrow_module, narrowed_groups, surgery_error
from automl.models.zoo.resnet import BasicBlock, Bottleneck, ResNet
from tests.models.user.user_networks import Concatenating, Gated, Grouped, Leaky, Nested, inverted, settled

SHAPE = (3, 16, 16)


def residual(block=BasicBlock) -> nn.Module:
    return ResNet(block, (2, 1), width=6, classes=5, channels=3, image_size=16)


MODULES = [residual, lambda: residual(Bottleneck), inverted, Gated, Concatenating, Grouped, Nested, Leaky]


def some_of(groups, seed: int = 0) -> dict[str, torch.Tensor]:
    """Return about half of each group's channels, irregularly."""
    generator = torch.Generator().manual_seed(seed)
    return {
        group.name: torch.randperm(group.width, generator=generator)[: max(group.width // 2, 1)].sort().values
        for group in groups
    }


@pytest.mark.parametrize("build", MODULES)
def test_physically_pruned_answers_as_masked(build):
    torch.manual_seed(0)
    module = settled(build())
    groups = find_coupling(module, SHAPE).groups
    kept = some_of(groups)
    assert surgery_error(module, groups, kept, SHAPE) < 1e-12
    narrow, images = narrow_module(module, groups, kept), torch.randn(2, *SHAPE)
    assert sum(p.numel() for p in narrow.parameters()) < 0.6 * sum(p.numel() for p in module.parameters())
    assert (narrow(images) - module(images)).abs().max() > 1e-4  # something was lost
    masked = masked_module(module, groups, kept)
    assert torch.allclose(narrow(images), masked(images), atol=1e-5)


def test_groups_of_a_residual_network_go_through_its_shortcuts():
    coupling = find_coupling(residual(), SHAPE)
    widths = {group.name: group.width for group in coupling.groups}
    assert widths == {
        "conv1": 6, "layer1.0.conv1": 6, "layer1.1.conv1": 6, "layer2.0.conv1": 12, "layer2.0.conv2": 12,
    }  # fmt: skip
    assert coupling.whole == {"fc": "its channels are the answers"}


def test_groups_never_hold_the_input():
    coupling = find_coupling(Nested(), SHAPE)
    assert coupling.whole["on_input"] == "its channels are added to the input's"
    assert [group.name for group in coupling.groups] == ["wide"]


def test_groups_of_a_grouped_convolution_keep_its_groups_equal():
    coupling = find_coupling(Grouped(), SHAPE)
    assert {group.name: group.width for group in coupling.groups} == {"first": 4, "grouped": 6, "last": 6}
    narrow = narrow_module(Grouped(), coupling.groups, {"first": torch.tensor([0, 3])})
    assert (narrow.grouped.groups, narrow.grouped.in_channels, narrow.first.out_channels) == (2, 4, 4)


def test_groups_leave_layers_without_an_exact_rule_whole():
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.GroupNorm(2, 8), nn.Conv2d(8, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 5),
    )  # fmt: skip
    coupling = find_coupling(module, SHAPE)
    assert coupling.whole["0"] == "1 is a GroupNorm"
    assert [group.name for group in coupling.groups] == ["2"]


def test_coupled_axes_have_the_width_of_their_groups():
    module = Concatenating()
    groups = find_coupling(module, SHAPE).groups
    widths = {group.name: group.width for group in groups}
    sizes = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    axes = list(coupled_axes(groups, module, "at."))
    for axis in axes:
        size = sizes[axis.parameter.removeprefix("at.")].shape[axis.axis]
        assert size == widths[axis.group] * axis.blocks * axis.repeat
    named = {(axis.parameter, axis.axis) for axis in axes}
    assert ("at.hidden.weight", 1) in named  # behind a flatten: each channel repeated
    assert ("at.mix.weight", 1) not in named  # shared by two groups


@pytest.mark.parametrize("build", [residual, Concatenating, Grouped])
def test_narrowed_groups_are_those_found_in_the_narrowed_module(build):
    module = build()
    groups = find_coupling(module, SHAPE).groups
    kept = some_of(groups)
    found = find_coupling(narrow_module(module, groups, kept), SHAPE).groups

    def plain(coupled):
        return {g.name: (g.width, {(r.parameter, r.axis, r.entries, r.channels) for r in g.runs}) for g in coupled}

    assert plain(narrowed_groups(groups, kept, module)) == plain(found)


def test_narrow_module_leaves_the_module_and_refuses_nonsense():
    module = Grouped()
    groups = find_coupling(module, SHAPE).groups
    narrow_module(module, groups, {"last": torch.tensor([1])})
    assert module.last.out_channels == 6
    with pytest.raises(ValueError, match="must be one of first, grouped, last, but got lost"):
        narrow_module(module, groups, {"lost": torch.tensor([1])})
    with pytest.raises(ValueError, match="last must keep at least one channel, but got none"):
        narrow_module(module, groups, {"last": torch.tensor([], dtype=torch.int64)})
