"""Structured pruning: remove the least important channels of each coupled group and return the smaller network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from automl.models.deployable import Deployable


def l1_importance(network: Deployable) -> dict[str, torch.Tensor]:
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


def prune_network(network: Deployable, widths: Sequence[int]) -> Deployable:
    """Return a new network of the given widths with the most important channels of `network`.

    Args:
        network: trained; left as it is.
        widths: channels to keep, one for each stage (of a user's model: each group), none above the network's own.

    Raises:
        ValueError: where a width is below one or above the network's.
    """
    full, asked = network.group_widths(), network.groups_kept(widths)
    for group, width in asked.items():
        if not 1 <= width <= full[group]:
            raise ValueError(f"{group}: the kept width must be between 1 and {full[group]}, but got {width}")
    return network.narrowed(kept_channels(l1_importance(network), asked))
