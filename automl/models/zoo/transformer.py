"""The layers of a transformer encoder: what they compute, and how they are told to a graph.

Vaswani et al., "Attention Is All You Need" (2017), with normalisation before each part of a layer (Xiong et al., "On
Layer Normalization in the Transformer Architecture", 2020), which trains from scratch without a long warm-up.
In a graph activations are `(batch x length) x width` throughout, so that every linear layer is one matrix product, and
the three projections of attention are one. The products of activations stay in floating point.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from automl.models.deployable import Chain
from automl.models.zoo.token_graph import TokenGraph

MASKED = -1e9  # finite, so that a text of padding alone gives no NaN


@dataclass(frozen=True)
class Tokens:
    """Which of `n x length` positions hold a token: attention sees those alone.

    `bias` is `n x 1 x 1 x length`, to be added to the scores. `index` are the flat positions of the tokens; None
    computes every position, as the exported file does.
    """

    shape: tuple[int, int]
    bias: torch.Tensor
    index: torch.Tensor | None

    def take(self, x: torch.Tensor) -> torch.Tensor:
        """Return `n x length x width` as `count x width`: the tokens, one after the other."""
        flat = x.flatten(0, 1)
        return flat if self.index is None else flat.index_select(0, self.index)

    def spread(self, x: torch.Tensor) -> torch.Tensor:
        """Return `count x width` as `n x length x width`, zeros between the texts."""
        if self.index is None:
            return x.view(*self.shape, -1)
        empty = x.new_zeros(self.shape[0] * self.shape[1], x.shape[-1])
        return empty.index_copy(0, self.index, x).view(*self.shape, -1)


class Attention(nn.Module):
    """Multi-head self-attention; each head has `head_width` consecutive rows of the three projections."""

    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads, self.head_width = heads, head_width
        self.query, self.key, self.value = (nn.Linear(width, heads * head_width) for _ in range(3))
        self.out = nn.Linear(heads * head_width, width)

    def forward(self, x: torch.Tensor, tokens: Tokens) -> torch.Tensor:
        """Map `count x width` to `count x width`."""
        query, key, value = (
            tokens.spread(project(x)).view(*tokens.shape, self.heads, self.head_width).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(2, 3) / self.head_width**0.5 + tokens.bias
        mixed = scores.softmax(dim=-1) @ value  # n x heads x length x head width
        return self.out(tokens.take(mixed.transpose(1, 2).flatten(2)))  # type: ignore[no-any-return]

    def emit(self, graph: TokenGraph, x: str, bias: str, shape: tuple[int, int], site: str) -> str:
        """Write the layer; `bias` is `batch x 1 x 1 x length`, `shape` is (batch, length)."""
        split = graph.constant([*shape, self.heads, self.head_width])
        query, key, value = (graph.node("Reshape", [part, split]) for part in self._projected(graph, x, site))
        query, value = (graph.node("Transpose", [part], perm=[0, 2, 1, 3]) for part in (query, value))
        key = graph.node("Transpose", [key], perm=[0, 2, 3, 1])
        scores = graph.node("Add", [graph.node("MatMul", [query, key]), bias])
        mixed = graph.node("MatMul", [graph.node("Softmax", [scores], axis=-1), value])
        joined = graph.constant([shape[0] * shape[1], self.heads * self.head_width])
        mixed = graph.node("Reshape", [graph.node("Transpose", [mixed], perm=[0, 2, 1, 3]), joined])
        return emit_linear(graph, mixed, self.out, f"{site}.out")

    def _projected(self, graph: TokenGraph, x: str, site: str) -> list[str]:
        """Return queries, divided by the root of the head's width, keys and values."""
        layers, scales = (self.query, self.key, self.value), (self.head_width**-0.5, 1.0, 1.0)
        if any(isinstance(layer, Chain) for layer in layers):
            return [
                emit_linear(graph, x, layer, f"{site}.{name}", scale)
                for name, layer, scale in zip(("query", "key", "value"), layers, scales, strict=True)
            ]
        weight = torch.cat([layer.weight * scale for layer, scale in zip(layers, scales, strict=True)])
        bias = torch.cat([layer.bias * scale for layer, scale in zip(layers, scales, strict=True)])
        joined = graph.linear(x, weight, bias, f"{site}.query_key_value")
        return graph.nodes("Split", [joined, graph.constant([self.heads * self.head_width] * 3)], 3, axis=-1)


class FeedForward(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, width: int, neurons: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, neurons), nn.Linear(neurons, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `count x width` to `count x width`."""
        return self.down(functional.gelu(self.up(x)))  # type: ignore[no-any-return]

    def emit(self, graph: TokenGraph, x: str, site: str) -> str:
        """Write the network."""
        hidden = graph.node("Gelu", [emit_linear(graph, x, self.up, f"{site}.up")])
        return emit_linear(graph, hidden, self.down, f"{site}.down")


class EncoderLayer(nn.Module):
    """Attention and a feed-forward network, each behind a normalisation and around a shortcut."""

    def __init__(self, width: int, heads: int, head_width: int, neurons: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.feed_forward = Attention(width, heads, head_width), FeedForward(width, neurons)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, tokens: Tokens) -> torch.Tensor:
        """Map `n x length x width` to the same shape."""
        packed = tokens.take(x)
        packed = packed + self.dropout(self.attention(self.attention_norm(packed), tokens))
        packed = packed + self.dropout(self.feed_forward(self.feed_forward_norm(packed)))
        return tokens.spread(packed)

    def emit(self, graph: TokenGraph, x: str, bias: str, shape: tuple[int, int], site: str) -> str:
        """Write the layer over `(batch x length) x width`."""
        attended = self.attention.emit(graph, graph.norm(x, self.attention_norm), bias, shape, f"{site}.attention")
        x = graph.node("Add", [x, attended])
        fed = self.feed_forward.emit(graph, graph.norm(x, self.feed_forward_norm), f"{site}.feed_forward")
        return graph.node("Add", [x, fed])


def emit_linear(graph: TokenGraph, x: str, layer: nn.Module, site: str, scale: float = 1.0) -> str:
    """Write a linear layer, or each of a chain of them; `scale` multiplies what comes out of the last."""
    links = [link for link in (layer if isinstance(layer, Chain) else [layer]) if isinstance(link, nn.Linear)]
    for position, link in enumerate(links):
        factor = scale if link is links[-1] else 1.0
        bias = None if link.bias is None else link.bias * factor
        x = graph.linear(x, link.weight * factor, bias, f"{site}.{position}")
    return x
