"""A learned mask over channels: hard-concrete gates, trained with the weights fixed, chosen on validation data."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch

from automl.compression.gates import Evidence, gated_loss, mean_loss, open_gates
from automl.models.deployable import Deployable

TEMPERATURE, LOWEST, HIGHEST = 2 / 3, -0.1, 1.1  # beta, gamma and zeta of the paper
START = 2.0  # a log alpha at which a gate is open with a probability of 0.97
BATCH = 32
PENALTIES = (0.01, 0.03, 0.12)  # of the loss, for each open channel
STEPS = 20  # with each penalty
LEARNING_RATE = 0.2


def learned_importance(network: Deployable, evidence: Evidence, widths: Mapping[str, int]) -> dict[str, torch.Tensor]:
    """Return the learned log odds of each channel's gate by coupled group.

    Louizos et al., "Learning Sparse Neural Networks through L0 Regularization" (2018), eq. 10 to 12: gates are drawn
    from the hard-concrete distribution, so that they are exactly 0 or 1 most of the time and still have gradients. They
    learn on the training evidence under a penalty that rises; of the masks at its strengths the one whose `widths` most
    open channels give the smallest loss on the validation evidence is returned.

    Raises:
        ValueError: where there is no validation evidence to choose by.
    """
    if not len(evidence.validation_labels):
        raise ValueError("criterion learned must be given validation evidence to choose by, but got none")
    learned = learned_path(network, evidence)
    losses = [
        mean_loss(network, hard_gates(odds, widths), evidence.validation_pixels, evidence.validation_labels)
        for odds in learned
    ]
    return learned[losses.index(min(losses))]


def hard_gates(scores: Mapping[str, torch.Tensor], widths: Mapping[str, int]) -> dict[str, torch.Tensor]:
    """Return gates of 1 for the `widths` highest scores of each group and of 0 for the others."""
    kept = {group: torch.sort(score, descending=True, stable=True).indices for group, score in scores.items()}
    return {
        group: torch.zeros_like(score).index_fill(0, kept[group][: widths[group]], 1.0)
        for group, score in scores.items()
    }


def learned_path(network: Deployable, evidence: Evidence) -> list[dict[str, torch.Tensor]]:
    """Return the log odds of the gates after each penalty, each learned on from the one before."""
    odds = {group: (START * gate).requires_grad_() for group, gate in open_gates(network).items()}
    optimizer = torch.optim.Adam(list(odds.values()), lr=LEARNING_RATE)
    generator = torch.Generator().manual_seed(evidence.seed)
    rng = np.random.default_rng(evidence.seed)
    path = []
    for penalty in PENALTIES:
        for _ in range(STEPS):
            part = rng.permutation(len(evidence.labels))[:BATCH]
            gates = {group: _drawn(value, generator) for group, value in odds.items()}
            open_channels = torch.cat([_open_probability(value) for value in odds.values()]).sum()
            loss = gated_loss(network, gates, evidence.pixels[part], evidence.labels[part]) + penalty * open_channels
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        path.append({group: value.detach().clone() for group, value in odds.items()})
    return path


def _drawn(odds: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    uniform = torch.rand(odds.shape, generator=generator, dtype=odds.dtype).clamp(1e-6, 1 - 1e-6)
    concrete = torch.sigmoid((torch.logit(uniform) + odds) / TEMPERATURE)
    return (concrete * (HIGHEST - LOWEST) + LOWEST).clamp(0, 1)


def _open_probability(odds: torch.Tensor) -> torch.Tensor:
    return torch.sigmoid(odds - TEMPERATURE * math.log(-LOWEST / HIGHEST))
