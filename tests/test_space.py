from __future__ import annotations

import numpy as np
import pytest

from automl.errors import InputError
from automl.space import SearchSpace
from tests.search_spaces.joint_spaces import study_space


@pytest.fixture
def space() -> SearchSpace:
    return study_space()


def test_contains_refuses_missing_unknown_and_out_of_range(space: SearchSpace) -> None:
    point = space.sample(np.random.default_rng(0))
    assert point in space
    assert {**point, "width": 3} not in space
    assert {**point, "depth": 0} not in space
    assert {name: index for name, index in point.items() if name != "width"} not in space


def test_decode_refuses_a_point_outside(space: SearchSpace) -> None:
    with pytest.raises(InputError, match="a point of space darts_cells must be an index for each dimension"):
        space.decode({"width": 0})


def test_sample_repeats_with_its_seed(space: SearchSpace) -> None:
    first, again = (space.sample(np.random.default_rng(7)) for _ in range(2))
    assert first == again


def test_neighbours_differ_in_one_dimension_and_lie_in_the_space(space: SearchSpace) -> None:
    point = space.sample(np.random.default_rng(0))
    neighbours = list(space.neighbours(point))
    changed = [[name for name in point if point[name] != other[name]] for other in neighbours]
    assert all(other in space for other in neighbours)
    assert {len(names) for names in changed} == {1}


def test_neighbours_step_by_one_where_ordered_and_anywhere_else(space: SearchSpace) -> None:
    point = {**space.sample(np.random.default_rng(0)), "prune_0": 1, "bits_0": 0}
    neighbours = list(space.neighbours(point))
    assert {other["prune_0"] for other in neighbours} == {0, 1, 2}
    assert {other["bits_0"] for other in neighbours} == {0, 1, 2}
    assert {other["prune_0"] for other in space.neighbours({**point, "prune_0": 0})} == {0, 1}


def test_encode_gives_equal_rows_to_equal_points_only(space: SearchSpace) -> None:
    rng = np.random.default_rng(0)
    points = [space.sample(rng) for _ in range(20)]
    rows = space.encode([*points, points[0]])
    assert len(np.unique(rows, axis=0)) == 20
    assert rows.min() == 0.0
    assert rows.max() == 1.0


def test_encode_of_no_points_is_empty(space: SearchSpace) -> None:
    assert space.encode([]).shape[0] == 0


def test_point_names_every_fault(space: SearchSpace) -> None:
    choices = space.choices(space.sample(np.random.default_rng(0)))
    del choices["alpha"]
    with pytest.raises(InputError) as caught:
        space.point({**choices, "width": 17, "depth": 3})
    assert [fault.where.rsplit(": ")[-1] for fault in caught.value.faults] == ["depth", "width", "alpha"]


def test_narrow_keeps_order_and_names_every_fault(space: SearchSpace) -> None:
    kept = space.narrow({"width": 32}, {"prune_*": [0.5, 0.0]})
    assert kept.names() == space.names()
    assert [len(dimension.choices) for dimension in kept.dimensions if dimension.group == "pruning"] == [2, 2, 2]
    with pytest.raises(InputError) as caught:
        space.narrow({"width": 17, "depth": 1}, {"cells": [2, 99]})
    assert [fault.where for fault in caught.value.faults] == ["space.fix.width", "space.fix.depth", "space.allow.cells"]


def test_narrow_composes_fix_and_allow(space: SearchSpace) -> None:
    kept = space.narrow({"concat": 4}, {}).narrow({}, {"concat": [4]})
    assert all(kept.decode(kept.sample(np.random.default_rng(seed))).genotype.normal.concat for seed in range(3))
