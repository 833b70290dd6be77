from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl.candidate import (
    Candidate,
    Cell,
    DistillationPlan,
    Edge,
    Genotype,
    PruningPlan,
    QuantizationPlan,
    TrainingPlan,
    candidate_from_json,
    candidate_to_json,
)

OPERATIONS = ("skip_connect", "max_pool_3x3", "sep_conv_3x3", "conv_3x3")


@st.composite
def cells(draw: st.DrawFn) -> Cell:
    nodes = []
    for node in range(4):
        sources = draw(st.permutations(range(node + 2)))[:2]
        nodes.append(tuple(Edge(draw(st.sampled_from(OPERATIONS)), source) for source in sources))
    concat = draw(st.sets(st.integers(2, 5), min_size=1))
    return Cell(tuple((first, second) for first, second in nodes), tuple(concat))


@st.composite
def candidates(draw: st.DrawFn) -> Candidate:
    genotype = Genotype(draw(cells()), draw(cells()), draw(st.integers(1, 6)), draw(st.sampled_from([16, 32])))
    bits = draw(st.lists(st.sampled_from([(32, 32), (8, 8), (4, 32)]), min_size=3, max_size=3))
    kept = tuple(draw(st.sampled_from([16, width])) for width in genotype.stage_widths())
    return Candidate(
        genotype,
        PruningPlan(kept),
        QuantizationPlan(tuple(pair[0] for pair in bits), tuple(pair[1] for pair in bits)),
        DistillationPlan(draw(st.sampled_from([1.0, 0.5])), draw(st.sampled_from([1.0, 4.0]))),
        TrainingPlan("adamw", 0.003, 0.0005, 64, 10, 0.0, 0.0, 5.0),
    )


def chain(operation: str, concat: tuple[int, ...]) -> Cell:
    """Return the cell in which every node takes the two inputs by `operation` and a skip."""
    return Cell(((Edge(operation, 0), Edge("skip_connect", 1)),) * 4, concat)


@given(candidates())
def test_canonical_is_idempotent(candidate: Candidate) -> None:
    assert candidate.canonical().canonical() == candidate.canonical()


@given(candidates())
def test_candidate_survives_json(candidate: Candidate) -> None:
    assert candidate_from_json(json.loads(json.dumps(candidate_to_json(candidate)))) == candidate


@given(candidates())
def test_keys_are_those_of_the_canonical_form(candidate: Candidate) -> None:
    canonical = candidate.canonical()
    assert canonical.candidate_hash() == candidate.candidate_hash()
    assert canonical.shape_key((8, 8), 10) == candidate.shape_key((8, 8), 10)


@given(cells(), st.integers(0, 3), st.sampled_from(OPERATIONS))
def test_canonical_cell_forgets_unreachable_nodes_only(cell: Cell, node: int, operation: str) -> None:
    nodes = list(cell.nodes)
    nodes[node] = (replace(nodes[node][0], operation=operation), nodes[node][1])
    changed = Cell(tuple(nodes), cell.concat)
    reachable = node in cell.reachable_nodes()
    assert (changed.canonical() == cell.canonical()) == (not reachable or changed == cell or _swapped(cell, changed))


def _swapped(cell: Cell, changed: Cell) -> bool:
    """Tell whether the two differ in the order of a node's edges only."""
    return [set(node) for node in cell.nodes] == [set(node) for node in changed.nodes]


@given(cells())
def test_canonical_cell_ignores_the_order_of_edges(cell: Cell) -> None:
    swapped = Cell(tuple((second, first) for first, second in cell.nodes), tuple(reversed(cell.concat)))
    assert swapped.canonical() == cell.canonical()


@given(candidates())
def test_twin_is_uncompressed_and_its_own_twin(candidate: Candidate) -> None:
    twin = candidate.twin()
    assert not twin.is_compressed()
    assert twin.twin() == twin
    assert twin.genotype == candidate.genotype


@pytest.mark.parametrize(
    ("cells_", "positions", "stages"),
    [(3, (1, 2), [0, 1, 2]), (4, (1, 2), [0, 1, 2, 2]), (6, (2, 4), [0, 0, 1, 1, 2, 2]), (2, (0, 1), [1, 2])],
)
def test_genotype_reduces_at_thirds_of_its_depth(cells_: int, positions: tuple[int, ...], stages: list[int]) -> None:
    genotype = Genotype(chain("conv_3x3", (5,)), chain("conv_3x3", (5,)), cells_, 16)
    assert genotype.reduction_positions() == positions
    assert [genotype.stage_of(position) for position in range(cells_)] == stages


def test_canonical_forgets_the_normal_cell_where_none_stands() -> None:
    reduction = chain("sep_conv_3x3", (2, 3, 4, 5))
    plans = (
        PruningPlan((16, 32, 64)),
        QuantizationPlan((32,) * 3, (32,) * 3),
        DistillationPlan(1.0, 1.0),
        TrainingPlan("adamw", 0.003, 0.0005, 64, 10, 0.0, 0.0, 5.0),
    )
    one, other = (
        Candidate(Genotype(chain(operation, (5,)), reduction, 2, 16), *plans)
        for operation in ("conv_3x3", "skip_connect")
    )
    assert one.candidate_hash() == other.candidate_hash()


@given(candidates())
def test_shape_key_depends_on_the_input_and_batch(candidate: Candidate) -> None:
    keys = {candidate.shape_key(shape, count, batch) for shape, count, batch in
            (((8, 8), 10, 1), ((8, 9), 10, 1), ((8, 8), 11, 1), ((8, 8), 10, 2))}  # fmt: skip
    assert len(keys) == 4


def test_canonical_candidate_drops_the_same_operation_as_before() -> None:
    cell = Cell(
        ((Edge("skip_connect", 1), Edge("conv_3x3", 0)), *(((Edge("skip_connect", 0), Edge("skip_connect", 1)),) * 3)),
        (2, 3, 4, 5),
    )
    genotype = Genotype(cell, cell, 3, 16)
    plan = PruningPlan(genotype.stage_widths(), dropped=("normal.0_0",))
    training = TrainingPlan("adamw", 1e-3, 0.0, 32, 1, 0.0, 0.0, 0.0)
    quantization = QuantizationPlan((32,) * 3, (32,) * 3)
    canonical = Candidate(genotype, plan, quantization, DistillationPlan(1.0, 1.0), training).canonical()
    assert isinstance(canonical.genotype, Genotype)
    kept = canonical.genotype.normal.nodes[0][int(canonical.pruning.dropped[0][-1])]
    assert kept == Edge("skip_connect", 1)
    assert canonical.canonical() == canonical


def test_candidate_json_says_only_what_is_not_the_default() -> None:
    genotype = Genotype(Cell((), (0,)), Cell((), (0,)), 3, 16)
    training = TrainingPlan("adamw", 1e-3, 0.0, 32, 1, 0.0, 0.0, 0.0)
    plain = Candidate(
        genotype, PruningPlan((16, 32, 64)), QuantizationPlan((8,) * 3, (8,) * 3), DistillationPlan(1.0, 1.0), training
    )
    assert candidate_to_json(plain)["pruning"] == {"kept_widths": [16, 32, 64]}
    other = replace(plain, pruning=replace(plain.pruning, criterion="taylor", rank=0.5), runtime="openvino")
    assert candidate_to_json(other)["pruning"] == {"kept_widths": [16, 32, 64], "criterion": "taylor", "rank": 0.5}
    assert candidate_from_json(candidate_to_json(other)) == other
