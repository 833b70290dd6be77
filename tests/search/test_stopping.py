"""Successive halving by non-dominated rank: a pure function of who arrived at a rung."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from automl.pareto import dominates
from automl.search.stopping import (
    WINDOW,
    StoppingPlan,
    goes_on,
    rank_of_last,
    stopped_reason,
    stopping_plan,
)

QUICK = settings(max_examples=30, deadline=None)
ETAS = st.integers(2, 5)
TABLES = arrays.arrays(
    np.float64, st.tuples(st.integers(1, 12), st.integers(1, 3)), elements=st.integers(0, 6).map(float)
)


def verdicts(table: np.ndarray, eta: int) -> list[bool]:
    return [goes_on(table[: count + 1], eta) for count in range(len(table))]


@QUICK
@given(ETAS, st.integers(2, 6))
def test_rung_shares_rise_by_eta_to_one(eta: int, rungs: int) -> None:
    shares = StoppingPlan(eta, rungs).rung_shares()
    assert len(shares) == rungs and shares[-1] == 1.0
    assert np.allclose(np.divide(shares[1:], shares[:-1]), eta)


def test_rung_has_its_share_and_the_last_is_the_top() -> None:
    plan = StoppingPlan(3, 3, "data")
    assert [plan.rung(index).is_top for index in range(3)] == [False, False, True]
    assert (plan.rung(1).share, plan.rung(1).by) == (1 / 3, "data")
    with pytest.raises(IndexError, match="the rung must be between 0 and 2, but got 3"):
        plan.rung(3)


@pytest.mark.parametrize(("method", "expected"), [("none", None), ("halving", StoppingPlan(4, 2, "data"))])
def test_stopping_plan_is_none_where_nothing_stops(method: str, expected: StoppingPlan | None) -> None:
    assert stopping_plan(SimpleNamespace(method=method, eta=4, rungs=2, by="data")) == expected
    assert stopping_plan(None) is None


@QUICK
@given(TABLES, ETAS)
def test_arrival_that_all_dominate_stops(table: np.ndarray, eta: int) -> None:
    worst = np.vstack([table, table.max(axis=0) + 1])
    assert rank_of_last(worst) == (len(worst), len(worst))
    assert goes_on(worst, eta) is (len(worst) < eta)


@QUICK
@given(TABLES, ETAS)
def test_arrival_that_dominates_all_goes_on(table: np.ndarray, eta: int) -> None:
    best = np.vstack([table, table.min(axis=0) - 1])
    assert rank_of_last(best) == (1, len(best))
    assert goes_on(best, eta)


@QUICK
@given(TABLES)
def test_ranks_put_no_dominated_one_before_its_dominator(table: np.ndarray) -> None:
    ranks = [rank_of_last(np.vstack([np.delete(table, row, axis=0), table[row]]))[0] for row in range(len(table))]
    pairs = [(a, b) for a in range(len(table)) for b in range(len(table)) if dominates(table[a], table[b])]
    assert all(ranks[a] < ranks[b] for a, b in pairs)
    ahead = np.flatnonzero([not any(dominates(a, row) for a in table) for row in table])
    assert max(ranks[row] for row in ahead) <= len(ahead)


@QUICK
@given(TABLES, ETAS)
def test_verdict_of_an_arrival_stays_when_others_come(table: np.ndarray, eta: int) -> None:
    assert verdicts(table, eta)[: len(table) // 2] == verdicts(table[: len(table) // 2], eta)


@QUICK
@given(TABLES, ETAS, st.sampled_from([math.nan, math.inf]))
def test_what_is_not_finite_never_goes_on_and_ranks_last(table: np.ndarray, eta: int, value: float) -> None:
    broken = table.copy()
    broken[-1, 0] = value
    assert not goes_on(broken, eta)
    assert goes_on(np.vstack([broken[-1:]] * eta + [table[-1:]]), eta)


@pytest.mark.parametrize(("eta", "objectives"), [(2, 3), (3, 1), (3, 2), (4, 2)])
def test_share_that_goes_on_is_one_in_eta(eta: int, objectives: int) -> None:
    # Arrivals in random order have independent, uniform ranks: by Hoeffding, one seed in 3e8 fails this.
    table = np.random.default_rng(eta).normal(size=(200, objectives))
    expected = sum(1.0 if n < eta else math.ceil(n / eta) / n for n in range(1, 201))
    assert abs(sum(verdicts(table, eta)) - expected) < 45
    assert abs(expected / 200 - 1 / eta) < 0.03


def test_a_front_wider_than_its_share_is_thinned_not_cut_off() -> None:
    x = np.linspace(0, 1, 9)
    front = np.column_stack([x, 1 - x])  # nine points, none dominated: by an epsilon-net ends and middle go first
    ranks = [rank_of_last(np.vstack([np.delete(front, row, axis=0), front[row]]))[0] for row in range(9)]
    assert sorted(range(9), key=ranks.__getitem__)[:3] == [0, 8, 4]


def test_only_the_latest_arrivals_are_ranked() -> None:
    old = np.zeros((WINDOW, 2))
    late = np.vstack([old, np.ones((WINDOW - 1, 2)), np.full((1, 2), 0.5)])
    assert rank_of_last(late) == (1, WINDOW)


def test_verdict_tells_a_person_where_and_why() -> None:
    losses = np.arange(12.0)[:, None]
    plan = StoppingPlan(3, 3)
    words = "stopped at rung 2 of 3 (33 % of its epochs): rank 12 of 12, and one in 3 goes on"
    assert plan.verdict(1, losses) == words
    assert plan.verdict(1, -losses) is None


@pytest.mark.parametrize("rungs", range(2, 7))
@pytest.mark.parametrize("eta", [2, 3, 10])
def test_stopped_reason_counts_all_rungs(eta: int, rungs: int) -> None:
    plan = StoppingPlan(eta, rungs, "data")
    reasons = [stopped_reason(plan.rung(index), 2, 4, eta) for index in range(rungs)]
    assert all(f"rung {index + 1} of {rungs} (" in reason for index, reason in enumerate(reasons))
    assert all("% of the training images)" in reason for reason in reasons)
