"""How important each channel of a coupled group is, by the criterion that a plan names.

What is added or concatenated must lose the same channels, so every criterion scores a channel over its whole group.
Those that look at filters divide each layer's scores by their mean before they are summed: large layers would decide
alone otherwise. Scores compare within a group only: how many channels each group keeps is the plan's choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import nn

from automl import plugins
from automl.compression.gates import BATCH, Evidence, by_channel, evaluating, gated_loss, mean_loss, open_gates
from automl.compression.learned_gates import learned_importance
from automl.models.deployable import Axis, Deployable

__all__ = ["CRITERIA", "NEEDS_EVIDENCE", "Evidence", "channel_importance", "needs_evidence"]

SENSITIVITY_IMAGES = 64
SENSITIVITY_BLOCKS = 8  # how many blocks of a group are measured at most

Importance = dict[str, torch.Tensor]  # coupled group -> a score for each channel
Criterion = Callable[[Deployable, Evidence | None, Mapping[str, int]], Importance]


def channel_importance(
    network: Deployable, widths: Mapping[str, int], criterion: str = "l1", evidence: Evidence | None = None
) -> Importance:
    """Return the importance of each channel by coupled group.

    Args:
        network: trained; left as it is.
        widths: channels that each group is going to keep; a learned mask is chosen for them.
        criterion: one of `CRITERIA`, or a plugin's.
        evidence: what the criteria that `needs_evidence` look at; `random` takes its seed (0 without).

    Raises:
        InputError: where the plugin of that name cannot be used.
        ValueError: where the criterion is unknown, lacks its evidence, or finds nothing to score in a group.
    """
    score = CRITERIA[criterion] if criterion in CRITERIA else _foreign(criterion)
    if needs_evidence(criterion) and (evidence is None or not len(evidence.labels)):
        raise ValueError(f"criterion {criterion} must be given evidence (a sample of training data), but got none")
    with evaluating(network):
        return score(network, evidence, widths)


def needs_evidence(criterion: str) -> bool:
    """Tell whether a criterion looks at data: those in `NEEDS_EVIDENCE`, and a plugin's, which may."""
    return criterion in NEEDS_EVIDENCE or criterion not in CRITERIA


def norm_importance(network: Deployable, order: int) -> Importance:
    """Return the L1 or L2 norm of each channel's filters, over every layer that produces the group.

    Li et al., "Pruning Filters for Efficient ConvNets" (2017).
    """
    return _over_filters(network, lambda filters: torch.linalg.vector_norm(filters, ord=order, dim=1))


def geometric_median_importance(network: Deployable) -> Importance:
    """Return the sum of each filter's distances to the others of its layer: what the others can replace has little.

    He et al., "Filter Pruning via Geometric Median" (2019), eq. 6: the filter with the smallest sum is the nearest to
    the layer's geometric median.
    """
    return _over_filters(network, lambda filters: torch.cdist(filters, filters).sum(dim=1))


def norm_scale_importance(network: Deployable) -> Importance:
    """Return the absolute scale of each channel in the batch normalisations of the group.

    Liu et al., "Learning Efficient Convolutional Networks through Network Slimming" (2017).

    Raises:
        ValueError: naming each group without a batch normalisation.
    """
    norms = {
        f"{name}.weight"
        for name, module in network.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)  # noqa: SLF001 torch has no public name for all of them
    }
    bare = set(network.group_widths()) - {axis.group for axis in network.coupled_axes() if axis.parameter in norms}
    if bare:
        raise ValueError(f"criterion bn_scale must find a batch normalisation in every group: {sorted(bare)} lack one")
    return _summed(network, lambda axis, _: axis.parameter in norms, lambda scales: scales.abs().mean(dim=1))


def taylor_importance(network: Deployable, evidence: Evidence) -> Importance:
    """Return the squared first-order change of the loss that closing a channel's gate makes, averaged over batches.

    Molchanov et al., "Importance Estimation for Neural Network Pruning" (2019), eq. 8: gradient times weight, summed
    over the weights that read the channel, which is the gradient of its gate.
    """
    gates = {group: gate.requires_grad_() for group, gate in open_gates(network).items()}
    total = {group: torch.zeros_like(gate) for group, gate in gates.items()}
    for start in range(0, len(evidence.labels), BATCH):
        part = slice(start, start + BATCH)
        loss = gated_loss(network, gates, evidence.pixels[part], evidence.labels[part])
        gradients = torch.autograd.grad(loss, list(gates.values()), allow_unused=True, materialize_grads=True)
        for group, gradient in zip(gates, gradients, strict=True):
            total[group] += gradient**2
    return total


def sensitivity_importance(network: Deployable, evidence: Evidence) -> Importance:
    """Return the measured change of the loss when a channel is removed, on a seeded sample of the evidence.

    A group of more than `SENSITIVITY_BLOCKS` channels is measured by that many blocks of channels with neighbouring
    L1 norms, each channel of a block taking its share: the cost is a number of forward passes that does not grow with
    the widths.
    """
    sample = np.random.default_rng(evidence.seed).permutation(len(evidence.labels))[:SENSITIVITY_IMAGES]
    pixels, labels = evidence.pixels[sample], evidence.labels[sample]
    gates, norms = open_gates(network), norm_importance(network, 1)
    loss = mean_loss(network, gates, pixels, labels)
    importance = {group: torch.zeros(len(gate)) for group, gate in gates.items()}
    for group, gate in gates.items():
        for block in torch.argsort(norms[group], stable=True).tensor_split(min(len(gate), SENSITIVITY_BLOCKS)):
            closed = gate.index_fill(0, block, 0.0)
            change = mean_loss(network, {**gates, group: closed}, pixels, labels) - loss
            importance[group][block] = change / len(block)
    return importance


def random_importance(network: Deployable, seed: int) -> Importance:
    """Return seeded random scores: the control that every criterion has to beat."""
    generator = torch.Generator().manual_seed(seed)
    return {group: torch.rand(width, generator=generator) for group, width in network.group_widths().items()}


def _foreign(criterion: str) -> Criterion:
    """Return a plugin's criterion, its scores checked."""
    known = plugins.names(plugins.CRITERIA, tuple(CRITERIA))
    if criterion not in known:
        raise ValueError(f"criterion must be one of {', '.join([*CRITERIA, *known])}, but got {criterion!r}")
    score = plugins.load(plugins.CRITERIA, criterion, tuple(CRITERIA))

    def checked(network: Deployable, evidence: Evidence | None, widths: Mapping[str, int]) -> Importance:
        scores = dict(score(network, evidence, widths))
        wrong = [group for group, width in network.group_widths().items() if not _scores(scores.get(group), width)]
        if wrong:
            raise ValueError(f"criterion {criterion} must give a finite score for each channel of {', '.join(wrong)}")
        return scores

    return checked


def _scores(given: object, width: int) -> bool:
    return isinstance(given, torch.Tensor) and given.shape == (width,) and bool(torch.isfinite(given).all())


def _over_filters(network: Deployable, score: Callable[[torch.Tensor], torch.Tensor]) -> Importance:
    """Sum the scores of the filters (`width x` weights) of every weight that produces a group's channels."""
    return _summed(network, lambda axis, value: axis.axis == 0 and value.ndim > 1, score)


def _summed(
    network: Deployable, is_scored: Callable[[Axis, torch.Tensor], bool],
    score: Callable[[torch.Tensor], torch.Tensor],
) -> Importance:  # fmt: skip
    widths = network.group_widths()
    importance = {group: torch.zeros(width) for group, width in widths.items()}
    for axis, value in _parameters(network):
        if is_scored(axis, value):
            scores = score(by_channel(value, axis, widths[axis.group])).float()
            importance[axis.group] += scores / scores.mean().clamp_min(1e-12)
    return importance


def _parameters(network: Deployable) -> Iterator[tuple[Axis, torch.Tensor]]:
    parameters = dict(network.named_parameters())
    for axis in network.coupled_axes():
        if axis.parameter in parameters:
            yield axis, parameters[axis.parameter].detach()


def _given(evidence: Evidence | None) -> Evidence:
    assert evidence is not None, "channel_importance has checked it"
    return evidence


CRITERIA: Mapping[str, Criterion] = {
    "l1": lambda network, _, __: norm_importance(network, 1),
    "l2": lambda network, _, __: norm_importance(network, 2),
    "taylor": lambda network, evidence, _: taylor_importance(network, _given(evidence)),
    "sensitivity": lambda network, evidence, _: sensitivity_importance(network, _given(evidence)),
    "bn_scale": lambda network, _, __: norm_scale_importance(network),
    "geometric_median": lambda network, _, __: geometric_median_importance(network),
    "learned": lambda network, evidence, widths: learned_importance(network, _given(evidence), widths),
    "random": lambda network, evidence, _: random_importance(network, 0 if evidence is None else evidence.seed),
}
NEEDS_EVIDENCE = frozenset({"taylor", "sensitivity", "learned"})
