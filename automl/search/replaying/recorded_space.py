"""A table as a search space whose evaluation reads a row, and what is known of a row for nothing.

The engine's objectives are few: a table's accuracies and losses are heard as shares, its costs as times and sizes,
whatever they are called. Only the engine's record uses those names; everything that is printed uses the table's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from automl.candidate import Candidate, DistillationPlan, PruningPlan, QuantizationPlan, TrainingPlan, UserModel
from automl.errors import input_error
from automl.outcome import Artefact, Failed, Gain, Measured, Measurement, Outcome
from automl.search.replaying.description import Graph, TableObjective
from automl.search.replaying.table import Array, Table
from automl.search.samplers.encoding import scaled_features
from automl.search.samplers.plan import Features
from automl.space import Choice, Dimension, SearchSpace

SLOTS: Mapping[bool, tuple[str, ...]] = {
    False: ("accuracy", "balanced_accuracy"),
    True: ("latency_ms", "size_bytes"),
}  # of the engine, for shares and for costs
NOT_TRAINED = TrainingPlan("recorded", 0.0, 0.0, 1, 0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class RecordedRows:
    """A table searched on some objectives: which row a point is, and what the engine hears of it.

    With `merged` the isomorphic cells are one candidate with the mean of their figures; without it every row is one.
    """

    table: Table
    objectives: tuple[TableObjective, ...]
    merged: bool

    @cached_property
    def places(self) -> Mapping[tuple[int, ...], int]:
        """Return the row of each point, as a tuple of indices; the first of several."""
        places: dict[tuple[int, ...], int] = {}
        for place, row in enumerate(self.table.rows.tolist()):
            places.setdefault(tuple(row), place)
        return places

    @cached_property
    def networks(self) -> npt.NDArray[np.int64]:
        """Return for each row the first row that is the same candidate."""
        table = self.table
        if not self.merged or not table.description.isomorphism:
            return np.arange(len(table))
        _, first, inverse = np.unique(
            table.figure(table.description.isomorphism), return_index=True, return_inverse=True
        )
        return np.asarray(first[inverse.reshape(-1)], dtype=np.int64)

    def figure(self, column: str) -> Array:
        """Return a column, each network's mean where they are merged."""
        values = self.table.figure(column)
        if not self.merged:
            return values
        sums = np.bincount(self.networks, values, minlength=len(values))
        return np.asarray((sums / np.maximum(np.bincount(self.networks, minlength=len(values)), 1))[self.networks])

    @cached_property
    def slots(self) -> tuple[str, ...]:
        """Return the engine's name of each objective.

        Raises:
            InputError: where there are more of a kind than the engine has names for.
        """
        taken = {False: 0, True: 0}
        names: list[str] = []
        for each in self.objectives:
            if taken[each.logarithmic] >= len(SLOTS[each.logarithmic]):
                words = "at most two accuracies or losses and at most two costs"
                raise input_error("--objectives", words, ", ".join(o.column for o in self.objectives))
            names.append(SLOTS[each.logarithmic][taken[each.logarithmic]])
            taken[each.logarithmic] += 1
        return tuple(names)

    @cached_property
    def heard(self) -> Array:
        """Return what the engine hears of each row (`n x objectives`): shares between 0 and 1, costs as they are."""
        return np.stack([_heard(each, self.figure(each.column)) for each in self.objectives], axis=1)

    def row(self, candidate: Candidate) -> int | None:
        """Return the row of a candidate, None where the table has none."""
        assert isinstance(candidate.genotype, UserModel)
        return int(candidate.genotype.digest) if candidate.genotype.digest.isdigit() else None


def _heard(objective: TableObjective, values: Array) -> Array:
    if objective.logarithmic:
        return values
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if objective.kind == "accuracy" and low >= 0 and high <= 100:
        return values / 100 if high > 1 else values
    share = (values - low) / (high - low if high > low else 1.0)
    return 1 - share if objective.direction == "minimize" else share


@dataclass(frozen=True)
class RowDecoder:
    """Decodes chosen values into a candidate that stands for a row; the rows that are one network are one candidate."""

    recorded: RecordedRows

    def __call__(self, choices: Mapping[str, Choice]) -> Candidate:
        """Return the candidate; a point that the table lacks is one as well, and fails when it is evaluated."""
        table = self.recorded.table
        indices = tuple(each.values.index(choices[each.name]) for each in table.dimensions)
        place = self.recorded.places.get(indices)
        digest = "-".join(map(str, indices)) + "?" if place is None else str(int(self.recorded.networks[place]))
        model = UserModel(table.description.name, digest, (), (), (), 1, "onnx")
        return Candidate(
            model, PruningPlan(()), QuantizationPlan((32,), (32,)), DistillationPlan(1.0, 1.0), NOT_TRAINED
        )


def recorded_space(recorded: RecordedRows) -> SearchSpace:
    """Return the space of the table's choices."""
    dimensions = tuple(
        Dimension(each.name, "architecture", each.values, each.ordered) for each in recorded.table.dimensions
    )
    return SearchSpace(recorded.table.description.name, dimensions, RowDecoder(recorded))


@dataclass(frozen=True)
class ReadRow:
    """The task of a replayed trial: read the candidate's row."""

    recorded: RecordedRows
    candidate: Candidate

    def __call__(self, _context: Any) -> Outcome:
        """Return what is recorded of the candidate."""
        row = self.recorded.row(self.candidate)
        if row is None or not np.isfinite(self.recorded.heard[row]).all():
            return Failed("the table has no such row, or no figures in it", "")
        measurements = tuple(
            Measurement(
                name, float(value), "recorded", "a row of the table", float(value), float(value), 1, "table", ""
            )
            for name, value in zip(self.recorded.slots, self.recorded.heard[row], strict=True)
        )
        artefact = Artefact(f"{row:064x}", f"row {row}", 0)
        return Measured(measurements, artefact, Gain("uncompressed", None, None), (), (), {})


def free_features(recorded: RecordedRows, space: SearchSpace) -> Features | None:
    """Return what the table tells of a point for nothing: named columns, and paths where it describes a graph."""
    table = recorded.table
    names = table.description.features
    columns = [_spread(table.figure(name))[:, None] for name in names]
    blocks = [1] * len(names)
    if table.description.graph is not None:
        paths = path_counts(table, table.description.graph)
        columns += paths
        blocks += [part.shape[1] for part in paths]
    if not columns:
        return None
    matrix, order = np.hstack(columns), space.names()

    def of(points: Sequence[Mapping[str, int]]) -> Array:
        found = [recorded.places.get(tuple(point[name] for name in order), -1) for point in points]
        known = np.array(found, dtype=np.int64)
        return np.where((known >= 0)[:, None], matrix[known], np.nan)

    return scaled_features(space, Features(tuple(blocks), of))


def _spread(values: Array) -> Array:
    return np.log(values) if np.nanmin(values) > 0 else values


def path_counts(table: Table, graph: Graph) -> list[Array]:
    """Return a block for each path: how often each operation stands along it, and whether it is whole.

    All are 0 for a path that is cut. A path encoding (White et al., 2021) that needs few columns: it counts where
    theirs tells sequences apart.
    """
    values = [each.values for each in table.dimensions[: len(graph.edges)]]
    operations = sorted({str(value) for column in values for value in column} - {str(graph.none), str(graph.skip)})
    lines = table.rows[:, : len(graph.edges)].tolist()
    chosen = np.array([[str(values[edge][place]) for edge, place in enumerate(line)] for line in lines])
    blocks: list[Array] = []
    for path in _paths(graph):
        whole = np.all(chosen[:, path] != str(graph.none), axis=1)
        counts = [(chosen[:, path] == operation).sum(axis=1) * whole for operation in operations]
        blocks.append(np.column_stack([*counts, whole]).astype(np.float64))
    return blocks


def _paths(graph: Graph) -> list[list[int]]:
    """Return every path from node 0 to the last node, as lists of edges."""
    last = max(end for _, end in graph.edges)
    found: list[list[int]] = []
    growing: list[tuple[int, list[int]]] = [(0, [])]
    while growing:
        node, path = growing.pop()
        if node == last:
            found.append(path)
            continue
        growing += [(end, [*path, edge]) for edge, (start, end) in enumerate(graph.edges) if start == node]
    return sorted(found, key=lambda path: (len(path), path))
