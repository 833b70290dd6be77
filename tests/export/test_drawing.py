from __future__ import annotations

import itertools
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from automl.candidate import Candidate, Cell, Edge
from automl.export.drawing import describe_stages, draw_cells, place_boxes
from tests.export.conftest import fake_candidate

DEAD_END = Cell(
    (
        (Edge("conv_3x3", 0), Edge("conv_3x3", 1)),
        (Edge("dil_conv_5x5", 0), Edge("max_pool_3x3", 2)),
        (Edge("conv_3x3", 1), Edge("avg_pool_3x3", 2)),
        (Edge("sep_conv_3x3", 1), Edge("skip_connect", 4)),
    ),
    (4, 5),
)


def texts(candidate: Candidate) -> list[str]:
    root = ET.fromstring(draw_cells(candidate))
    return [str(element.text) for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_draw_cells_shows_every_operation_of_both_cells() -> None:
    shown = texts(fake_candidate())
    assert {"Normal cell", "Reduction cell", "sep conv 3x3", "dil conv 3x3", "max pool 3x3"} <= set(shown)
    assert sum(text.startswith("of ") for text in shown) == 16


def test_draw_cells_leaves_out_what_reaches_no_output() -> None:
    genotype = replace(fake_candidate().genotype, normal=DEAD_END)
    shown = texts(replace(fake_candidate(), genotype=genotype))
    assert "dil conv 5x5" not in shown


@pytest.mark.parametrize("cell", [DEAD_END, fake_candidate().genotype.normal, fake_candidate().genotype.reduction])
def test_place_boxes_keeps_boxes_apart(cell: Cell) -> None:
    boxes = place_boxes(cell, 0.0)
    columns: dict[float, list[tuple[float, float]]] = {}
    for box in boxes:
        columns.setdefault(box.left, []).append((box.top, box.top + box.height))
    for spans in columns.values():
        assert all(first[1] < second[0] for first, second in itertools.pairwise(spans))


def test_place_boxes_sets_every_node_right_of_its_sources() -> None:
    boxes = {box.state: box for box in place_boxes(DEAD_END, 0.0)}
    assert all(boxes[source].left < box.left for box in boxes.values() for _, source in box.ports)


def test_describe_stages_names_widths_and_bits() -> None:
    assert describe_stages(fake_candidate()) == (
        "4 cells; stages: 16 channels w8a8, 16 of 32 channels w8a8, 64 channels w32a32"
    )
