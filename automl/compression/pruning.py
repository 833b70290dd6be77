"""Structured pruning: remove the least important channels of each coupled group and return the smaller network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from automl.candidate import PruningPlan
from automl.compression.criteria import Evidence, channel_importance
from automl.compression.replacement import replace_layers
from automl.models.deployable import Deployable


def kept_channels(importance: Mapping[str, torch.Tensor], widths: Mapping[str, int]) -> dict[str, torch.Tensor]:
    """Return the indices to keep in each group, ascending: the `widths[group]` most important ones.

    Ties are broken by the lower index, so that the choice is reproducible.
    """
    kept = {}
    for group, scores in importance.items():
        order = torch.sort(scores, descending=True, stable=True).indices
        kept[group] = order[: widths[group]].sort().values
    return kept


def prune_network(
    network: Deployable, widths: Sequence[int], criterion: str = "l1", evidence: Evidence | None = None
) -> Deployable:
    """Return a new network of the given widths with the most important channels of `network`.

    Args:
        network: trained; left as it is.
        widths: channels to keep, one for each stage (of a user's model: each group), none above the network's own.
        criterion: one of `criteria.CRITERIA`.
        evidence: the data that the criteria of `criteria.NEEDS_EVIDENCE` look at.

    Raises:
        ValueError: where a width is below one or above the network's, their number is wrong, or the criterion is
            unknown or lacks its evidence.
    """
    asked = _checked_widths(network, widths)
    return network.narrowed(kept_channels(channel_importance(network, asked, criterion, evidence), asked))


def nominal_structure(network: Deployable, plan: PruningPlan) -> Deployable:
    """Return the graph that the plan makes of a fresh, unpruned network, for timing before anything is trained.

    What goes is arbitrary (the first channels stay, factors are untrained): every choice that the trained network will
    make leads to a graph of the same layers and shapes.

    Raises:
        ValueError: where the plan's widths do not fit the network.
        InputError: where it drops what the network cannot lose.
    """
    asked = _checked_widths(network, plan.kept_widths)
    if asked != network.group_widths():
        network = network.narrowed({group: torch.arange(width) for group, width in asked.items()})
    return replace_layers(network, plan, are_trained=False)


def _checked_widths(network: Deployable, widths: Sequence[int]) -> dict[str, int]:
    full, asked = network.group_widths(), network.groups_kept(widths)
    for group, width in asked.items():
        if not 1 <= width <= full[group]:
            raise ValueError(f"{group}: the kept width must be between 1 and {full[group]}, but got {width}")
    return asked
