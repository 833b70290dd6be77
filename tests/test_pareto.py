"""The front equals brute force, the hypervolume equals a sum over grid cells, and the rest by known answers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from automl import pareto
from automl.outcome import OBJECTIVES

GRID = 6  # small integers, so that ties and duplicates are common


def point_sets(objectives: int, max_points: int = 9) -> st.SearchStrategy[np.ndarray]:
    """Return a strategy for sets of points on a small grid."""
    return st.integers(0, max_points).flatmap(
        lambda count: arrays(np.float64, (count, objectives), elements=st.integers(0, GRID).map(float))
    )


def brute_force_front(points: np.ndarray) -> list[bool]:
    """Return the front by comparing every pair."""
    return [
        not any(pareto.dominates(other, point) for other in points)
        and not any(np.array_equal(other, point) for other in points[:index])
        for index, point in enumerate(points)
    ]


def counted_volume(points: np.ndarray, reference: np.ndarray) -> float:
    """Return the number of unit cells of the grid that some point dominates: exact for integer points."""
    corners = itertools.product(*(range(int(side)) for side in reference))
    return float(sum(any(np.all(point <= corner) for point in points) for corner in corners))


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_front_mask_equals_brute_force(objectives: int, data: st.DataObject) -> None:
    points = data.draw(point_sets(objectives))
    assert pareto.front_mask(points).tolist() == brute_force_front(points)


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_hypervolume_equals_counted_cells(objectives: int, data: st.DataObject) -> None:
    points = data.draw(point_sets(objectives, max_points=6))
    reference = np.full(objectives, GRID - 1.0)
    assert pareto.hypervolume(points, reference) == pytest.approx(counted_volume(points, reference))


@pytest.mark.parametrize("objectives", [2, 3])
def test_hypervolume_agrees_with_monte_carlo(objectives: int) -> None:
    # 40,000 draws: one standard error is at most 0.0025, so five of them fail once in two million runs.
    rng = np.random.default_rng(3)
    points, draws = rng.random((12, objectives)), rng.random((40_000, objectives))
    share = np.mean([(points <= draw).all(axis=1).any() for draw in draws])
    assert pareto.hypervolume(points, np.ones(objectives)) == pytest.approx(share, abs=0.0125)


@given(point_sets(3))
@settings(max_examples=60, deadline=None)
def test_hypervolume_is_that_of_the_front(points: np.ndarray) -> None:
    reference = np.full(3, GRID + 1.0)
    front = points[pareto.front_mask(points)]
    assert pareto.hypervolume(points, reference) == pytest.approx(pareto.hypervolume(front, reference))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_front_mask_leaves_out_points_that_are_not_finite(bad: float) -> None:
    assert pareto.front_mask([[bad, 0.0], [1.0, 1.0]]).tolist() == [False, True]


def test_front_mask_keeps_the_first_of_duplicates() -> None:
    assert pareto.front_mask([[2.0, 2.0], [1.0, 1.0], [1.0, 1.0]]).tolist() == [False, True, False]


def test_front_mask_of_nothing_is_empty() -> None:
    assert pareto.front_mask(np.zeros((0, 2))).shape == (0,)


def test_hypervolume_ignores_points_beyond_the_reference() -> None:
    assert pareto.hypervolume([[0.0, 2.0], [0.5, 0.5], [math.nan, 0.0]], [1.0, 1.0]) == pytest.approx(0.25)


def test_hypervolume_of_nothing_is_zero() -> None:
    assert pareto.hypervolume([], [1.0, 1.0]) == 0.0


def test_hypervolume_refuses_another_number_of_objectives() -> None:
    with pytest.raises(ValueError, match=r"n x 2 array, but got shape \(1, 3\)"):
        pareto.hypervolume([[1.0, 2.0, 3.0]], [4.0, 4.0])


def test_losses_turn_what_is_maximised() -> None:
    objectives = [OBJECTIVES["accuracy"], OBJECTIVES["latency_ms"]]
    assert pareto.losses([[0.9, 2.0]], objectives).tolist() == [[-0.9, 2.0]]


def test_normalise_maps_ideal_to_zero_and_nadir_to_one() -> None:
    scaled = pareto.normalise([[1.0, 5.0], [3.0, 5.0], [2.0, 5.0]], [1.0, 5.0], [3.0, 5.0])
    assert scaled.tolist() == [[0.0, 0.0], [1.0, 0.0], [0.5, 0.0]]


def test_reference_point_is_worse_than_every_front() -> None:
    reference = pareto.reference_point([[[0.0, 1.0]], [[10.0, 1.0]], []])
    assert reference.tolist() == [11.0, 1.1]


def test_reference_point_needs_a_point() -> None:
    with pytest.raises(ValueError, match="at least one point"):
        pareto.reference_point([[], []])


def test_igd_plus_counts_only_what_is_worse() -> None:
    # (2, 2) is worse than (1, 2) by 1 and than (2, 1) by 1; (0, 0) is worse than neither.
    assert pareto.igd_plus([[2.0, 2.0]], [[1.0, 2.0], [2.0, 1.0]]) == pytest.approx(1.0)
    assert pareto.igd_plus([[0.0, 0.0]], [[1.0, 2.0], [2.0, 1.0]]) == 0.0


def test_igd_plus_of_nothing_is_infinite() -> None:
    assert pareto.igd_plus([], [[1.0, 2.0]]) == math.inf


def test_knee_is_the_compromise_and_not_an_end() -> None:
    assert pareto.knee([[0.0, 100.0], [0.2, 20.0], [1.0, 0.0]]) == 1


def test_knee_does_not_depend_on_units() -> None:
    front = np.array([[0.0, 100.0], [0.2, 20.0], [1.0, 0.0]])
    assert pareto.knee(front * [1000.0, 0.001]) == pareto.knee(front)


def test_knee_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one point"):
        pareto.knee([])
