"""Replace and remove whole layers: operations dropped, dense convolutions made separable, wide layers factorised.

Which layers are replaced, and by what, follows from their shapes alone, so that the untrained network that is timed
and the trained one that is deployed have the same graph. A layer is replaced only where that saves multiply-adds. What
reads the pixels (too few channels to separate) and what gives the logits stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import nn

from automl.candidate import PruningPlan
from automl.models.deployable import Chain, Deployable
from automl.models.operations import Depthwise

RANK_MULTIPLES = (16, 8)  # channels: what kernels are fast at; the first one that still saves is taken


def replace_layers(network: Deployable, plan: PruningPlan, *, are_trained: bool = True) -> Deployable:
    """Return the network without `plan.dropped`, and with the layers that `separable` and `rank` replace as chains.

    Args:
        network: at its kept widths; left as it is.
        plan: `separable` takes dense kxk convolutions, `rank` 1x1 convolutions and linear layers.
        are_trained: False gives chains of the same shapes with fresh weights, for timing.

    Raises:
        ValueError: where the rank is not above 0 and at most 1.
        InputError: where something dropped is not there, or cannot be spared.
    """
    if not 0 < plan.rank <= 1:
        raise ValueError(f"the rank must be above 0 and at most 1 of the full one, but got {plan.rank:g}")
    if plan.dropped:
        network = network.without(plan.dropped)
    chains = {}
    for name, layer in _replaceable(network):
        chain = _chain_for(layer, plan, are_trained)
        if chain is not None:
            chains[name] = chain
    return network.with_chains(chains) if chains else network


def low_rank(layer: nn.Conv2d | nn.Linear, rank: int, *, is_trained: bool = True) -> Chain:
    """Return the 1x1 convolution or linear layer as two of `rank` channels between them.

    The truncated singular value decomposition of its weight, the best approximation of that rank in the least-squares
    sense (Eckart and Young, 1936; Denton et al., "Exploiting Linear Structure Within Convolutional Networks", 2014);
    the square roots of the singular values go to both sides. A stride goes first, a bias last.
    """
    outputs, inputs = layer.weight.shape[:2]
    has_bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        chain = Chain(nn.Linear(inputs, rank, bias=False), nn.Linear(rank, outputs, bias=has_bias))
    else:
        stride = (layer.stride[0], layer.stride[1])
        chain = Chain(nn.Conv2d(inputs, rank, 1, stride, bias=False), nn.Conv2d(rank, outputs, 1, bias=has_bias))
    chain.to(layer.weight.dtype)
    if is_trained:
        left, values, right = torch.linalg.svd(layer.weight.detach().double().flatten(1), full_matrices=False)
        roots = values[:rank].sqrt()
        _fill(chain, (roots[:, None] * right[:rank], left[:, :rank] * roots), layer.bias)
    return chain


def separated(layer: nn.Conv2d, *, is_trained: bool = True) -> Chain:
    """Return the dense kxk convolution as a depthwise one and a 1x1 one (Howard et al., "MobileNets", 2017).

    For each input channel the kernels to all outputs are an `outputs x k*k` matrix; its best approximation of rank one
    (Jaderberg et al., "Speeding up Convolutional Neural Networks with Low Rank Expansions", 2014, one filter a
    channel) is the depthwise kernel times the 1x1 weights.
    """
    chain = Chain(
        _depthwise_like(layer), nn.Conv2d(layer.in_channels, layer.out_channels, 1, bias=layer.bias is not None)
    ).to(layer.weight.dtype)
    if is_trained:
        matrices = layer.weight.detach().double().transpose(0, 1).flatten(2)  # inputs x outputs x k*k
        left, values, right = torch.linalg.svd(matrices, full_matrices=False)
        roots = values[:, :1].sqrt()
        _fill(chain, (right[:, 0] * roots, (left[:, :, 0] * roots).T), layer.bias)
    return chain


def saving_rank(inputs: int, outputs: int, share: float) -> int | None:
    """Return the rank for `share` of the full one, rounded up to a channel multiple; None where nothing is saved."""
    asked = math.ceil(share * min(inputs, outputs) - 1e-9)
    for multiple in RANK_MULTIPLES:
        rank = math.ceil(asked / multiple) * multiple
        if rank * (inputs + outputs) < inputs * outputs:
            return rank
    return None


def _replaceable(network: Deployable) -> Iterator[tuple[str, nn.Conv2d | nn.Linear]]:
    chained = {id(member) for module in network.modules() if isinstance(module, Chain) for member in module.modules()}
    for name, layer in network.named_modules():
        if id(layer) in chained:
            continue
        if isinstance(layer, nn.Linear):
            is_replaceable = layer.out_features != network.task.classes
        else:
            is_replaceable = isinstance(layer, nn.Conv2d) and _is_dense(layer, network.task.channels)
        if is_replaceable:
            yield name, layer


def _is_dense(layer: nn.Conv2d, pixel_channels: int) -> bool:
    is_plain = layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return is_plain and layer.groups == 1 and layer.in_channels > pixel_channels


def _chain_for(layer: nn.Conv2d | nn.Linear, plan: PruningPlan, is_trained: bool) -> Chain | None:
    outputs, inputs = layer.weight.shape[:2]
    taps = layer.weight[0, 0].numel()
    if isinstance(layer, nn.Conv2d) and taps > 1:
        saves = inputs * (taps + outputs) < inputs * outputs * taps
        return separated(layer, is_trained=is_trained) if plan.separable and saves else None
    if plan.rank == 1 or (isinstance(layer, nn.Conv2d) and any(layer.padding)):
        return None
    rank = saving_rank(inputs, outputs, plan.rank)
    return None if rank is None else low_rank(layer, rank, is_trained=is_trained)


def _depthwise_like(layer: nn.Conv2d) -> nn.Conv2d:
    """Return a fresh depthwise convolution of the layer's geometry, in the form that trains fast where it can be."""
    channels, (height, width) = layer.in_channels, layer.kernel_size
    stride, dilation = (layer.stride[0], layer.stride[1]), (layer.dilation[0], layer.dilation[1])
    padding = (int(layer.padding[0]), int(layer.padding[1]))
    is_square = height == width and len({*stride}) == len({*dilation}) == 1
    is_same = padding == (dilation[0] * (height // 2),) * 2
    if is_square and is_same and height % 2 and max(*stride, *dilation) <= 2:
        return Depthwise(channels, height, stride=stride[0], dilation=dilation[0])
    return nn.Conv2d(channels, channels, (height, width), stride, padding, dilation, channels, bias=False)


def _fill(chain: Chain, weights: tuple[torch.Tensor, torch.Tensor], bias: torch.Tensor | None) -> None:
    with torch.no_grad():
        for layer, weight in zip(chain, weights, strict=True):
            assert isinstance(layer, nn.Conv2d | nn.Linear)
            layer.weight.copy_(weight.reshape(layer.weight.shape))
            if layer.bias is not None and bias is not None:
                layer.bias.copy_(bias)
