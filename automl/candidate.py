"""A candidate: one point of the joint space as a value, in canonical form, with its two keys.

A candidate says everything that decides what is deployed (cells, kept widths, precisions) and everything that
acts on training besides (the width before pruning, distillation, hyperparameters). Two candidates that would
deploy the same graph share `shape_key`; two that would train alike as well share `candidate_hash`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

FORMAT_VERSION = 1  # part of both keys: raise it whenever the emitted graph of an old candidate changes
STAGES = 3  # separated by the two reduction cells
INERT_EDGE_OPERATION = "skip_connect"


@dataclass(frozen=True)
class Edge:
    """An operation applied to the state with index `source` (0: the cell before last, 1: the last one)."""

    operation: str
    source: int


@dataclass(frozen=True)
class Cell:
    """A DARTS cell (Liu et al., 2019): every node adds two edges; the nodes in `concat` are concatenated.

    States 0 and 1 are the cell's inputs, state `2 + i` is `nodes[i]`.
    """

    nodes: tuple[tuple[Edge, Edge], ...]
    concat: tuple[int, ...]

    def reachable_nodes(self) -> tuple[int, ...]:
        """Return the indices into `nodes` from which the output can be reached, in order."""
        alive = set(self.concat)
        for index in range(len(self.nodes) - 1, -1, -1):
            if index + 2 in alive:
                alive.update(edge.source for edge in self.nodes[index])
        return tuple(index for index in range(len(self.nodes)) if index + 2 in alive)

    def canonical(self) -> Cell:
        """Return the cell with unreachable nodes made inert and each node's edges ordered by source, then name."""
        alive = self.reachable_nodes()
        inert = (Edge(INERT_EDGE_OPERATION, 0), Edge(INERT_EDGE_OPERATION, 1))
        nodes = tuple(_ordered(node) if index in alive else inert for index, node in enumerate(self.nodes))
        return Cell(nodes, tuple(sorted(set(self.concat))))


def _ordered(node: tuple[Edge, Edge]) -> tuple[Edge, Edge]:
    first, second = sorted(node, key=lambda edge: (edge.source, edge.operation))
    return (first, second)


@dataclass(frozen=True)
class Genotype:
    """The architecture: two cells, how many cells are stacked, and the start width in channels."""

    normal: Cell
    reduction: Cell
    cells: int
    width: int

    def reduction_positions(self) -> tuple[int, ...]:
        """Return the positions of the reduction cells: a third and two thirds of the depth, as in DARTS."""
        return tuple(sorted({self.cells // 3, 2 * self.cells // 3}))

    def stage_of(self, position: int) -> int:
        """Return the stage (0, 1 or 2) in which the cell at `position` computes."""
        return sum(position >= reduction for reduction in self.reduction_positions())

    def stage_widths(self) -> tuple[int, ...]:
        """Return the unpruned width of each stage in channels: doubled by each reduction."""
        return tuple(self.width * 2**stage for stage in range(STAGES))

    def cell_at(self, position: int) -> Cell:
        """Return the cell that stands at `position`."""
        return self.reduction if position in self.reduction_positions() else self.normal


@dataclass(frozen=True)
class PruningPlan:
    """The width in channels that each stage keeps; what a ratio asked for is already rounded into it."""

    kept_widths: tuple[int, ...]

    def ratios(self, genotype: Genotype) -> tuple[float, ...]:
        """Return the share of channels that each stage loses, 0 where nothing is pruned."""
        return tuple(1 - kept / full for kept, full in zip(self.kept_widths, genotype.stage_widths(), strict=True))


@dataclass(frozen=True)
class QuantizationPlan:
    """Bits of the weights and of the activations in each stage; (32, 32) is plain floating point."""

    weight_bits: tuple[int, ...]
    activation_bits: tuple[int, ...]

    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Return (weight bits, activation bits) by stage."""
        return tuple(zip(self.weight_bits, self.activation_bits, strict=True))


@dataclass(frozen=True)
class DistillationPlan:
    """alpha x hard + (1 - alpha) x T^2 x soft (Hinton et al., 2015); alpha 1 means no teacher."""

    alpha: float
    temperature: float


@dataclass(frozen=True)
class TrainingPlan:
    """Hyperparameters of one training. `clip_norm` 0 means no clipping. `epochs` counts before and after pruning."""

    optimizer: str
    learning_rate: float
    weight_decay: float
    batch_size: int
    epochs: int
    dropout: float
    label_smoothing: float
    clip_norm: float


@dataclass(frozen=True)
class Candidate:
    """One point of the joint space."""

    genotype: Genotype
    pruning: PruningPlan
    quantization: QuantizationPlan
    distillation: DistillationPlan
    training: TrainingPlan

    def is_pruned(self) -> bool:
        """Tell whether any stage loses channels."""
        return self.pruning.kept_widths != self.genotype.stage_widths()

    def is_quantized(self) -> bool:
        """Tell whether any stage leaves plain floating point."""
        return any(pair != (32, 32) for pair in self.quantization.pairs())

    def is_compressed(self) -> bool:
        """Tell whether the candidate differs from its uncompressed twin."""
        return self.is_pruned() or self.is_quantized()

    def canonical(self) -> Candidate:
        """Return the one representative of all candidates that behave the same."""
        genotype = replace(
            self.genotype, normal=self.genotype.normal.canonical(), reduction=self.genotype.reduction.canonical()
        )
        if len(genotype.reduction_positions()) == genotype.cells:  # no normal cell stands anywhere
            genotype = replace(genotype, normal=genotype.reduction)
        distillation = self.distillation
        if distillation.alpha == 1.0:
            distillation = replace(distillation, temperature=1.0)
        return replace(self, genotype=genotype, distillation=distillation)

    def twin(self) -> Candidate:
        """Return the uncompressed twin: the same architecture and training, unpruned, in floating point."""
        full = self.genotype.stage_widths()
        return replace(
            self,
            pruning=PruningPlan(full),
            quantization=QuantizationPlan((32,) * STAGES, (32,) * STAGES),
        )

    def candidate_hash(self) -> str:
        """Return 16 hex digits over everything that acts on the trained file."""
        return _digest(["candidate", FORMAT_VERSION, candidate_to_json(self.canonical())])

    def shape_key(self, input_shape: tuple[int, ...], classes: int, batch: int = 1) -> str:
        """Return 16 hex digits over what is deployed: cells, kept widths, precisions and input, not the weights.

        `input_shape` is that of one raw image, (height, width) or (height, width, channels).
        """
        graph = candidate_to_json(self.canonical())
        architecture = {key: graph["genotype"][key] for key in ("normal", "reduction", "cells")}
        return _digest(
            ["shape", FORMAT_VERSION, architecture, graph["pruning"], graph["quantization"],
             list(input_shape), classes, batch]
        )  # fmt: skip


def candidate_to_json(candidate: Candidate) -> dict[str, Any]:
    """Return the candidate as plain JSON values."""
    value = asdict(candidate)
    for kind in ("normal", "reduction"):
        cell: Cell = getattr(candidate.genotype, kind)
        value["genotype"][kind] = {
            "nodes": [[[edge.operation, edge.source] for edge in node] for node in cell.nodes],
            "concat": list(cell.concat),
        }
    return json.loads(json.dumps(value))  # type: ignore[no-any-return]


def candidate_from_json(value: Mapping[str, Any]) -> Candidate:
    """Return the candidate that `candidate_to_json` wrote.

    Raises:
        KeyError, TypeError, ValueError: where `value` is not such a document.
    """
    genotype = value["genotype"]
    return Candidate(
        Genotype(
            _cell_from_json(genotype["normal"]),
            _cell_from_json(genotype["reduction"]),
            int(genotype["cells"]),
            int(genotype["width"]),
        ),
        PruningPlan(tuple(value["pruning"]["kept_widths"])),
        QuantizationPlan(tuple(value["quantization"]["weight_bits"]), tuple(value["quantization"]["activation_bits"])),
        DistillationPlan(**value["distillation"]),
        TrainingPlan(**value["training"]),
    )


def _cell_from_json(value: Mapping[str, Any]) -> Cell:
    nodes = tuple((Edge(*first), Edge(*second)) for first, second in value["nodes"])
    return Cell(nodes, tuple(value["concat"]))


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
