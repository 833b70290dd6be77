"""Unstructured and 2:4 sparsity: single weights that are zero and stay zero.

This makes no dense kernel faster: unstructured zeros only shrink the compressed file, 2:4 pays where the target has a
kernel for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from automl.models.deployable import Deployable

PATTERNS = ("unstructured", "2:4")
GROUP, GROUP_KEPT = 4, 2


@dataclass(frozen=True)
class Masks:
    """Which weights of a network stay: by the name of the parameter, True where a weight may be other than zero."""

    network: Deployable
    kept: Mapping[str, torch.Tensor]

    def apply(self, _progress: float = 1.0) -> None:
        """Set every masked weight to zero again, in place: after each step of an optimizer, whatever its momentum.

        Fits `after_step` of `automl.training.loop.train`, which says how far the training is; masks do not care.
        """
        parameters = dict(self.network.named_parameters())
        with torch.no_grad():
            for name, kept in self.kept.items():
                parameters[name].masked_fill_(~kept, 0.0)

    def sparsity(self) -> float:
        """Return the share of the masked layers' weights that is zero."""
        total = sum(kept.numel() for kept in self.kept.values())
        return 1 - sum(int(kept.sum()) for kept in self.kept.values()) / total if total else 0.0


def sparsify(network: Deployable, sparsity: float, pattern: str = "unstructured") -> Masks:
    """Set weights of `network` to zero, in place, and return the masks that keep them there.

    Only weights of layers (more than one axis) are masked, never biases and norms.

    Args:
        network: trained.
        sparsity: the share of weights that goes, at least 0 and below 1. "2:4" has one share only, 0.5.
        pattern: "unstructured": one global threshold over the layer-adaptive magnitude scores of Lee et al.,
            "Layer-adaptive Sparsity for the Magnitude-based Pruning" (2021), which leaves every layer some weights and
            does not care how a norm scales a layer. "2:4": the two largest of every four neighbours along the input
            axis (Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021); layers whose inputs are no multiple
            of four, as depthwise convolutions, stay dense.

    Raises:
        ValueError: where the pattern is unknown or the sparsity is out of range.
    """
    if pattern not in PATTERNS:
        raise ValueError(f"the pattern must be one of {', '.join(PATTERNS)}, but got {pattern!r}")
    if not 0 <= sparsity < 1:
        raise ValueError(f"the sparsity must be at least 0 and below 1, but got {sparsity:g}")
    weights = {name: value.detach() for name, value in network.named_parameters() if value.ndim > 1}
    if pattern == "unstructured":
        kept = _unstructured(weights, sparsity)
    elif sparsity == 0:
        kept = {}
    elif sparsity == 1 - GROUP_KEPT / GROUP:
        kept = {name: _two_of_four(value) for name, value in weights.items() if value.shape[1] % GROUP == 0}
    else:
        raise ValueError(f"a pattern of 2:4 must have a sparsity of 0.5, but got {sparsity:g}")
    masks = Masks(network, kept)
    masks.apply()
    return masks


def masks_of_zeros(network: Deployable, pattern: str = "unstructured") -> Masks:
    """Return the masks of a network that was sparsified before: what is zero stays zero.

    Args:
        network: with its weights, as after `sparsify` and any training under its masks.
        pattern: the one that it was sparsified in.
    """
    weights = {name: value.detach() for name, value in network.named_parameters() if value.ndim > 1}
    if pattern == "2:4":
        weights = {name: value for name, value in weights.items() if value.shape[1] % GROUP == 0}
    return Masks(network, {name: value != 0 for name, value in weights.items()})


def _unstructured(weights: Mapping[str, torch.Tensor], sparsity: float) -> dict[str, torch.Tensor]:
    scores = torch.cat([_layer_adaptive_scores(value) for value in weights.values()])
    kept = torch.ones(len(scores), dtype=torch.bool)
    kept[scores.argsort(stable=True)[: round(sparsity * len(scores))]] = False
    parts = torch.split(kept, [value.numel() for value in weights.values()])
    return {name: part.view(value.shape) for (name, value), part in zip(weights.items(), parts, strict=True)}


def _layer_adaptive_scores(weight: torch.Tensor) -> torch.Tensor:
    """Return each squared weight over the sum of those of its layer that are at least as large; the largest has 1."""
    squares = weight.double().flatten() ** 2
    order = squares.argsort(descending=True, stable=True)
    scores = torch.empty_like(squares)
    scores[order] = squares[order] / squares[order].cumsum(0).clamp_min(1e-300)
    return scores


def _two_of_four(weight: torch.Tensor) -> torch.Tensor:
    runs = weight.abs().movedim(1, -1)
    groups = runs.reshape(-1, GROUP)
    largest = groups.topk(GROUP_KEPT, dim=1).indices
    kept = torch.zeros_like(groups, dtype=torch.bool).scatter_(1, largest, True)
    return kept.view(runs.shape).movedim(-1, 1)
