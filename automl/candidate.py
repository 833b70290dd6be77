"""A candidate: one point of the joint space as a value, in canonical form, with its two keys.

A candidate says everything that decides what is deployed (cells, kept widths, precisions) and everything that
acts on training besides (the width before pruning, distillation, hyperparameters). Two candidates that would
deploy the same graph share `shape_key`; two that would train alike as well share `candidate_hash`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
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
class UserModel:
    """A model that the user brought: what it is called, and what of it can be pruned.

    `digest` is 16 hex digits over its graph and its given weights. `groups` names the coupled groups of channels that
    must be pruned together, each after the first layer that produces it; `widths` are their full channels, `stages`
    the stage (0, 1, ...) that each belongs to. Bits and ratios are chosen by stage; there are `stage_count` of them,
    some possibly without a group. `kind` is how it becomes a file: "traced" (its graph is known and written by us),
    "opaque" (a torch module that torch exports), "onnx" (a file already; nothing of it can be trained or pruned).
    """

    name: str
    digest: str
    groups: tuple[str, ...]
    widths: tuple[int, ...]
    stages: tuple[int, ...]
    stage_count: int
    kind: str = "traced"

    def stage_widths(self) -> tuple[int, ...]:
        """Return the unpruned width of each group in channels: what `PruningPlan.kept_widths` counts against."""
        return self.widths


Architecture = Genotype | UserModel


@dataclass(frozen=True)
class PruningPlan:
    """What is removed, how it is chosen, and when.

    `kept_widths` is the width in channels that each stage (of a user's model: each group) keeps; what a ratio asked for
    is already rounded into it. `criterion` and `schedule` name how channels are chosen and over how many steps they go.
    `dropped` names whole operations or layers that are removed: "normal.2_1" is side 1 of node 2 of the normal cell,
    a dotted module name in a user's model. `sparsity` is the share of the remaining weights that is set to zero in
    `pattern` ("unstructured" or "2:4"). `rank` is the share of the full rank to which 1x1 convolutions and linear
    layers are factorised (1: not at all), `separable` replaces dense convolutions by depthwise separable ones.
    """

    kept_widths: tuple[int, ...]
    criterion: str = "l1"
    schedule: str = "one_shot"
    dropped: tuple[str, ...] = ()
    sparsity: float = 0.0
    pattern: str = "unstructured"
    rank: float = 1.0
    separable: bool = False

    def ratios(self, genotype: Architecture) -> tuple[float, ...]:
        """Return the share of channels that each stage loses, 0 where nothing is pruned."""
        return tuple(1 - kept / full for kept, full in zip(self.kept_widths, genotype.stage_widths(), strict=True))


@dataclass(frozen=True)
class QuantizationPlan:
    """Bits of the weights and of the activations in each stage, and how codes and ranges are found.

    (32, 32) is plain floating point. `weights` is "uniform", or "codebook" or "power_of_two" for weights that are
    stored as entropy-coded indices and restored at load (activations stay in floating point: a size method). `scales`
    is "channel" or "tensor". `activations` is "static" or "dynamic" (ranges found at every call; linear and recurrent
    layers). `block` is the number of weights that share a scale in weight-only formats of linear layers (0: a scale a
    channel). `calibration` is "min_max", "percentile" or "mse"; `training` is "none", "qat" (fixed step sizes) or
    "lsq" (learned ones).
    """

    weight_bits: tuple[int, ...]
    activation_bits: tuple[int, ...]
    weights: str = "uniform"
    scales: str = "channel"
    activations: str = "static"
    block: int = 0
    calibration: str = "min_max"
    training: str = "none"

    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Return (weight bits, activation bits) by stage."""
        return tuple(zip(self.weight_bits, self.activation_bits, strict=True))


@dataclass(frozen=True)
class DistillationPlan:
    """alpha x hard + (1 - alpha) x T^2 x soft (Hinton et al., 2015); alpha 1 means no teacher.

    `method` says what is soft: "response" (the teacher's answers), "feature" or "relation" (those and what its stages
    hold, or how its samples lie to each other), or "self" (no teacher: a virtual one that is right and smooth).
    """

    alpha: float
    temperature: float
    method: str = "response"


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
    """One point of the joint space. `runtime` is what serves the file: "onnxruntime" or "openvino"."""

    genotype: Architecture
    pruning: PruningPlan
    quantization: QuantizationPlan
    distillation: DistillationPlan
    training: TrainingPlan
    runtime: str = "onnxruntime"

    def loses_channels(self) -> bool:
        """Tell whether any stage loses channels."""
        return self.pruning.kept_widths != self.genotype.stage_widths()

    def is_pruned(self) -> bool:
        """Tell whether anything is removed or replaced: channels, operations, single weights, ranks."""
        plan = self.pruning
        return self.loses_channels() or bool(plan.dropped) or plan.sparsity > 0 or plan.rank < 1 or plan.separable

    def is_quantized(self) -> bool:
        """Tell whether any stage leaves plain floating point."""
        return any(pair != (32, 32) for pair in self.quantization.pairs())

    def is_compressed(self) -> bool:
        """Tell whether the candidate differs from its uncompressed twin."""
        return self.is_pruned() or self.is_quantized()

    def is_entropy_coded(self) -> bool:
        """Tell whether the file is stored compressed and restored at load: zeros and few levels only pay there."""
        return self.pruning.sparsity > 0 or self.quantization.weights != "uniform"

    def canonical(self) -> Candidate:
        """Return the one representative of all candidates that behave the same."""
        genotype = self.genotype
        if isinstance(genotype, Genotype):
            genotype = _canonical_genotype(genotype)
        distillation = self.distillation
        if distillation.alpha == 1.0:
            distillation = DistillationPlan(1.0, 1.0)
        return replace(
            self,
            genotype=genotype,
            pruning=self._canonical_pruning(genotype),
            quantization=_canonical_quantization(self.quantization),
            distillation=distillation,
        )

    def _canonical_pruning(self, genotype: Architecture) -> PruningPlan:
        dropped = set(self.pruning.dropped)
        if isinstance(self.genotype, Genotype):
            assert isinstance(genotype, Genotype)
            dropped = {_canonical_drop(name, self.genotype) for name in dropped if _stands(name, genotype)}
        plan = replace(self.pruning, dropped=tuple(sorted(dropped)))
        if not self.loses_channels():
            plan = replace(plan, criterion="l1")
            if not (plan.dropped or plan.sparsity > 0 or plan.rank < 1 or plan.separable):
                plan = replace(plan, schedule="one_shot")
        return plan if plan.sparsity > 0 else replace(plan, pattern="unstructured")

    def twin(self, runtime: str = "onnxruntime") -> Candidate:
        """Return the uncompressed twin: the same architecture and training, unpruned, in floating point.

        `runtime` is the one in which the target's floating point is fastest.
        """
        full, stages = self.genotype.stage_widths(), len(self.quantization.weight_bits)
        return replace(
            self,
            pruning=PruningPlan(full),
            quantization=QuantizationPlan((32,) * stages, (32,) * stages),
            runtime=runtime,
        )

    def candidate_hash(self) -> str:
        """Return 16 hex digits over everything that acts on the trained file."""
        return _digest(["candidate", FORMAT_VERSION, candidate_to_json(self.canonical())])

    def shape_key(self, input_shape: tuple[int, ...], classes: int, batch: int = 1) -> str:
        """Return 16 hex digits over what is deployed: cells, kept widths, precisions and input, not the weights.

        `input_shape` is that of one raw image, (height, width) or (height, width, channels).
        """
        graph = candidate_to_json(self.canonical())
        architecture = {key: value for key, value in graph["genotype"].items() if key != "width"}
        for part, inert in (("pruning", NOT_IN_THE_GRAPH), ("quantization", NOT_IN_THE_GRAPH)):
            graph[part] = {key: value for key, value in graph[part].items() if key not in inert}
        runtime = [graph["runtime"]] if "runtime" in graph else []
        return _digest(
            ["shape", FORMAT_VERSION, architecture, graph["pruning"], graph["quantization"],
             list(input_shape), classes, batch, *runtime]
        )  # fmt: skip


NOT_IN_THE_GRAPH = ("criterion", "schedule", "sparsity", "pattern", "calibration", "training")  # only in its values


def _canonical_genotype(genotype: Genotype) -> Genotype:
    genotype = replace(genotype, normal=genotype.normal.canonical(), reduction=genotype.reduction.canonical())
    if len(genotype.reduction_positions()) == genotype.cells:  # no normal cell stands anywhere
        genotype = replace(genotype, normal=genotype.reduction)
    return genotype


def _canonical_quantization(plan: QuantizationPlan) -> QuantizationPlan:
    if 8 not in plan.activation_bits:
        plan = replace(plan, calibration="min_max", training="none", activations="static")
    if plan.activations == "dynamic":
        plan = replace(plan, calibration="min_max", training="none")
    if all(bits >= 16 for bits in plan.weight_bits):
        plan = replace(plan, weights="uniform", scales="channel", block=0)
    return plan


def _stands(dropped: str, genotype: Genotype) -> bool:
    """Tell whether a dropped operation is of a cell that stands somewhere, and of a node that reaches its output.

    What is no such name at all stands too: who removes it says so.
    """
    kind, node, _ = _parsed_drop(dropped)
    if node < 0:
        return True
    if kind == "normal" and len(genotype.reduction_positions()) == genotype.cells:
        return False
    cell = genotype.normal if kind == "normal" else genotype.reduction
    return node >= len(cell.nodes) or node in cell.reachable_nodes()


def _canonical_drop(dropped: str, genotype: Genotype) -> str:
    """Return the name that a dropped operation has where its node's edges are in canonical order."""
    kind, node, side = _parsed_drop(dropped)
    cell = genotype.normal if kind == "normal" else genotype.reduction
    if not 0 <= node < len(cell.nodes) or _ordered(cell.nodes[node]) == cell.nodes[node]:
        return dropped
    return f"{kind}.{node}_{1 - side}"


def _parsed_drop(dropped: str) -> tuple[str, int, int]:
    """Return (kind of cell, node, side) of a name such as "normal.2_1"; node and side are -1 of any other."""
    found = re.fullmatch(r"(normal|reduction)\.(\d+)_([01])", dropped)
    return ("", -1, -1) if found is None else (found[1], int(found[2]), int(found[3]))


def candidate_to_json(candidate: Candidate) -> dict[str, Any]:
    """Return the candidate as plain JSON values; what has its default is left out, so that old keys stay valid."""
    value = asdict(candidate)
    genotype = candidate.genotype
    if isinstance(genotype, Genotype):
        for kind, cell in (("normal", genotype.normal), ("reduction", genotype.reduction)):
            value["genotype"][kind] = {
                "nodes": [[[edge.operation, edge.source] for edge in node] for node in cell.nodes],
                "concat": list(cell.concat),
            }
    for part in ("pruning", "quantization", "distillation"):
        value[part] = _said(value[part], getattr(candidate, part))
    return json.loads(json.dumps(_said(value, candidate)))  # type: ignore[no-any-return]


def _said(value: Mapping[str, Any], plan: Any) -> dict[str, Any]:
    """Return the entries of `value` that differ from the default of their field in `plan`."""
    defaults = {field.name: field.default for field in fields(plan)}
    return {key: entry for key, entry in value.items() if getattr(plan, key) != defaults[key]}


def candidate_from_json(value: Mapping[str, Any]) -> Candidate:
    """Return the candidate that `candidate_to_json` wrote.

    Raises:
        KeyError, TypeError, ValueError: where `value` is not such a document.
    """
    return Candidate(
        _architecture_from_json(value["genotype"]),
        PruningPlan(**_with_tuples(value["pruning"], "kept_widths", "dropped")),
        QuantizationPlan(**_with_tuples(value["quantization"], "weight_bits", "activation_bits")),
        DistillationPlan(**value["distillation"]),
        TrainingPlan(**value["training"]),
        **{key: value[key] for key in ("runtime",) if key in value},
    )


def _with_tuples(value: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {key: tuple(entry) if key in names else entry for key, entry in value.items()}


def _architecture_from_json(value: Mapping[str, Any]) -> Architecture:
    if "normal" not in value:
        return UserModel(**_with_tuples(value, "groups", "widths", "stages"))
    return Genotype(
        _cell_from_json(value["normal"]), _cell_from_json(value["reduction"]), int(value["cells"]), int(value["width"])
    )


def _cell_from_json(value: Mapping[str, Any]) -> Cell:
    nodes = tuple((Edge(*first), Edge(*second)) for first, second in value["nodes"])
    return Cell(nodes, tuple(value["concat"]))


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
