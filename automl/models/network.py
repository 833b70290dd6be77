"""The network of a candidate: stem, stacked cells, classifier; raw pixels in, logits out.

Stage widths are the *kept* widths: a pruned candidate is built narrow, nothing is masked. Normalisation of the
pixels is part of the network, so that the deployed file takes what a camera gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from automl.candidate import STAGES, Candidate, Cell, Genotype
from automl.models.deployable import Axis, Emitted, Task
from automl.models.operations import OPERATIONS, ConvolutionNorm, OperationModule, StridedProjection
from automl.models.writer import Tensor, Writer

STRIDED_STEM_FROM = 28  # pixels: from here up the stem halves the image


class CellModule(nn.Module):
    """A cell whose states all have `width` channels: two projected inputs, then nodes of two added edges."""

    def __init__(
        self, cell: Cell, inputs: tuple[int, int], width: int, *, reduces: bool, after_reduction: bool
    ) -> None:
        super().__init__()
        before_last, last = inputs
        self.cell = cell
        self.alive = cell.reachable_nodes()
        project = StridedProjection if after_reduction else _projection
        self.before_last: OperationModule = project(before_last, width, rectify=True)
        self.last = _projection(last, width, rectify=True)
        self.edges = nn.ModuleDict()
        for index in self.alive:
            for side, edge in enumerate(cell.nodes[index]):
                stride = 2 if reduces and edge.source < 2 else 1
                self.edges[f"{index}_{side}"] = OPERATIONS[edge.operation](width, stride)

    def forward(self, before_last: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """Map the outputs of the two cells before to `n x (width x concatenated nodes) x h x w`."""
        states = {0: self.before_last(before_last), 1: self.last(last)}
        for index in self.alive:
            first, second = (
                self.edges[f"{index}_{side}"](states[edge.source]) for side, edge in enumerate(self.cell.nodes[index])
            )
            states[index + 2] = torch.relu(first + second)
        return torch.cat([states[state] for state in self.cell.concat], dim=1)

    def emit(self, writer: Writer, before_last: Tensor, last: Tensor, site: str) -> Tensor:
        """Write the cell."""
        states = {
            0: self.before_last.emit(writer, before_last, f"{site}.before_last"),
            1: self.last.emit(writer, last, f"{site}.last"),
        }
        for index in self.alive:
            first, second = (
                self._edge(index, side).emit(writer, states[edge.source], f"{site}.{index}_{side}")
                for side, edge in enumerate(self.cell.nodes[index])
            )
            states[index + 2] = writer.add(first, second, f"{site}.{index}", activation="relu")
        return writer.concatenate([states[state] for state in self.cell.concat], f"{site}.concat")

    def _edge(self, index: int, side: int) -> OperationModule:
        return self.edges[f"{index}_{side}"]  # type: ignore[return-value]


def _projection(inputs: int, outputs: int, *, rectify: bool) -> ConvolutionNorm:
    return ConvolutionNorm(inputs, outputs, 1, rectify=rectify)


class Network(Emitted):
    """Stem, cells, global average pool, dropout, linear classifier."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, genotype: Genotype, widths: Sequence[int], task: Task, dropout: float = 0.0) -> None:
        super().__init__()
        self.genotype, self.widths, self.task = genotype, tuple(widths), task
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
        shapes = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        outputs = [("stem", 1), ("stem", 1)]
        for name, value in shapes.items():
            if name.startswith("stem."):
                yield from _output_axes(name, value, "stem")
        for position, cell in enumerate(self.cells):
            assert isinstance(cell, CellModule)
            group, prefix = f"cells.{position}", f"cells.{position}."
            for name in [name for name in shapes if name.startswith(prefix)]:
                yield from _output_axes(name, shapes[name], group)
                inner = name.removeprefix(prefix)
                if shapes[name].ndim == 4 and shapes[name].shape[1] > 1:
                    source, blocks = {"before_last": outputs[-2], "last": outputs[-1]}.get(
                        inner.split(".")[0], (group, 1)
                    )
                    yield Axis(name, 1, source, blocks)
            outputs.append((group, len(cell.cell.concat)))
        yield Axis("classifier.weight", 1, *outputs[-1])

    def group_widths(self) -> dict[str, int]:
        """Return the number of channels of each coupled group."""
        cells = range(self.genotype.cells)
        return {"stem": self.widths[0]} | {f"cells.{i}": self.widths[self.genotype.stage_of(i)] for i in cells}

    def groups_kept(self, kept_widths: Sequence[int]) -> dict[str, int]:
        """Return the channels that each coupled group keeps: those of its stage."""
        cells = range(self.genotype.cells)
        return {"stem": kept_widths[0]} | {f"cells.{i}": kept_widths[self.genotype.stage_of(i)] for i in cells}

    def narrowed(self, kept: Mapping[str, torch.Tensor]) -> Network:
        """Return a new network with these channels of each group; a stage's groups keep equally many."""
        stages = {0: len(kept["stem"])}
        stages |= {self.genotype.stage_of(i): len(kept[f"cells.{i}"]) for i in range(self.genotype.cells)}
        widths = [stages.get(stage, width) for stage, width in enumerate(self.widths)]
        narrow = Network(self.genotype, widths, self.task, self.dropout.p)
        state, full_widths = dict(self.state_dict()), self.group_widths()
        for axis in self.coupled_axes():
            if axis.parameter in state:
                width = full_widths[axis.group]
                index = torch.cat([kept[axis.group] + block * width for block in range(axis.blocks)])
                state[axis.parameter] = state[axis.parameter].index_select(axis.axis, index)
        narrow.load_state_dict(state)
        narrow.train(self.training)
        return narrow

    def stage_ends(self) -> tuple[str, ...]:
        """Return the last cell of each stage; the first stage of a shallow network may be the stem alone."""
        ends = {0: "stem"} | {self.genotype.stage_of(i): f"cells.{i}" for i in range(self.genotype.cells)}
        return tuple(ends[stage] for stage in range(STAGES))


def _output_axes(name: str, value: torch.Tensor, group: str) -> Iterator[Axis]:
    if value.ndim:  # a counter of batches has no axis
        yield Axis(name, 0, group, 1)


def build_network(candidate: Candidate, task: Task, *, pruned: bool) -> Network:
    """Return the candidate's network with fresh weights: at its kept widths if `pruned`, else at its full widths."""
    assert isinstance(candidate.genotype, Genotype)
    widths = candidate.pruning.kept_widths if pruned else candidate.genotype.stage_widths()
    return Network(candidate.genotype, widths, task, candidate.training.dropout)
