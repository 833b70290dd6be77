"""Structured pruning: remove the least important channels of each coupled group and return the smaller network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from automl.models.network import Network


def l1_importance(network: Network) -> dict[str, torch.Tensor]:
    """Return the importance of each channel by coupled group: the L1 norm of its filters over the whole group.

    Li et al., "Pruning Filters for Efficient ConvNets" (2017), summed over every convolution that produces the
    group's channels; each layer's norms are divided by their mean first, so that large layers do not decide alone.
    Within a cell those are all its operations, because what is added or concatenated must lose the same channels.
    """
    parameters = dict(network.named_parameters())
    importance = {group: torch.zeros(width) for group, width in network.group_widths().items()}
    for axis in network.coupled_axes():
        if axis.axis == 0 and axis.parameter in parameters and parameters[axis.parameter].ndim == 4:
            norms = parameters[axis.parameter].detach().abs().sum(dim=(1, 2, 3))
            importance[axis.group] += norms / norms.mean().clamp_min(1e-12)
    return importance


def kept_channels(importance: Mapping[str, torch.Tensor], widths: Mapping[str, int]) -> dict[str, torch.Tensor]:
    """Return the indices to keep in each group, ascending: the `widths[group]` most important ones.

    Ties are broken by the lower index, so that the choice is reproducible.
    """
    kept = {}
    for group, scores in importance.items():
        order = torch.sort(scores, descending=True, stable=True).indices
        kept[group] = order[: widths[group]].sort().values
    return kept


def prune_network(network: Network, widths: Sequence[int]) -> Network:
    """Return a new network of the given stage widths with the most important channels of `network`.

    Args:
        network: trained; left as it is.
        widths: channels to keep by stage, none above the network's own.

    Raises:
        ValueError: where a width is below one or above the network's.
    """
    for stage, (width, full) in enumerate(zip(widths, network.widths, strict=True)):
        if not 1 <= width <= full:
            raise ValueError(f"stage {stage}: the kept width must be between 1 and {full}, but got {width}")
    pruned = Network(network.genotype, widths, network.task, network.dropout.p)
    kept = kept_channels(l1_importance(network), pruned.group_widths())
    state = dict(network.state_dict())
    full_widths = network.group_widths()
    for axis in network.coupled_axes():
        if axis.parameter in state:
            width = full_widths[axis.group]
            index = torch.cat([kept[axis.group] + block * width for block in range(axis.blocks)])
            state[axis.parameter] = state[axis.parameter].index_select(axis.axis, index)
    pruned.load_state_dict(state)
    pruned.train(network.training)
    return pruned
