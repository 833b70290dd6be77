"""Which channels of a module must go together, and the surgery that takes them out.

The coupling is found by Torch-Pruning's dependency graph (Fang et al., "DepGraph: Towards Any Structural Pruning",
CVPR 2023): one autograd trace tells for every channel of a layer which entries of which parameters go with it, through
sums, concatenations, products, depthwise convolutions and flattening. `surgery` takes them out.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from automl.models.deployable import Axis

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
Ints = tuple[int, ...]


@dataclass(frozen=True)
class Run:
    """Entries of one axis of a parameter or buffer, and the channel of the group that each belongs to."""

    parameter: str
    axis: int
    entries: Ints
    channels: Ints


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that go together, called after the first layer that produces them."""

    name: str
    width: int
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Coupling:
    """Every group of a module that can lose channels, and why the other layers cannot."""

    groups: tuple[ChannelGroup, ...]
    whole: Mapping[str, str]

    def __deepcopy__(self, _memo: object) -> Coupling:
        """Return itself: copies of a network share what was found, which never changes."""
        return self


def find_coupling(module: nn.Module, image_shape: Sequence[int]) -> Coupling:
    """Return the coupled groups of `module`, in the order of its layers.

    The input's channels and the answers never go; nor does what Torch-Pruning knows no exact rule for here (layer and
    group normalisation, transposed convolutions, bare parameters). A grouped convolution keeps its number of groups:
    the channels at one position of every one of them go together.

    Args:
        module: maps `n x channels x h x w` to `n x classes`; left as it is.
        image_shape: channels x height x width.
    """
    guarded = _Guarded(copy.deepcopy(module).eval(), image_shape[0])
    graph = _dependency_graph(guarded, torch.zeros(1, *image_shape))
    found: list[ChannelGroup] = []
    whole: dict[str, str] = {}
    for root, items in _groups(graph, guarded):
        group = _group(root, items, guarded)
        if isinstance(group, str):
            whole[root] = group
        else:
            found.append(group)
    return _disjoint(found, whole, module)


class _Guarded(nn.Module):
    """The module between a convolution that keeps the input and an operation that keeps the answers."""

    def __init__(self, module: nn.Module, channels: int) -> None:
        super().__init__()
        self.guard = nn.Conv2d(channels, channels, 1)
        self.inner = module.float()
        for parameter in self.parameters():
            parameter.requires_grad_(True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(self.guard(x)) * 1.0  # type: ignore[no-any-return]


@dataclass(frozen=True)
class _Item:
    """What Torch-Pruning says of one layer: the entries along its outputs or inputs, each with its root channel."""

    path: str
    layer: Any
    outputs: bool
    entries: Ints
    channels: Ints


def _dependency_graph(guarded: _Guarded, example: torch.Tensor) -> Any:
    import torch_pruning

    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")  # its advice on bare parameters: they stay whole here
        return torch_pruning.DependencyGraph().build_dependency(guarded, example_inputs=example, verbose=False)


def _groups(graph: Any, guarded: _Guarded) -> Iterator[tuple[str, list[_Item]]]:
    """Yield the path of each first producing layer with its group's items, in the order of the module's layers."""
    paths: dict[object, str] = {layer: path for path, layer in guarded.named_modules()}
    seen: set[str] = set()
    for path, layer in guarded.named_modules():
        if not isinstance(layer, LAYERS) or path in seen or layer not in graph.module2node or path == "guard":
            continue
        pruner = graph.get_pruner_of_module(layer)
        channels = list(range(pruner.get_out_channels(layer)))
        items = []
        for item in graph.get_pruning_group(layer, pruner.prune_out_channels, channels):
            target = item.dep.target.module
            outputs = bool(graph.is_out_channel_pruning_fn(item.dep.handler))
            found = _Item(paths.get(target, ""), target, outputs, tuple(item.idxs), tuple(item.root_idxs))
            items.append(found)
            if outputs:
                seen.add(found.path)
        yield path.removeprefix("inner."), items


def _group(root: str, items: Sequence[_Item], guarded: _Guarded) -> ChannelGroup | str:
    """Return the group, or why it cannot lose channels."""
    width = max(channel for item in items for channel in item.channels) + 1
    ties = _Ties(width)
    runs: list[Run] = []
    for item in items:
        reason = _refusal(item, guarded)
        if reason:
            return reason
        if item.path:
            runs.extend(_runs(item, ties))
    channel_of = ties.channels()
    if channel_of is None:
        return "the groups of a grouped convolution hold unequal numbers of its channels"
    renamed = tuple(replace(run, channels=tuple(channel_of[channel] for channel in run.channels)) for run in runs)
    return ChannelGroup(root, max(channel_of) + 1, renamed)


def _refusal(item: _Item, guarded: _Guarded) -> str:
    """Return why a group with this item stays whole, "" where nothing is against it."""
    layer = item.layer
    if layer is guarded.guard:
        return "its channels are added to the input's"
    if isinstance(layer, nn.Parameter):
        return "a bare parameter goes with it"
    if type(layer).__name__ == "_OutputOp":
        return "its channels are the answers"
    if not isinstance(layer, nn.Module) or not list(layer.parameters(recurse=False)):
        return ""
    if not isinstance(layer, (*LAYERS, *NORMS)):
        return f"{item.path.removeprefix('inner.')} is a {type(layer).__name__}"
    if isinstance(layer, nn.Conv1d | nn.Conv2d) and layer.groups == layer.out_channels != layer.in_channels:
        return f"{item.path.removeprefix('inner.')} sums several inputs into each of its groups"
    return ""


class _Ties:
    """Which of the root's channels a grouped convolution ties to each other."""

    def __init__(self, width: int) -> None:
        self.of = list(range(width))

    def tie(self, sets: Sequence[Sequence[int]]) -> None:
        for together in sets:
            names = {self.of[channel] for channel in together}
            self.of = [min(names) if name in names else name for name in self.of]

    def channels(self) -> Ints | None:
        """Return the new number of each channel, None where the sets are of different size."""
        order = {name: number for number, name in enumerate(dict.fromkeys(self.of))}
        numbers = [order[name] for name in self.of]
        sizes = np.bincount(numbers)
        return tuple(numbers) if (sizes == sizes[0]).all() else None


def _runs(item: _Item, ties: _Ties) -> Iterator[Run]:
    """Yield the run of each parameter and buffer of a layer, and tie what its groups tie."""
    layer, path = item.layer, item.path.removeprefix("inner.")
    entries, channels = item.entries, item.channels
    order = sorted(range(len(entries)), key=lambda index: entries[index])
    entries, channels = tuple(entries[i] for i in order), tuple(channels[i] for i in order)
    if isinstance(layer, NORMS):
        for name, value in (*layer.named_parameters(), *layer.named_buffers()):
            if value.ndim:
                yield Run(f"{path}.{name}", 0, entries, channels)
        return
    groups = getattr(layer, "groups", 1)
    outputs = item.outputs or (groups > 1 and groups == layer.weight.shape[0])
    if groups > 1 and groups != layer.weight.shape[0]:
        size = layer.weight.shape[0] // groups if outputs else layer.weight.shape[1]
        by_position: dict[int, list[int]] = {}
        for entry, channel in zip(entries, channels, strict=True):
            by_position.setdefault(entry % size, []).append(channel)
        ties.tie(list(by_position.values()))
        if not outputs:
            entries, channels = tuple(by_position), tuple(found[0] for found in by_position.values())
    yield Run(f"{path}.weight", 0 if outputs else 1, entries, channels)
    if outputs and layer.bias is not None:
        yield Run(f"{path}.bias", 0, entries, channels)


def _disjoint(found: Sequence[ChannelGroup], whole: dict[str, str], module: nn.Module) -> Coupling:
    """Return the groups whose entries no other group claims and that hold more than one channel."""
    owners: dict[tuple[str, int, int], set[str]] = {}
    for group in found:
        for run in group.runs:
            for entry in run.entries:
                owners.setdefault((run.parameter, run.axis, entry), set()).add(group.name)
    shared = {name for names in owners.values() if len(names) > 1 for name in names}
    kept = []
    for group in found:
        if group.name in shared:
            whole[group.name] = "another group claims some of its channels"
        elif group.width < 2:
            whole[group.name] = "it has a single channel"
        else:
            kept.append(group)
    order = {path: index for index, (path, _) in enumerate(module.named_modules())}
    return Coupling(tuple(sorted(kept, key=lambda group: order[group.name])), whole)


def coupled_axes(groups: Sequence[ChannelGroup], module: nn.Module, prefix: str) -> Iterator[Axis]:
    """Yield the axes that one group makes up alone, in equal runs of its channels.

    An axis that several groups share (behind a concatenation of different layers) is none of these: only
    `surgery.narrow_module` knows it.
    """
    sizes = {name: value.shape for name, value in state_of(module)}
    for group in groups:
        for run in group.runs:
            size = sizes[run.parameter][run.axis]
            blocks, repeat = _regular(run, size, group.width)
            if blocks:
                yield Axis(prefix + run.parameter, run.axis, group.name, blocks, repeat)


def _regular(run: Run, size: int, width: int) -> tuple[int, int]:
    """Return (blocks, repeat) of an axis in equal runs of the channels, (0, 0) where it is not."""
    if len(run.entries) != size or size % width:
        return 0, 0
    repeat = next((index for index, channel in enumerate(run.channels) if channel != run.channels[0]), size)
    if size % (width * repeat):
        return 0, 0
    blocks = size // (width * repeat)
    expected = np.tile(np.repeat(np.arange(width), repeat), blocks)
    return (blocks, repeat) if (expected == np.array(run.channels)).all() else (0, 0)


def state_of(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield every parameter and buffer with its name."""
    yield from module.named_parameters()
    yield from module.named_buffers()
