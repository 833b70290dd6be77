"""The cell as a module: two projected inputs, nodes of one or two edges, their concatenation."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import torch
from torch import nn

from automl.candidate import Cell
from automl.models.operations import OPERATIONS, ConvolutionNorm, OperationModule, StridedProjection, end_rectified
from automl.models.writer import Tensor, Writer

LAST = 1  # the state that is the output of the cell before


class CellModule(nn.Module):
    """A cell whose states all have `width` channels: two projected inputs, then nodes of two added edges.

    A node that lost an edge is the other one's output, rectified; inputs that nothing reads have no projection.
    """

    before_last: OperationModule | None
    last: OperationModule | None

    def __init__(
        self, cell: Cell, inputs: tuple[int, int], width: int, *, reduces: bool, after_reduction: bool
    ) -> None:
        super().__init__()
        before_last, last = inputs
        self.cell = cell
        self.sides = standing_edges(cell, ())
        project = StridedProjection if after_reduction else _projection
        self.before_last = project(before_last, width, rectify=True)
        self.last = _projection(last, width, rectify=True)
        self.edges = nn.ModuleDict()
        for index, sides in self.sides.items():
            for side in sides:
                edge = cell.nodes[index][side]
                stride = 2 if reduces and edge.source < 2 else 1
                self.edges[f"{index}_{side}"] = OPERATIONS[edge.operation](width, stride)

    def forward(self, before_last: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """Map the outputs of the two cells before to `n x (width x concatenated nodes) x h x w`."""
        inputs = ((self.before_last, before_last), (self.last, last))
        states = {state: module(x) for state, (module, x) in enumerate(inputs) if module is not None}
        for index, sides in self.sides.items():
            first, *second = (self._edge(index, side)(states[self._source(index, side)]) for side in sides)
            states[index + 2] = torch.relu(first + second[0]) if second else first
        return torch.cat([states[state] for state in self.cell.concat], dim=1)

    def emit(self, writer: Writer, before_last: Tensor, last: Tensor, site: str) -> Tensor:
        """Write the cell."""
        inputs = ((self.before_last, before_last, "before_last"), (self.last, last, "last"))
        states = {
            state: module.emit(writer, x, f"{site}.{name}")
            for state, (module, x, name) in enumerate(inputs)
            if module is not None
        }
        for index, sides in self.sides.items():
            first, *second = (
                self._edge(index, side).emit(writer, states[self._source(index, side)], f"{site}.{index}_{side}")
                for side in sides
            )
            added = writer.add(first, second[0], f"{site}.{index}", activation="relu") if second else first
            states[index + 2] = added
        return writer.concatenate([states[state] for state in self.cell.concat], f"{site}.concat")

    def leave_out(self, dropped: Collection[str]) -> None:
        """Remove the edges of these names ("2_1") and whatever then reaches the output no more."""
        self.sides = standing_edges(self.cell, dropped)
        kept = {f"{index}_{side}" for index, sides in self.sides.items() for side in sides}
        for name in set(self.edges) - kept:
            del self.edges[name]
        for index, sides in self.sides.items():
            if len(sides) == 1:
                end_rectified(self._edge(index, sides[0]))
        read = read_states(self.cell, self.sides)
        self.before_last = self.before_last if 0 in read else None
        self.last = self.last if LAST in read else None

    def _edge(self, index: int, side: int) -> OperationModule:
        return self.edges[f"{index}_{side}"]  # type: ignore[return-value]

    def _source(self, index: int, side: int) -> int:
        return self.cell.nodes[index][side].source


def standing_edges(cell: Cell, dropped: Collection[str]) -> dict[int, tuple[int, ...]]:
    """Return the sides that each node keeps without the `dropped` edges, for the nodes that reach the output."""
    alive, sides = set(cell.concat), {}
    for index in range(len(cell.nodes) - 1, -1, -1):
        if index + 2 in alive:
            sides[index] = tuple(side for side in (0, 1) if f"{index}_{side}" not in dropped)
            alive.update(cell.nodes[index][side].source for side in sides[index])
    return dict(sorted(sides.items()))


def read_states(cell: Cell, sides: Mapping[int, Iterable[int]]) -> set[int]:
    """Return the states that the standing edges read."""
    return {cell.nodes[index][side].source for index, kept in sides.items() for side in kept}


def _projection(inputs: int, outputs: int, *, rectify: bool) -> ConvolutionNorm:
    return ConvolutionNorm(inputs, outputs, 1, rectify=rectify)
