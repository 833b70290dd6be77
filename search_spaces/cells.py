"""DARTS cells (Liu et al., 2019): four nodes of two edges each, over two inputs.

Node 0 can only take both inputs; node `i` takes two different states of `i + 2`. How many of the last nodes are
concatenated is a dimension too, so nodes can be unreachable: the candidate makes those canonical.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from automl.candidate import Cell, Edge
from automl.space import Choice, Dimension

NODES = 4
INPUTS = 2
OPERATIONS = (
    "skip_connect",
    "max_pool_3x3",
    "avg_pool_3x3",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
    "conv_3x3",
)
CONCATENATED = (4, 2)  # how many of the last nodes make the output
CELL_KINDS = ("normal", "reduction")


def cell_dimensions(kind: str) -> tuple[Dimension, ...]:
    """Return the dimensions of one cell, `kind` being "normal" or "reduction"."""
    dimensions: list[Dimension] = []
    for node in range(NODES):
        if node > 0:  # node 0 has no choice of inputs
            dimensions.append(Dimension(f"{kind}_{node}_inputs", "architecture", input_pairs(node), ordered=False))
        names = (f"{kind}_{node}_op_{side}" for side in ("a", "b"))
        dimensions.extend(Dimension(name, "architecture", OPERATIONS, ordered=False) for name in names)
    return tuple(dimensions)


def concat_dimension() -> Dimension:
    """Return the dimension that says how many of the last nodes both cells concatenate."""
    return Dimension("concat", "architecture", CONCATENATED, ordered=False)


def input_pairs(node: int) -> tuple[str, ...]:
    """Return the choices of two different states that `node` can take, such as "0-2"."""
    return tuple(f"{first}-{second}" for first, second in combinations(range(node + INPUTS), 2))


def decode_cell(choices: Mapping[str, Choice], kind: str) -> Cell:
    """Return the cell that the chosen values of `cell_dimensions(kind)` and of `concat` say."""
    nodes = tuple(_decode_node(choices, kind, node) for node in range(NODES))
    last = NODES + INPUTS
    return Cell(nodes, tuple(range(last - int(choices["concat"]), last)))


def _decode_node(choices: Mapping[str, Choice], kind: str, node: int) -> tuple[Edge, Edge]:
    pair = str(choices.get(f"{kind}_{node}_inputs", "0-1"))
    first, second = (int(source) for source in pair.split("-"))
    operations = (str(choices[f"{kind}_{node}_op_{side}"]) for side in ("a", "b"))
    return (Edge(next(operations), first), Edge(next(operations), second))


def cell_choices(cell: Cell, kind: str) -> dict[str, Choice]:
    """Return the choices that `decode_cell` decodes into `cell`, less `concat`: its inverse.

    A cell outside the space gives choices that no dimension has; `SearchSpace.point` refuses them by name.
    """
    choices: dict[str, Choice] = {}
    for node, edges in enumerate(cell.nodes):
        first, second = sorted(edges, key=lambda edge: (edge.source, edge.operation))
        if node > 0:
            choices[f"{kind}_{node}_inputs"] = f"{first.source}-{second.source}"
        choices[f"{kind}_{node}_op_a"] = first.operation
        choices[f"{kind}_{node}_op_b"] = second.operation
    return choices
