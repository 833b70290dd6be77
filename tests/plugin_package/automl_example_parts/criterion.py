"""A criterion that counts many middling weights for more than a few large ones."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from automl.compression.criteria import Evidence
from automl.compression.gates import by_channel
from automl.models.deployable import Deployable


def half_norm(network: Deployable, evidence: Evidence | None, widths: Mapping[str, int]) -> dict[str, torch.Tensor]:
    """Return the sum of the square roots of each channel's weights, over every layer that produces its group."""
    parameters = dict(network.named_parameters())
    scores = {group: torch.zeros(width) for group, width in network.group_widths().items()}
    for axis in network.coupled_axes():
        value = parameters.get(axis.parameter)
        if value is not None and axis.axis == 0 and value.ndim > 1:
            filters = by_channel(value.detach(), axis, len(scores[axis.group]))
            scores[axis.group] += filters.abs().sqrt().sum(dim=1)
    return scores
