from __future__ import annotations

import pytest

from automl.candidate import Cell, Edge
from automl.models.operations import OPERATIONS as BUILT
from search_spaces.cells import NODES, OPERATIONS, cell_choices, cell_dimensions, decode_cell, input_pairs
from search_spaces.genotypes import PUBLISHED, enqueue_point
from tests.search_spaces.joint_spaces import study_space

CASES = [(name, kind) for name in PUBLISHED for kind in (0, 1)]


def test_cell_dimensions_are_eleven_flat_ones() -> None:
    names = [dimension.name for dimension in cell_dimensions("normal")]
    assert names[:5] == ["normal_0_op_a", "normal_0_op_b", "normal_1_inputs", "normal_1_op_a", "normal_1_op_b"]
    assert len(names) == 11


@pytest.mark.parametrize(("node", "count"), [(0, 1), (1, 3), (2, 6), (3, 10)])
def test_input_pairs_are_all_pairs_of_different_predecessors(node: int, count: int) -> None:
    pairs = {tuple(pair.split("-")) for pair in input_pairs(node)}
    assert len(pairs) == count
    assert all(int(first) < int(second) < node + 2 for first, second in pairs)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_published_cells_survive_encoding_and_decoding(name: str, kind: int) -> None:
    cell = PUBLISHED[name][kind]
    assert decode_cell({**cell_choices(cell, "normal"), "concat": NODES}, "normal") == cell.canonical()


def test_decode_cell_concatenates_the_last_nodes() -> None:
    choices = {dimension.name: dimension.choices[0] for dimension in cell_dimensions("reduction")}
    cell = decode_cell({**choices, "concat": 2, "reduction_3_op_b": "conv_3x3"}, "reduction")
    assert cell.concat == (4, 5)
    assert cell.nodes[3] == (Edge("skip_connect", 0), Edge("conv_3x3", 1))


def test_published_darts_v2_is_that_of_the_paper() -> None:
    normal, reduction = PUBLISHED["darts_v2"]
    assert normal.nodes[3] == (Edge("skip_connect", 0), Edge("dil_conv_3x3", 2))
    assert reduction.nodes[1] == (Edge("skip_connect", 2), Edge("max_pool_3x3", 1))
    assert normal.concat == reduction.concat == (2, 3, 4, 5)


def test_published_cells_use_known_operations() -> None:
    cells: list[Cell] = [cell for pair in PUBLISHED.values() for cell in pair]
    assert {edge.operation for cell in cells for node in cell.nodes for edge in node} <= set(OPERATIONS)


def test_operations_are_those_that_can_be_built() -> None:
    assert set(OPERATIONS) == set(BUILT)


def test_enqueue_point_takes_the_plainest_choice_elsewhere() -> None:
    space = study_space()
    choices = space.choices(enqueue_point(space, "darts_v1"))
    names = ("width", "cells", "prune_0", "bits_2", "alpha", "temperature", "learning_rate")
    assert [choices[name] for name in names] == [48, 5, 0.0, "w32a32", 1.0, 1.0, 0.00282843]
