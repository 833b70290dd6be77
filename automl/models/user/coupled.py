"""A deployable network around a user's module whose channels go in coupled groups."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Self

import torch
from torch import nn

from automl.models.deployable import Axis, Chain, Deployable, Task
from automl.models.user.groups import ChannelGroup, Coupling, coupled_axes, find_coupling
from automl.models.user.surgery import narrow_module, narrowed_groups


class Coupled(Deployable):
    """The part of a deployable network that knows the coupled groups of the user's module in it.

    Who inherits says which module that is, how its names begin among the network's, and how to stand around another.
    """

    found: Coupling | None = None
    declared: tuple[str, ...] | None = None  # the groups of the whole model, in the order of its widths

    def own_module(self) -> nn.Module:
        """Return the user's module."""
        raise NotImplementedError

    def own_prefix(self) -> str:
        """Return what stands before the user's names among the network's, such as "model."."""
        raise NotImplementedError

    def around(self, module: nn.Module) -> Self:
        """Return the network around another form of the user's module."""
        raise NotImplementedError

    def find_coupling(self) -> Coupling:
        """Return the groups of channels that can go, and why the other layers stay whole, by a new trace."""
        module = self.own_module()
        found = find_coupling(module, image_shape(self.task))
        chains = {path for path, layer in module.named_modules() if isinstance(layer, Chain)}
        return Coupling(tuple(_named_after_chain(group, chains, module) for group in found.groups), found.whole)

    def coupling(self) -> Coupling:
        """Return `find_coupling`, found once; of a model that was changed only the groups that the whole one had."""
        if self.found is None:
            found, declared = self.find_coupling(), self.declared
            known = tuple(group for group in found.groups if declared is None or group.name in declared)
            self.found = Coupling(known, found.whole)
        return self.found

    def groups(self) -> tuple[ChannelGroup, ...]:
        """Return the coupled groups, in the order of the layers."""
        return self.coupling().groups

    def coupled_axes(self) -> Iterator[Axis]:
        """Yield every axis that one coupled group makes up; see `automl.models.user.groups.coupled_axes`."""
        return coupled_axes(self.groups(), self.own_module(), self.own_prefix())

    def group_widths(self) -> dict[str, int]:
        """Return the number of channels of each coupled group, in the order of the layers."""
        return {group.name: group.width for group in self.groups()}

    def groups_kept(self, kept_widths: Sequence[int]) -> dict[str, int]:
        """Return the channels that each coupled group keeps; groups of blocks that were removed are left out.

        Raises:
            ValueError: where there is not one width for each group of the whole model.
        """
        widths = self.group_widths()
        declared = tuple(widths) if self.declared is None else self.declared
        if len(kept_widths) != len(declared):
            raise ValueError(f"this model keeps {len(declared)} widths, one a group, but got {len(kept_widths)}")
        return {name: kept for name, kept in zip(declared, kept_widths, strict=True) if name in widths}

    def narrowed(self, kept: Mapping[str, torch.Tensor]) -> Self:
        """Return a new network with the channels at these ascending indices of each group; others stay whole."""
        groups = self.groups()
        narrow = self._derived(narrow_module(self.own_module(), groups, kept))
        narrow.found = Coupling(narrowed_groups(groups, kept, self.own_module()), self.coupling().whole)
        return narrow

    def with_chains(self, chains: Mapping[str, Chain]) -> Self:
        """Return a new network in which the layers of these names, as `named_modules` has them, are chains."""
        return self.with_modules({name: copy.deepcopy(chain) for name, chain in chains.items()})

    def with_modules(self, modules: Mapping[str, nn.Module]) -> Self:
        """Return a new network with these modules in place of those of the names, the network's or the user's own."""
        changed = copy.deepcopy(self.own_module())
        for name, module in modules.items():
            changed.set_submodule(self.own_name(name), module)
        return self._derived(changed)

    def own_name(self, name: str) -> str:
        """Return the user's name of a module."""
        return name.removeprefix(self.own_prefix())

    def _derived(self, module: nn.Module) -> Self:
        other = self.around(module)
        other.declared = tuple(self.group_widths()) if self.declared is None else self.declared
        other.train(self.training)
        return other


class Normalised(nn.Module):
    """A module of float images behind the normalisation of raw pixels."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, model: nn.Module, task: Task) -> None:
        super().__init__()
        self.model = model
        self.layout = torch.contiguous_format if _breaks_in_channels_last(model) else torch.channels_last
        self.register_buffer("mean", torch.tensor(task.mean)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(task.deviation)[:, None, None], persistent=False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map raw pixels, `n x h x w` or `n x h x w x channels`, to what the module makes of them."""
        x = pixels.to(self.mean.dtype)
        x = x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2)
        x = (x - self.mean) / self.deviation
        return self.model(x.contiguous(memory_format=self.layout))  # type: ignore[no-any-return]


def _breaks_in_channels_last(model: nn.Module) -> bool:
    """Tell whether torch 2.13 would corrupt memory in the gradients of this model in its fast layout.

    On a CPU it does so for strided 1x1 convolutions of fewer than eight channels in `channels_last`.
    """
    return any(
        isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) and max(layer.stride) > 1 and layer.in_channels < 8
        for layer in model.modules()
    )


def image_shape(task: Task) -> tuple[int, int, int]:
    """Return channels x height x width of what a module takes."""
    height, width = task.input_shape[:2]
    return task.channels, height, width


def _named_after_chain(group: ChannelGroup, chains: set[str], model: nn.Module) -> ChannelGroup:
    """Return the group under the name of the layer that a chain stands for, if its last layer produces it."""
    path, _, position = group.name.rpartition(".")
    if path not in chains:
        return group
    chain = model.get_submodule(path)
    assert isinstance(chain, Chain)
    return replace(group, name=path) if position == str(len(chain) - 1) else group
