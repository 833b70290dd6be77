"""Take coupled channels out of a module: every axis is sliced once for all groups, so that what stays is in order."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from automl.models.user.groups import NORMS, ChannelGroup, Run, state_of

Kept = Mapping[str, torch.Tensor]  # ascending indices of the channels that stay, by group; absent groups stay whole


def narrow_module(module: nn.Module, groups: Sequence[ChannelGroup], kept: Kept) -> nn.Module:
    """Return a copy of `module` with only these channels (ascending indices) of each group.

    Raises:
        ValueError: where a group is unknown or would lose all its channels.
    """
    narrow = copy.deepcopy(module)
    keeps: dict[tuple[str, int], np.ndarray] = {}
    state = dict(state_of(narrow))
    _check_kept(groups, kept)
    for group in groups:
        stays = np.isin(np.arange(group.width), kept.get(group.name, torch.arange(group.width)).numpy())
        for run in group.runs:
            mask = keeps.setdefault((run.parameter, run.axis), np.ones(state[run.parameter].shape[run.axis], bool))
            mask[list(run.entries)] &= stays[list(run.channels)]
    for (name, axis), mask in keeps.items():
        path, _, attribute = name.rpartition(".")
        layer = narrow.get_submodule(path)
        value = getattr(layer, attribute)
        chosen = value.detach().index_select(axis, torch.from_numpy(np.flatnonzero(mask)))
        parameter = isinstance(value, nn.Parameter)
        setattr(layer, attribute, nn.Parameter(chosen, value.requires_grad) if parameter else chosen)
    for layer in narrow.modules():
        _correct_sizes(layer)
    return narrow


def _check_kept(groups: Sequence[ChannelGroup], kept: Kept) -> None:
    known = [group.name for group in groups]
    for name, indices in kept.items():
        if name not in known:
            raise ValueError(f"a coupled group must be one of {', '.join(known)}, but got {name}")
        if len(indices) == 0:
            raise ValueError(f"{name} must keep at least one channel, but got none")


def _correct_sizes(layer: nn.Module) -> None:
    """Make a layer's numbers say what its parameters hold."""
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        outputs, inputs = layer.weight.shape[:2]
        if layer.groups > 1 and layer.groups == layer.out_channels:
            layer.groups = outputs
        layer.out_channels, layer.in_channels = outputs, inputs * layer.groups
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif isinstance(layer, NORMS) and layer.affine:
        layer.num_features = len(layer.weight)


def narrowed_groups(groups: Sequence[ChannelGroup], kept: Kept, module: nn.Module) -> tuple[ChannelGroup, ...]:
    """Return the groups of the module that `narrow_module` makes of `module`."""
    channels_left = {
        group.name: {int(old): new for new, old in enumerate(kept.get(group.name, torch.arange(group.width)))}
        for group in groups
    }
    gone: dict[tuple[str, int], set[int]] = {}
    for group in groups:
        for run in group.runs:
            lost = {e for e, c in zip(run.entries, run.channels, strict=True) if c not in channels_left[group.name]}
            gone.setdefault((run.parameter, run.axis), set()).update(lost)
    sizes = {name: value.shape for name, value in state_of(module)}
    moved = {key: _renumbered(sizes[key[0]][key[1]], lost) for key, lost in gone.items()}
    return tuple(
        replace(group, width=len(channels_left[group.name]), runs=tuple(
            _narrowed_run(run, channels_left[group.name], moved[run.parameter, run.axis]) for run in group.runs
        ))
        for group in groups
    )  # fmt: skip


def _renumbered(size: int, lost: set[int]) -> dict[int, int]:
    return {old: new for new, old in enumerate(entry for entry in range(size) if entry not in lost)}


def _narrowed_run(run: Run, channels: Mapping[int, int], entries: Mapping[int, int]) -> Run:
    stays = [(e, c) for e, c in zip(run.entries, run.channels, strict=True) if c in channels]
    return replace(run, entries=tuple(entries[e] for e, _ in stays), channels=tuple(channels[c] for _, c in stays))


def masked_module(module: nn.Module, groups: Sequence[ChannelGroup], kept: Kept) -> nn.Module:
    """Return a copy of `module` whose channels that would go are zero instead: what surgery is held against."""
    masked = copy.deepcopy(module)
    state = dict(state_of(masked))
    with torch.no_grad():
        for group in groups:
            stays = set(kept.get(group.name, torch.arange(group.width)).tolist())
            for run in group.runs:
                lost = [e for e, c in zip(run.entries, run.channels, strict=True) if c not in stays]
                if run.axis == 0 and lost and not run.parameter.endswith("running_var"):
                    state[run.parameter][lost] = 0
    return masked


def surgery_error(module: nn.Module, groups: Sequence[ChannelGroup], kept: Kept, image_shape: Sequence[int]) -> float:
    """Return how far the answers without the channels lie from those with the channels at zero, in double precision.

    Args:
        module: maps `n x channels x h x w` to logits; its normalisations get random statistics and shifts, since those
            of a fresh one are zero and would hide what was forgotten.
        groups: of it.
        kept: channels that stay.
        image_shape: channels x height x width.

    Returns:
        The largest difference on a random image, as a share of the largest answer.
    """
    generator = torch.Generator().manual_seed(0)
    subject = _with_random_statistics(copy.deepcopy(module).double().eval(), generator)
    images = torch.randn(1, *image_shape, generator=generator, dtype=torch.float64)
    with torch.inference_mode():
        masked = masked_module(subject, groups, kept)(images)
        narrow = narrow_module(subject, groups, kept)(images)
    return float((masked - narrow).abs().max() / masked.abs().max().clamp_min(1e-30))


def _with_random_statistics(module: nn.Module, generator: torch.Generator) -> nn.Module:
    def uniform(value: torch.Tensor, low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(value.shape, generator=generator, dtype=value.dtype)

    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, NORMS) and layer.running_mean is not None and layer.running_var is not None:
                layer.running_mean.copy_(uniform(layer.running_mean, -0.5, 0.5))
                layer.running_var.copy_(uniform(layer.running_var, 0.5, 1.5))
                if layer.affine:
                    layer.bias.copy_(uniform(layer.bias, -0.5, 0.5))
    return module
