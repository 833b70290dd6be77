from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automl.candidate import PruningPlan
from automl.compression.schedules import (
    SCHEDULES,
    cubic_sparsity,
    next_step,
    prune_until,
    pruning_steps,
)
from tests.compression.small_networks import WIDTHS, Perceptron, cell_network

FULL = (64, 128, 256)


def plan(schedule, kept=(16, 32, 64), **fields):
    return PruningPlan(kept, schedule=schedule, **fields)


def test_one_shot_is_a_single_step_at_four_tenths():
    (step,) = pruning_steps(plan("one_shot", sparsity=0.5), FULL, 16)
    assert (step.at, step.kept_widths, step.sparsity) == (0.4, (16, 32, 64), 0.5)


@pytest.mark.parametrize("schedule", ["iterative", "gradual", "adaptive"])
def test_schedules_of_several_steps_narrow_along_the_way_and_leave_time_to_heal(schedule):
    steps = pruning_steps(plan(schedule), FULL, 16)
    assert len(steps) >= 4
    assert [step.at for step in steps] == sorted({step.at for step in steps})
    assert 0 < steps[0].at < steps[-1].at <= 0.5
    assert all(a.kept_widths > b.kept_widths for a, b in pairwise(steps))


def test_iterative_takes_equal_steps_where_gradual_takes_most_at_first():
    iterative, gradual = (pruning_steps(plan(name, (64, 128, 16)), FULL, 16) for name in ("iterative", "gradual"))
    assert [step.kept_widths[2] for step in iterative] == [208, 144, 80, 16]
    assert [step.kept_widths[2] for step in gradual][:4] == [192, 144, 112, 80]  # 240 x cubic(0.1, 0.2, 0.3, 0.4)


def test_cubic_sparsity_is_that_of_zhu_and_gupta():
    assert [cubic_sparsity(progress, 0.8) for progress in (-1, 0, 0.5, 1, 2)] == pytest.approx([0, 0, 0.7, 0.8, 0.8])


def test_gradual_sparsity_follows_the_cubic_curve():
    steps = pruning_steps(plan("gradual", FULL, sparsity=0.9), FULL, 16)
    assert [step.sparsity for step in steps] == pytest.approx([cubic_sparsity(n / 10, 0.9) for n in range(1, 11)])


def test_a_pattern_is_laid_at_the_last_step():
    steps = pruning_steps(plan("iterative", sparsity=0.5, pattern="2:4"), FULL, 16)
    assert [step.sparsity for step in steps] == [0, 0, 0, 0.5]


def test_steps_that_change_nothing_are_left_out():
    assert len(pruning_steps(plan("gradual", (48, 128, 256)), FULL, 16)) == 1
    (step,) = pruning_steps(plan("iterative", FULL, dropped=("normal.1_0",)), FULL, 16)
    assert step.kept_widths == FULL


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(SCHEDULES),
    st.lists(st.tuples(st.integers(1, 300), st.integers(1, 300)), min_size=1, max_size=3),
    st.sampled_from([1, 8, 16]),
)
def test_every_width_on_the_way_is_a_multiple_and_the_last_is_the_plan(schedule, pairs, multiple):
    full, kept = tuple(max(pair) for pair in pairs), tuple(min(pair) for pair in pairs)
    steps = pruning_steps(plan(schedule, kept), full, multiple)
    assert steps[-1].kept_widths == kept
    for step in steps:
        for width, first, last in zip(step.kept_widths, full, kept, strict=True):
            assert width in (first, last) or width % multiple == 0
            assert last <= width <= first


def test_each_width_may_have_its_own_multiple():
    steps = pruning_steps(plan("iterative", (4, 512)), (8, 1024), (1, 64))
    assert [step.kept_widths for step in steps] == [(7, 896), (6, 768), (5, 640), (4, 512)]


@pytest.mark.parametrize(
    ("drop", "expected"),
    [(None, (48, 208)), (0.0, (16, 64)), (-0.02, (16, 64)), (0.01, (48, 160)), (0.03, (48, 208)), (1.0, (48, 240))],
)
def test_next_step_is_bolder_the_less_the_last_one_cost(drop, expected):
    assert next_step((64, 256), (16, 64), drop, channel_multiple=16) == expected


@pytest.mark.parametrize("drop", [0.0, 0.02, 1.0])
def test_next_step_ends_at_the_planned_widths(drop):
    current, seen = FULL, []
    while current != (16, 100, 64):
        current = next_step(current, (16, 100, 64), drop, channel_multiple=16)
        seen.append(current)
    assert len(seen) <= 12
    assert next_step(current, current, drop, channel_multiple=16) == current


@pytest.mark.parametrize(
    ("schedule", "kept", "message"),
    [
        ("sudden", (16, 32, 64), "schedule must be one of one_shot, .* but got 'sudden'"),
        ("gradual", (0, 32, 64), "kept width 0 must be between 1 and 64, but got 0"),
        ("gradual", (16, 32, 257), "kept width 2 must be between 1 and 256, but got 257"),
        ("gradual", (16, 32), "there must be 3 kept widths, but got 2"),
    ],
)
def test_impossible_plans_are_refused(schedule, kept, message):
    with pytest.raises(ValueError, match=message):
        pruning_steps(plan(schedule, kept), FULL, 16)


def loses(per_channel: float, widths: Sequence[int] = (40,)):
    """Return a score that falls by so much with every hidden channel that went, and what was fine-tuned."""
    tuned = []
    return tuned.append, lambda network: 0.95 - per_channel * (widths[0] - network.first.out_features)


@pytest.mark.parametrize("schedule", ["iterative", "adaptive"])
def test_prune_until_reaches_the_final_widths_where_nothing_is_lost(schedule):
    fine_tune, score = loses(0.0)
    result = prune_until(
        Perceptron(40), (40,), (8,), floor=0.9, channel_multiple=8, fine_tune=fine_tune, score=score, schedule=schedule
    )
    assert result.kept_widths == (8,)
    assert result.network.first.out_features == 8
    assert all(step.held for step in result.history)


def test_prune_until_ends_iteratively_with_the_last_network_that_held_the_floor():
    fine_tune, score = loses(0.003)
    result = prune_until(Perceptron(40), (40,), (8,), floor=0.9, channel_multiple=8, fine_tune=fine_tune, score=score)
    assert [(step.kept_widths, step.held) for step in result.history] == [((32,), True), ((24,), True), ((16,), False)]
    assert result.network.first.out_features == result.kept_widths[0] == 24
    assert result.history[-1].accuracy == pytest.approx(0.95 - 24 * 0.003)


def test_prune_until_adapts_by_going_back_for_half_a_step():
    """The floor allows 20 channels to go: the second step takes 24 in all, half of that step takes 20."""
    fine_tune, score = loses(0.0025, (80,))
    result = prune_until(
        Perceptron(80), (80,), (8,), floor=0.899, channel_multiple=4, fine_tune=fine_tune, score=score,
        schedule="adaptive",
    )  # fmt: skip
    assert result.kept_widths == (60,)
    assert [step.kept_widths[0] for step in result.history] == [64, 56, 60]
    assert result.network.first.out_features == 60


def test_prune_until_returns_the_network_itself_where_no_step_holds():
    network = Perceptron(40)
    fine_tune, score = loses(1.0)
    result = prune_until(
        network, (40,), (8,), floor=0.9, channel_multiple=8, fine_tune=fine_tune, score=score, schedule="adaptive"
    )
    assert result.network is network
    assert not any(step.held for step in result.history)


def test_prune_until_fine_tunes_each_network_before_it_is_scored():
    tuned = []

    def score(network):
        assert network.widths == WIDTHS or tuned[-1] is network
        return 1.0

    prune_until(cell_network(), WIDTHS, (4, 8, 16), floor=0.5, channel_multiple=4, fine_tune=tuned.append, score=score)
    assert len(tuned) == 4
    assert tuned[-1].widths == (4, 8, 16)


@pytest.mark.parametrize(
    ("schedule", "final", "message"),
    [("gradual", (8,), "iterative or adaptive"), ("iterative", (0,), "between 1 and 40, but got 0")],
)
def test_prune_until_refuses_what_it_cannot_do(schedule, final, message):
    fine_tune, score = loses(0.0)
    with pytest.raises(ValueError, match=message):
        prune_until(
            Perceptron(40), (40,), final, floor=0, channel_multiple=8, fine_tune=fine_tune, score=score,
            schedule=schedule,
        )  # fmt: skip
