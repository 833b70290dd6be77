"""The network of a candidate: stem, stacked cells, classifier; raw pixels in, logits out.

Stage widths are the *kept* widths: a pruned candidate is built narrow, nothing is masked. Normalisation of the
pixels is part of the network, so that the deployed file takes what a camera gives.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from automl.candidate import STAGES, Candidate, Genotype
from automl.errors import Fault, InputError
from automl.models.cells import LAST, CellModule, read_states, standing_edges
from automl.models.deployable import Axis, Chain, Emitted, Task
from automl.models.operations import ConvolutionNorm, Depthwise, DepthwiseSeparable
from automl.models.writer import Writer

CONVOLUTION = ".convolution"  # of a convolution and its norm
STRIDED_STEM_FROM = 28  # pixels: from here up the stem halves the image

Owner = tuple[str, int]  # the coupled group of some channels, and how often they are repeated


class Network(Emitted):
    """Stem, cells, global average pool, dropout, linear classifier."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, genotype: Genotype, widths: Sequence[int], task: Task, dropout: float = 0.0) -> None:
        super().__init__()
        self.genotype, self.widths, self.task = genotype, tuple(widths), task
        self.dropped: tuple[str, ...] = ()
        stride = 2 if min(task.input_shape[:2]) >= STRIDED_STEM_FROM else 1
        self.register_buffer("mean", torch.tensor(task.mean)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(task.deviation)[:, None, None], persistent=False)
        self.stem = ConvolutionNorm(task.channels, self.widths[0], 3, stride=stride, rectify=True)
        self.cells = nn.ModuleList()
        outputs = [self.widths[0], self.widths[0]]
        for position in range(genotype.cells):
            cell, width = genotype.cell_at(position), self.widths[genotype.stage_of(position)]
            reductions = genotype.reduction_positions()
            module = CellModule(
                cell, (outputs[-2], outputs[-1]), width, reduces=position in reductions,
                after_reduction=position - 1 in reductions,
            )  # fmt: skip
            self.cells.append(module)
            outputs.append(width * len(cell.concat))
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(outputs[-1], task.classes)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map raw pixels, `n x h x w` or `n x h x w x channels`, to `n x classes` logits."""
        x = pixels.float()
        x = x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2)
        x = (x - self.mean) / self.deviation
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        before_last = last = x
        for cell in self.cells:
            before_last, last = last, cell(before_last, last)
        return self.classifier(self.dropout(last.mean(dim=(2, 3))))  # type: ignore[no-any-return]

    def emit(self, writer: Writer, inputs: Any, precisions: Sequence[tuple[int, int]], batch: int) -> Any:
        """Tell the whole network; stem and classifier have the precision of their stage. Return the logits."""
        writer.precision = precisions[0]
        x = writer.image(inputs, self.task.mean, self.task.deviation, (batch, *self.task.input_shape))
        before_last = last = self.stem.emit(writer, x, "stem")
        for position, cell in enumerate(self.cells):
            assert isinstance(cell, CellModule)
            writer.precision = precisions[self.genotype.stage_of(position)]
            before_last, last = last, cell.emit(writer, before_last, last, f"cells.{position}")
        pooled = writer.global_average_pool(last, "pooled")
        return writer.logits(pooled, self.classifier.weight, self.classifier.bias)

    def coupled_axes(self) -> Iterator[Axis]:
        """Yield every axis that must lose the same channels together.

        The stem is one group; inside a cell everything that is added or concatenated shares its channels, so each
        cell is one. A cell's output repeats its group once for each concatenated node.
        """
        yield from _convolution_axes("stem", self.stem, None, ("stem", 1))
        outputs = [("stem", 1), ("stem", 1)]
        for position, cell in enumerate(self.cells):
            assert isinstance(cell, CellModule)
            name, own = f"cells.{position}", (f"cells.{position}", 1)
            yield from _operation_axes(f"{name}.before_last", cell.before_last, outputs[-2], own)
            yield from _operation_axes(f"{name}.last", cell.last, outputs[-1], own)
            for edge, operation in cell.edges.items():
                yield from _operation_axes(f"{name}.edges.{edge}", operation, own, own)
            outputs.append((name, len(cell.cell.concat)))
        yield Axis("classifier.weight", 1, *outputs[-1])

    def group_widths(self) -> dict[str, int]:
        """Return the number of channels of each coupled group."""
        cells = range(self.genotype.cells)
        return {"stem": self.widths[0]} | {f"cells.{i}": self.widths[self.genotype.stage_of(i)] for i in cells}

    def groups_kept(self, kept_widths: Sequence[int]) -> dict[str, int]:
        """Return the channels that each coupled group keeps: those of its stage."""
        if len(kept_widths) != STAGES:
            raise ValueError(f"a cell network keeps {STAGES} widths, one a stage, but got {len(kept_widths)}")
        cells = range(self.genotype.cells)
        return {"stem": kept_widths[0]} | {f"cells.{i}": kept_widths[self.genotype.stage_of(i)] for i in cells}

    def narrowed(self, kept: Mapping[str, torch.Tensor]) -> Network:
        """Return a new network with these channels of each group; a stage's groups keep equally many."""
        stages = {0: len(kept["stem"])}
        stages |= {self.genotype.stage_of(i): len(kept[f"cells.{i}"]) for i in range(self.genotype.cells)}
        widths = tuple(stages.get(stage, width) for stage, width in enumerate(self.widths))
        narrow, full_widths, state = self._alike(widths, self.dropped, {}), self.group_widths(), self.state_dict()
        for axis in self.coupled_axes():
            index = torch.cat([kept[axis.group] + block * full_widths[axis.group] for block in range(axis.blocks)])
            state[axis.parameter] = state[axis.parameter].index_select(axis.axis, index)
        for name, chain in self._chains().items():
            _fit_layers(chain, {key.removeprefix(f"{name}."): value for key, value in state.items()})
            narrow.get_submodule(name.removesuffix(CONVOLUTION)).convolution = chain
        narrow.load_state_dict(state)
        return narrow

    def droppable(self) -> tuple[str, ...]:
        """Return the edges that can be removed, one at a time: "normal.2_1" is side 1 of node 2 of normal cells.

        Whole cells are not among them: how many cells are stacked is a choice of the architecture.
        """
        names = [name for name, sides in self._standing().items() for name in _edge_names(name, sides)]
        return tuple(name for name in names if not self._drop_faults((name,)))

    def without(self, dropped: Sequence[str]) -> Network:
        """Return a new network in which all cells of the kind lack these edges, the other weights kept.

        A node left with one edge is that edge's output, rectified; what reaches the output no more goes as well.

        Raises:
            InputError: for each name that is not there, each node that would lose both edges, and each kind of cell
                that would no longer read the cell before.
        """
        faults = self._drop_faults(dropped)
        if faults:
            raise InputError(faults)
        smaller = self._alike(self.widths, tuple(sorted({*self.dropped, *dropped})), self._chains())
        standing = smaller.state_dict()
        smaller.load_state_dict({name: value for name, value in self.state_dict().items() if name in standing})
        return smaller

    def with_chains(self, chains: Mapping[str, Chain]) -> Network:
        """Return a new network in which the convolutions of these names are chains; `Raises` ValueError for others."""
        modules = dict(self.named_modules())
        for name, chain in chains.items():
            owner = modules.get(name.removesuffix(CONVOLUTION))
            if not isinstance(owner, ConvolutionNorm) or not all(isinstance(layer, nn.Conv2d) for layer in chain):
                raise ValueError(f"{name}: only a convolution before its normalisation can be a chain of convolutions")
        changed = self._alike(self.widths, self.dropped, {**self._chains(), **chains})
        replaced = tuple(f"{name}." for name in chains)
        kept = {name: value for name, value in self.state_dict().items() if not name.startswith(replaced)}
        changed.load_state_dict(kept, strict=False)
        return changed

    def _alike(self, widths: Sequence[int], dropped: tuple[str, ...], chains: Mapping[str, Chain]) -> Network:
        """Return a fresh network of these widths and edges, in the precision and mode of this one."""
        other = Network(self.genotype, widths, self.task, self.dropout.p)
        other.dropped = dropped
        for position, cell in enumerate(other.cells if dropped else ()):
            assert isinstance(cell, CellModule)
            cell.leave_out(_edges_of(self._kind(position), dropped))
        modules = dict(other.named_modules())
        for name, chain in chains.items():
            if name in modules:  # its edge may be gone
                modules[name.removesuffix(CONVOLUTION)].convolution = chain
        return other.to(self.classifier.weight.dtype).train(self.training)

    def _chains(self) -> dict[str, Chain]:
        """Return copies of the chains that stand for convolutions."""
        return {name: copy.deepcopy(module) for name, module in self.named_modules() if isinstance(module, Chain)}

    def _kind(self, position: int) -> str:
        return "reduction" if position in self.genotype.reduction_positions() else "normal"

    def _standing(self, dropped: Iterable[str] = ()) -> dict[str, dict[int, tuple[int, ...]]]:
        """Return by kind of cell the edges that stand without `dropped` and what was dropped before."""
        cells = {self._kind(position): self.genotype.cell_at(position) for position in range(self.genotype.cells)}
        names = (*self.dropped, *dropped)
        return {kind: standing_edges(cell, _edges_of(kind, names)) for kind, cell in sorted(cells.items())}

    def _drop_faults(self, dropped: Sequence[str]) -> list[Fault]:
        where, before = "pruning.drop", self._standing()
        known = [name for kind, sides in before.items() for name in _edge_names(kind, sides)]
        faults = [Fault(where, f"one of {', '.join(known)}", repr(name)) for name in dropped if name not in known]
        nodes = Counter(name.rpartition("_")[0] for name in {*self.dropped, *dropped})
        faults += [Fault(where, "one edge of a node", f"both of node {node}") for node, n in nodes.items() if n > 1]
        if not faults:
            cells = {"normal": self.genotype.normal, "reduction": self.genotype.reduction}
            faults = [
                Fault(where, "such that a cell still reads the cell before it", f"{kind} cells that do not")
                for kind, sides in self._standing(dropped).items()
                if LAST not in read_states(cells[kind], sides)
            ]
        return faults

    def stage_ends(self) -> tuple[str, ...]:
        """Return the last cell of each stage; the first stage of a shallow network may be the stem alone."""
        ends = {0: "stem"} | {self.genotype.stage_of(i): f"cells.{i}" for i in range(self.genotype.cells)}
        return tuple(ends[stage] for stage in range(STAGES))


def _edge_names(kind: str, sides: Mapping[int, Iterable[int]]) -> list[str]:
    return [f"{kind}.{index}_{side}" for index, kept in sides.items() for side in kept]


def _edges_of(kind: str, names: Iterable[str]) -> set[str]:
    return {name.removeprefix(f"{kind}.") for name in names if name.startswith(f"{kind}.")}


def _operation_axes(name: str, operation: nn.Module | None, source: Owner, own: Owner) -> Iterator[Axis]:
    """Yield the axes of an operation that reads the channels of `source` and computes in those of `own`."""
    for path, part in () if operation is None else operation.named_modules(prefix=name):
        if isinstance(part, ConvolutionNorm):
            yield from _convolution_axes(path, part, source, own)
        elif isinstance(part, DepthwiseSeparable):
            yield Axis(f"{path}.depthwise.weight", 0, *source)


def _convolution_axes(path: str, module: ConvolutionNorm, source: Owner | None, own: Owner) -> Iterator[Axis]:
    """Yield the axes of a convolution and its norm; `source` None stands for the pixels' channels."""
    layers, owner = module.layers(), source
    for position, layer in enumerate(layers):
        at = f"{path}{CONVOLUTION}.{position}" if isinstance(module.convolution, Chain) else f"{path}{CONVOLUTION}"
        if not (isinstance(layer, Depthwise) or layer.groups > 1):
            if owner is not None:
                yield Axis(f"{at}.weight", 1, *owner)
            owner = own if position == len(layers) - 1 else None  # a rank between two of a chain is nobody's
        if owner is not None:
            yield from (Axis(f"{at}.{name}", 0, *owner) for name, _ in layer.named_parameters())
    for statistic in ("weight", "bias", "running_mean", "running_var"):
        yield Axis(f"{path}.norm.{statistic}", 0, *own)


def _fit_layers(chain: Chain, state: Mapping[str, torch.Tensor]) -> None:
    """Give the convolutions of a chain the shapes of these weights."""
    for position, layer in enumerate(chain):
        assert isinstance(layer, nn.Conv2d)
        is_depthwise = isinstance(layer, Depthwise) or layer.groups > 1
        layer.weight = nn.Parameter(torch.empty_like(state[f"{position}.weight"]))
        layer.out_channels = len(layer.weight)
        layer.groups = layer.out_channels if is_depthwise else 1
        layer.in_channels = layer.weight.shape[1] * layer.groups
        if layer.bias is not None:
            layer.bias = nn.Parameter(torch.empty_like(state[f"{position}.bias"]))


def build_network(candidate: Candidate, task: Task, *, pruned: bool) -> Network:
    """Return the candidate's network with fresh weights: at its kept widths if `pruned`, else at its full widths."""
    assert isinstance(candidate.genotype, Genotype)
    widths = candidate.pruning.kept_widths if pruned else candidate.genotype.stage_widths()
    return Network(candidate.genotype, widths, task, candidate.training.dropout)
