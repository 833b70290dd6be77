"""Cells that others have published, and where they lie in a space."""

from __future__ import annotations

from collections.abc import Mapping

from automl.candidate import Cell, Edge
from automl.errors import Fault, InputError, input_error
from automl.space import Choice, Dimension, Point, SearchSpace
from search_spaces.cells import CELL_KINDS, INPUTS, NODES, cell_choices
from search_spaces.compression import PLAIN_CHOICES
from search_spaces.quantization import PLAIN

_SHORT = {"sep": "sep_conv_3x3", "skip": "skip_connect", "max": "max_pool_3x3", "avg": "avg_pool_3x3"}


def _cell(*edges: str) -> Cell:
    """Return the cell of eight edges such as "sep 1", two a node, with all nodes concatenated."""
    parsed = [edge.split() for edge in edges]
    flat = [Edge(_SHORT.get(operation, operation), int(source)) for operation, source in parsed]
    nodes = tuple((flat[2 * node], flat[2 * node + 1]) for node in range(NODES))
    return Cell(nodes, tuple(range(INPUTS, INPUTS + NODES)))


# Liu, Simonyan, Yang: DARTS: Differentiable Architecture Search (ICLR 2019), first and second order on CIFAR-10.
PUBLISHED: Mapping[str, tuple[Cell, Cell]] = {
    "darts_v1": (
        _cell("sep 1", "sep 0", "skip 0", "sep 1", "skip 0", "sep 1", "sep 0", "skip 2"),
        _cell("max 0", "max 1", "skip 2", "max 0", "max 0", "skip 2", "skip 2", "avg 0"),
    ),
    "darts_v2": (
        _cell("sep 0", "sep 1", "sep 0", "sep 1", "sep 1", "skip 0", "skip 0", "dil_conv_3x3 2"),
        _cell("max 0", "max 1", "skip 2", "max 1", "max 0", "skip 2", "skip 2", "max 1"),
    ),
}


# A cell of dense convolutions with a skip around them, as in He et al., Deep Residual Learning (CVPR 2016): the kind
# of layer for which integer kernels are fastest.
RESIDUAL: Mapping[str, tuple[Cell, Cell]] = {
    "residual": (
        _cell("conv_3x3 0", "conv_3x3 1", "skip 1", "conv_3x3 2", "skip 2", "conv_3x3 3", "skip 3", "conv_3x3 4"),
        _cell("conv_3x3 0", "conv_3x3 1", "max 0", "max 1", "skip 2", "conv_3x3 3", "skip 3", "conv_3x3 4"),
    ),
}
KNOWN: Mapping[str, tuple[Cell, Cell]] = {**PUBLISHED, **RESIDUAL}

Entry = str | Mapping[str, Choice]


def enqueue_point(space: SearchSpace, entry: Entry) -> Point:
    """Return the point of `space` with known cells: a name, or `genotype: name` with choices of other dimensions.

    What is not said takes the widest and deepest network, unpruned, in floating point, without a teacher, and the
    middle of each training range: the uncompressed network that its compressed neighbours are held against. A
    dimension's name may end in `*` (`bits_*`), as in `space.fix`.

    Raises:
        InputError: where the name is unknown, or the cells or choices do not lie in the space (as narrowed).
    """
    said = {"genotype": entry} if isinstance(entry, str) else dict(entry)
    name = said.pop("genotype", None)
    if name not in KNOWN:
        raise input_error("search.enqueue", f"one of {', '.join(KNOWN)}", repr(name))
    wanted: dict[str, Choice] = {"concat": NODES}
    for kind, cell in zip(CELL_KINDS, KNOWN[str(name)], strict=True):
        wanted.update(cell_choices(cell, kind))
    others = {
        dimension.name: plainest_choice(dimension) for dimension in space.dimensions if dimension.name not in wanted
    }
    try:
        return space.point({**others, **wanted, **_spread(space, said)})
    except InputError as error:
        raise InputError(
            Fault(f"search.enqueue: {name}: {fault.where}", fault.expected, fault.got, "Leave it out of the queue.")
            for fault in error.faults
        ) from error


def _spread(space: SearchSpace, said: Mapping[str, Choice]) -> dict[str, Choice]:
    """Return the choices with each `name*` replaced by every dimension that starts so."""
    spread: dict[str, Choice] = {}
    for pattern, value in said.items():
        starts = [name for name in space.names() if pattern.endswith("*") and name.startswith(pattern[:-1])]
        spread.update(dict.fromkeys(starts if starts else [pattern], value))
    return spread


def plainest_choice(dimension: Dimension) -> Choice:
    """Return the choice of a dimension that compresses nothing and is widest, deepest, or in the middle."""
    if PLAIN_CHOICES.get(dimension.name) in dimension.choices:
        return PLAIN_CHOICES[dimension.name]
    if dimension.group == "quantization":
        return PLAIN if PLAIN in dimension.choices else dimension.choices[0]
    if dimension.group in ("pruning", "distillation"):
        return dimension.choices[0]  # the ratios rise, the weight of the hard labels falls
    if dimension.group == "training":
        return dimension.choices[len(dimension.choices) // 2]
    return dimension.choices[-1]  # widths and cells rise
