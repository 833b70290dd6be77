"""What the surrogate is made of: the Gaussian process, the expected gain, moves, and what becomes of refused points."""

from __future__ import annotations

import numpy as np
import pytest

from automl.pareto import front_mask, hypervolume
from automl.search.samplers.cheap_metrics import cheap_metrics, joint_features
from automl.search.samplers.encoding import encoder_of, scaled_features
from automl.search.samplers.evolution import dominance_ranks
from automl.search.samplers.expected_gain import expected_gain, free_boxes
from automl.search.samplers.gaussian_process import Encoded, condition, first_guess, fit
from automl.search.samplers.moves import as_indices, as_point, mutated, near_rows, unseen_neighbour
from automl.search.samplers.plan import Features
from automl.search.samplers.reinforce import trained_policy
from automl.space import Dimension
from tests.search.search_fakes import sampler_plan, small_space

SPACE = small_space()


def test_fit_finds_the_dimension_that_matters() -> None:
    rng = np.random.default_rng(0)
    inputs = Encoded(rng.random((60, 3)), np.arange(3))
    values = np.sin(6 * inputs.columns[:, 1]) + 0.01 * rng.normal(size=60)
    values = (values - values.mean()) / values.std()
    scales = fit(inputs, values, first_guess(3), 40)
    assert np.argmax(scales[4:]) == 1
    fresh = rng.random((200, 3))
    mean, variance = condition(scales, inputs, values).predict(fresh)
    assert np.corrcoef(mean, np.sin(6 * fresh[:, 1]))[0, 1] > 0.99
    assert np.all(variance > 0)


def test_condition_is_sure_of_what_it_saw_and_of_nothing_far_away() -> None:
    inputs = Encoded(np.linspace(0, 1, 8)[:, None], np.zeros(1, dtype=np.int64))
    values = np.cos(4 * inputs.columns[:, 0])
    theta = first_guess(1)
    theta[3] = np.log(1e-6)
    posterior = condition(theta, inputs, values)
    mean, variance = posterior.predict(np.array([[0.0], [1.0], [30.0]]))
    assert mean[:2] == pytest.approx(values[[0, -1]], abs=1e-2)
    assert variance[2] > 100 * variance[0]


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_free_boxes_fill_what_the_front_leaves(objectives: int) -> None:
    rng = np.random.default_rng(objectives)
    points = rng.random((25, objectives))
    lower, upper = free_boxes(points[front_mask(points)], np.ones(objectives))
    filled = np.prod(np.maximum(upper - np.maximum(lower, 0.0), 0.0), axis=1).sum()
    assert filled + hypervolume(points, np.ones(objectives)) == pytest.approx(1.0)


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_expected_gain_equals_its_own_simulation(objectives: int) -> None:
    """Of 4,000 samples; a fixed seed."""
    rng = np.random.default_rng(3)
    front, one = rng.random((6, objectives)), np.ones(objectives)
    mean, deviation = rng.random((1, objectives)), np.full((1, objectives), 0.3)
    drawn = mean + deviation * rng.normal(size=(4000, objectives))
    before = hypervolume(front, one)
    gains = [hypervolume(np.vstack([front, point]), one) - before for point in drawn]
    exact = expected_gain(mean, deviation, free_boxes(front[front_mask(front)], one))
    assert exact[0] == pytest.approx(np.mean(gains), abs=4 * np.std(gains) / np.sqrt(4000))


def test_mutated_changes_so_many_dimensions_at_most() -> None:
    rng = np.random.default_rng(0)
    rows = as_indices(SPACE, [SPACE.sample(rng) for _ in range(200)])
    changed = (mutated(SPACE, rows, np.repeat([1, 2], 100), rng) != rows).sum(axis=1)
    assert set(changed[:100]) == {1} and set(changed[100:]) <= {0, 1, 2}
    assert all(as_point(SPACE, row) in SPACE for row in mutated(SPACE, rows, np.full(200, 5), rng))


def test_near_rows_are_the_neighbours() -> None:
    point = SPACE.sample(np.random.default_rng(1))
    near = [as_point(SPACE, row) for row in near_rows(SPACE, as_indices(SPACE, [point])[0])]
    key = lambda each: tuple(each.values())  # noqa: E731
    assert sorted(near, key=key) == sorted(SPACE.neighbours(point), key=key)


def test_unseen_neighbour_is_near_and_new_or_none() -> None:
    point, rng = SPACE.sample(np.random.default_rng(1)), np.random.default_rng(0)
    known = {SPACE.decode(point).candidate_hash()}
    found = unseen_neighbour(SPACE, point, known, rng)
    assert found is not None and sum(found[name] != point[name] for name in point) == 1
    assert SPACE.decode(found).candidate_hash() not in known
    narrow = SPACE.narrow({dimension.name: dimension.choices[0] for dimension in SPACE.dimensions}, {})
    only = dict.fromkeys(narrow.names(), 0)
    assert unseen_neighbour(narrow, only, {narrow.decode(only).candidate_hash()}, rng) is None


def test_encoder_sets_different_choices_one_apart() -> None:
    encoder = encoder_of(sampler_plan("surrogate"))
    point = dict.fromkeys(SPACE.names(), 0)
    rows = as_indices(SPACE, [point, point | {"op_0": 3}, point | {"width": 2}, point | {"width": 1}])
    columns = encoder(rows)
    assert [np.linalg.norm(columns[0] - columns[n]) for n in (1, 2, 3)] == pytest.approx([1.0, 1.0, 0.5])
    assert columns.shape[1] == len(encoder.groups)


def test_scaled_features_are_centred_and_finite() -> None:
    raw = Features((1, 2), lambda points: np.array([[1e6 * p["width"], p["op_0"], np.nan] for p in points]))
    features = scaled_features(SPACE, raw)
    table = features.of([SPACE.sample(np.random.default_rng(n)) for n in range(400)])
    assert np.isfinite(table).all() and np.abs(table.mean(axis=0)).max() < 0.1
    assert table.std(axis=0)[:2] == pytest.approx([0.5, 0.5], rel=0.15)


def test_dominance_ranks_peel_fronts_and_put_violations_last() -> None:
    table = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [2.0, 2.0], [0.0, 0.0], [-1.0, -1.0]])
    ranks = dominance_ranks(table, np.array([0.0, 0.0, -1.0, 0.0, 0.5, 0.1]))
    assert ranks.tolist() == [0, 0, 1, 2, 4, 3]


def test_trained_policy_learns_the_rewarded_choice() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 3, size=(300, 2))
    reward = np.where(rows[:, 0] == 2, 1.0, -1.0)
    policy = trained_policy(rows, np.array([3, 3]), reward)
    assert policy[0, 2] > 0.9 and policy[1].max() < 0.7
    assert policy.sum(axis=1) == pytest.approx([1.0, 1.0])


def test_dimension_without_a_choice_has_no_column() -> None:
    assert isinstance(SPACE.dimensions[9], Dimension) and len(SPACE.dimensions[9].choices) == 1
    assert encoder_of(sampler_plan("surrogate")).free == tuple(n for n in range(16) if n != 9)


def test_cheap_metrics_grow_with_width_and_shrink_with_bits() -> None:
    point = dict.fromkeys(SPACE.names(), 0) | {f"op_{place}": 2 for place in range(8)}
    small, wide, quantized = (cheap_metrics(SPACE.decode(point | change)) for change in ({}, {"width": 1}, {"bits": 1}))
    assert wide[0] - small[0] == pytest.approx(np.log(4), abs=0.25)
    assert quantized[:2] == small[:2] and small[2] - quantized[2] == pytest.approx(np.log(4), abs=0.01)


def test_joint_features_are_scaled_estimates_of_each_point() -> None:
    features = joint_features(SPACE)
    points = [SPACE.sample(np.random.default_rng(seed)) for seed in range(300)]
    table = features.of(points)
    macs = [cheap_metrics(SPACE.decode(point))[0] for point in points]
    assert np.corrcoef(table[:, 0], macs)[0, 1] > 0.999
    assert table.std(axis=0) == pytest.approx([0.5] * 3, rel=0.15)
