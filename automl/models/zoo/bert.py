"""A transformer encoder that classifies texts, whose attention heads, neurons and layers can be removed.

Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers" (2019): token and position embeddings, layers of
self-attention and feed-forward networks. The mean over the tokens is classified.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import nn

from automl.candidate import QuantizationPlan
from automl.errors import Fault, InputError
from automl.models.deployable import INPUT, OUTPUT, Axis, Chain, Deployable, Task
from automl.models.number_formats import Codes
from automl.models.zoo.token_graph import TokenGraph, check_plan
from automl.models.zoo.transformer import MASKED, EncoderLayer, Tokens, emit_linear

PADDING_ID = 0
EMBEDDING_DEVIATION = 0.02  # as in BERT
TEXT = "int64"


class BertClassifier(Deployable):
    """Token ids to logits; each layer is a stage, the embeddings are part of the first and the classifier of the last.

    Two groups a layer can be narrowed: "layers.I.attention", counted in heads, which go whole (Michel et al., "Are
    Sixteen Heads Really Better than One?", 2019), and "layers.I.feed_forward", counted in neurons. Layers that are
    dropped leave the names of the others as they are.

    Args:
        task: of token ids.
        width: of the residual stream.
        layers: how many there are.
        heads: of each layer; they share the width.
        neurons: of each feed-forward network.
        dropout: after the embeddings, after each part of a layer, and before the classifier.
    """

    def __init__(
        self, task: Task, *, width: int, layers: int, heads: int, neurons: int, dropout: float = 0.0
    ) -> None:  # fmt: skip
        super().__init__()
        self.task, self.depth = task, layers
        self.token_embedding = nn.Embedding(task.vocabulary, width)
        self.position_embedding = nn.Embedding(task.input_shape[0], width)
        for embedding in (self.token_embedding, self.position_embedding):
            nn.init.normal_(embedding.weight, std=EMBEDDING_DEVIATION)
        self.layers = nn.ModuleDict(
            {str(i): EncoderLayer(width, heads, width // heads, neurons, dropout) for i in range(layers)}
        )
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(width, task.classes)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Map token ids, `n x length`, to `n x classes` logits.

        Padding is computed in evaluation, as in the file, and left out while training: the same logits for less.
        """
        ids = ids.long()
        is_token = ids != PADDING_ID
        if self.training:
            longest = max(int(is_token.sum(dim=1).max()), 1)  # padding comes last
            ids, is_token = ids[:, :longest], is_token[:, :longest]
        x = self.token_embedding(ids) + self.position_embedding.weight[: ids.shape[1]]
        bias = torch.where(is_token, 0.0, MASKED)[:, None, None, :].to(x.dtype)
        index = is_token.flatten().nonzero()[:, 0] if self.training else None
        tokens = Tokens((ids.shape[0], ids.shape[1]), bias, index)
        x = self.dropout(x)
        for layer in self.layers.values():
            x = layer(x, tokens)
        weights = is_token[:, :, None].to(x.dtype)
        pooled = (self.norm(x) * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1.0)
        return self.classifier(self.dropout(pooled))  # type: ignore[no-any-return]

    def encoder_layers(self) -> dict[int, EncoderLayer]:
        """Return the layers that there are by their place among all that there were, in order."""
        return {int(name): layer for name, layer in self.layers.items() if isinstance(layer, EncoderLayer)}

    def write(self, plan: QuantizationPlan, *, codes: Codes | None, largest_code: int, batch: int) -> bytes:
        """Return the ONNX file; see `Deployable.write`. Integer and block formats are those of linear layers.

        Raises:
            ValueError: where the plan asks for a format that the file cannot have.
        """
        check_plan(plan, self.depth)
        graph = TokenGraph(plan, codes, largest_code)
        logits = self._emit(graph, plan, batch)
        return graph.serialize((batch, *self.task.input_shape), {OUTPUT: logits})

    def observed(self, batch: int) -> tuple[bytes, tuple[str, ...]]:
        """Return the floating-point file that shows every site, the inputs of linear layers, and their names."""
        plan = QuantizationPlan((32,) * self.depth, (32,) * self.depth)
        graph = TokenGraph(plan, None, 127)
        logits = self._emit(graph, plan, batch)
        file = graph.serialize((batch, *self.task.input_shape), {OUTPUT: logits} | graph.sites)
        return file, tuple(graph.sites)

    def _emit(self, graph: TokenGraph, plan: QuantizationPlan, batch: int) -> str:
        """Write the whole network; return the name of the logits."""
        shape, precisions = (batch, self.task.input_shape[0]), plan.pairs()
        graph.precision = precisions[0]
        is_padding = graph.node("Equal", [INPUT, graph.constant(np.int64(PADDING_ID))])
        masked = graph.node("Mul", [graph.node("Cast", [is_padding], to="FLOAT"), graph.constant(np.float32(MASKED))])
        bias = graph.node("Reshape", [masked, graph.constant([batch, 1, 1, shape[1]])])
        x = graph.embedding(INPUT, self.token_embedding.weight)
        x = graph.node("Add", [x, graph.constant(self.position_embedding.weight.detach().float().numpy())])
        x = graph.node("Reshape", [x, graph.constant([batch * shape[1], -1])])
        for stage, layer in self.encoder_layers().items():
            graph.precision = precisions[stage]
            x = layer.emit(graph, x, bias, shape, f"layers.{stage}")
        graph.precision = precisions[-1]
        return emit_linear(graph, self._emit_mean(graph, x, is_padding, shape), self.classifier, "classifier")

    def _emit_mean(self, graph: TokenGraph, x: str, is_padding: str, shape: tuple[int, int]) -> str:
        """Write the mean over the tokens of each text, `batch x width`."""
        x = graph.node("Reshape", [graph.norm(x, self.norm), graph.constant([*shape, -1])])
        weights = graph.node("Cast", [graph.node("Not", [is_padding])], to="FLOAT")
        summed = graph.node("MatMul", [graph.node("Reshape", [weights, graph.constant([shape[0], 1, shape[1]])]), x])
        count = graph.node("ReduceSum", [weights, graph.constant([1])], keepdims=1)
        count = graph.node("Max", [count, graph.constant(np.float32(1))])
        return graph.node("Div", [graph.node("Reshape", [summed, graph.constant([shape[0], -1])]), count])

    def coupled_axes(self) -> Iterator[Axis]:
        """Yield every axis that must lose the same heads, or neurons, together."""
        for i, layer in self.encoder_layers().items():
            heads, neurons = f"layers.{i}.attention", f"layers.{i}.feed_forward"
            for name in ("query", "key", "value"):
                for parameter in ("weight", "bias"):
                    yield Axis(f"{heads}.{name}.{parameter}", 0, heads, 1, layer.attention.head_width)
            yield Axis(f"{heads}.out.weight", 1, heads, 1, layer.attention.head_width)
            yield Axis(f"{neurons}.up.weight", 0, neurons, 1)
            yield Axis(f"{neurons}.up.bias", 0, neurons, 1)
            yield Axis(f"{neurons}.down.weight", 1, neurons, 1)

    def group_widths(self) -> dict[str, int]:
        """Return the heads and the neurons of each layer."""
        widths = {}
        for i, layer in self.encoder_layers().items():
            widths[f"layers.{i}.attention"] = layer.attention.heads
            widths[f"layers.{i}.feed_forward"] = layer.feed_forward.up.out_features
        return widths

    def group_multiples(self, channel_multiple: int) -> dict[str, int]:
        """Return what the kept width of each group must be a multiple of: so many whole heads."""
        head_width = self._head_width()
        heads = math.lcm(channel_multiple, head_width) // head_width
        return {group: heads if group.endswith("attention") else channel_multiple for group in self.group_widths()}

    def groups_kept(self, kept_widths: Sequence[int]) -> dict[str, int]:
        """Return what each group keeps: two widths, heads and neurons, for each layer that there was."""
        if len(kept_widths) != 2 * self.depth:
            raise ValueError(f"kept_widths must be {2 * self.depth} widths, two a layer, but got {len(kept_widths)}")
        kept = {}
        for i in self.encoder_layers():
            kept[f"layers.{i}.attention"], kept[f"layers.{i}.feed_forward"] = kept_widths[2 * i : 2 * i + 2]
        return kept

    def narrowed(self, kept: Mapping[str, torch.Tensor]) -> BertClassifier:
        """Return a new network with these heads and neurons of each layer, weights and all."""
        narrow, widths = copy.deepcopy(self), self.group_widths()
        for axis in self.coupled_axes():
            runs = torch.arange(widths[axis.group] * axis.repeat).view(-1, axis.repeat)
            _select(narrow, axis, runs[kept[axis.group]].flatten())
        for i, layer in narrow.encoder_layers().items():
            layer.attention.heads = len(kept[f"layers.{i}.attention"])
        return narrow

    def stage_ends(self) -> tuple[str, ...]:
        """Return the layers; where one was dropped, its stage ends where the one before it does."""
        left = list(self.encoder_layers())
        standing = [max((i for i in left if i <= stage), default=left[0]) for stage in range(self.depth)]
        return tuple(f"layers.{i}" for i in standing)

    def droppable(self) -> tuple[str, ...]:
        """Return the layers, where there is more than one."""
        names = tuple(f"layers.{i}" for i in self.encoder_layers())
        return names if len(names) > 1 else ()

    def without(self, dropped: Sequence[str]) -> BertClassifier:
        """Return a new network that lacks these layers.

        Raises:
            InputError: naming what is no layer of it, or that none would be left.
        """
        names = self.droppable()
        faults = [Fault("pruning.drop", f"among {', '.join(names)}", name) for name in dropped if name not in names]
        if not faults and len(set(dropped)) == len(names):
            faults.append(Fault("pruning.drop", "such that one layer stays", ", ".join(dropped)))
        if faults:
            raise InputError(faults)
        shallow = copy.deepcopy(self)
        for name in set(dropped):
            del shallow.layers[name.removeprefix("layers.")]
        return shallow

    def with_chains(self, chains: Mapping[str, Chain]) -> BertClassifier:
        """Return a new network in which the linear layer of each name is a chain of two."""
        chained = copy.deepcopy(self)
        for name, chain in chains.items():
            chained.set_submodule(name, chain)
        return chained

    def _head_width(self) -> int:
        return next(iter(self.encoder_layers().values())).attention.head_width


def _select(network: nn.Module, axis: Axis, index: torch.Tensor) -> None:
    """Keep these entries of one axis of a linear layer's parameter, in place."""
    path, _, name = axis.parameter.rpartition(".")
    layer = network.get_submodule(path)
    assert isinstance(layer, nn.Linear)
    value = getattr(layer, name)
    setattr(layer, name, nn.Parameter(value.detach().index_select(axis.axis, index), value.requires_grad))
    layer.out_features, layer.in_features = layer.weight.shape


def bert_classifier(
    classes: int, length: int, vocabulary: int, *, width: int = 128, layers: int = 2, heads: int = 4,
    neurons: int = 512, dropout: float = 0.1,
) -> BertClassifier:  # fmt: skip
    """Return an untrained classifier of texts of `length` tokens out of `vocabulary`, small enough to train on a CPU.

    Raises:
        InputError: naming every fault of the sizes.
    """
    sizes = {"classes": classes, "length": length, "vocabulary": vocabulary, "width": width, "layers": layers,
             "heads": heads, "neurons": neurons}  # fmt: skip
    faults = [Fault(f"bert_classifier: {key}", "at least 1", str(value)) for key, value in sizes.items() if value < 1]
    if not faults and width % heads:
        faults.append(Fault("bert_classifier: width", f"a multiple of the {heads} heads", str(width)))
    if faults:
        raise InputError(faults)
    task = Task((length,), classes, (), (), TEXT, vocabulary)
    return BertClassifier(task, width=width, layers=layers, heads=heads, neurons=neurons, dropout=dropout)
