"""Proposals: pure, within the space, repeatable after any interruption."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from automl.errors import InputError
from automl.outcome import Failed, Outcome, state_of
from automl.pareto import hypervolume
from automl.search.front import objective_losses, study_front
from automl.search.grid import declared_grid, grid_point
from automl.search.record_view import Ledger, RecordView
from automl.search.samplers import DRAWS, METHODS, Proposal, SamplerPlan, propose
from automl.storage import TrialRecord
from tests.search.search_fakes import OBJECTIVES, outcome_of, sampler_plan, small_space

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OPTUNA = ("nsga2", "tpe", "random")


def record(plan: SamplerPlan, number: int, proposal: Proposal, outcome: Outcome | None) -> TrialRecord:
    candidate = plan.space.decode(proposal.point)
    state: Any = "open" if outcome is None else state_of(outcome)
    remembered = json.loads(json.dumps(proposal.sampler_state))
    return TrialRecord(
        number, proposal.point, candidate, candidate.candidate_hash(), "shape", state, 1, None, remembered, outcome,
        NOW, NOW, proposal.enqueued,
    )  # fmt: skip


def search(plan: SamplerPlan, trials: int) -> list[TrialRecord]:
    """Return an uninterrupted study with one worker."""
    ledger = Ledger([], OBJECTIVES)
    for number in range(trials):
        proposal = propose(plan, ledger.view(), number)
        assert proposal is not None
        ledger.put(record(plan, number, proposal, outcome_of(plan.space.decode(proposal.point))))
    return list(ledger.trials())


def points(trials: Sequence[TrialRecord]) -> list[Mapping[str, int]]:
    return [trial.point for trial in trials]


def test_propose_nsga2_rebuilt_at_every_one_of_300_trials_proposes_the_same() -> None:
    plan = sampler_plan("nsga2")
    whole = search(plan, 300)
    assert max(trial.sampler_state["generation"] for trial in whole) == 24
    for number, trial in enumerate(whole):
        proposal = propose(plan, Ledger(whole[:number], OBJECTIVES).view(), number)
        assert proposal is not None
        assert (proposal.point, proposal.sampler_state) == (trial.point, trial.sampler_state)


@pytest.mark.parametrize("method", ["tpe", "random", "sklearn_random"])
def test_propose_rebuilt_proposes_the_same(method: str) -> None:
    plan = sampler_plan(method)
    whole = search(plan, 30)
    for number in range(0, 30, 3):
        proposal = propose(plan, Ledger(whole[:number], OBJECTIVES).view(), number)
        assert proposal is not None and proposal.point == whole[number].point


@pytest.mark.parametrize("method", ["nsga2", "tpe", "random", "sklearn_random"])
def test_propose_stays_in_the_space_and_heeds_the_seed(method: str) -> None:
    trials = search(sampler_plan(method), 30)
    assert all(trial.point in small_space() for trial in trials)
    assert points(search(sampler_plan(method, seed=1), 30)) != points(trials)


def volume(method: str) -> float:
    """Return the hypervolume of a study of 150 trials: accuracy, latency and size, each over a round figure."""
    front = study_front(search(sampler_plan(method), 150), OBJECTIVES)
    return hypervolume(objective_losses(front, OBJECTIVES) / [1.0, 30.0, 120_000.0], [-0.7, 1.0, 1.0])


@pytest.mark.parametrize("method", ["nsga2", "tpe"])
def test_propose_beats_random_search(method: str) -> None:
    """A function of fixed seeds: no failure rate."""
    assert volume(method) > volume("random")


def test_propose_hears_limits() -> None:
    trials = search(sampler_plan("nsga2"), 120)
    early = Counter(trial.state for trial in trials[:24])["infeasible"]
    assert Counter(trial.state for trial in trials[-24:])["infeasible"] <= early


@pytest.mark.parametrize("method", OPTUNA)
def test_propose_draws_again_where_a_candidate_is_known(method: str) -> None:
    hashes = [trial.candidate_hash for trial in search(sampler_plan(method), 100)]
    assert len(set(hashes)) >= 98


@pytest.mark.parametrize("method", OPTUNA)
def test_propose_repeats_itself_in_a_space_that_is_used_up(method: str) -> None:
    plan = sampler_plan(method)
    tiny = plan.space.narrow({"op_*": "conv_3x3", "prune_*": 0.0, "alpha": 1.0, "temperature": 1.0}, {})
    trials = search(replace(plan, space=tiny, population=4), 20)
    assert 1 < len({trial.candidate_hash for trial in trials}) <= tiny.size() == 6
    assert DRAWS < 20


@pytest.mark.parametrize("method", sorted(METHODS))
def test_propose_takes_enqueued_points_first(method: str) -> None:
    space = small_space()
    rng = np.random.default_rng(5)
    wanted = (space.sample(rng), space.sample(rng))
    plan = sampler_plan(method, enqueue=wanted, grid=declared_grid(space, [], 0))
    trials = search(plan, 4)
    assert points(trials[:2]) == list(wanted)
    assert [trial.enqueued for trial in trials] == [True, True, False, False]


def test_propose_spreads_open_trials() -> None:
    plan = sampler_plan("tpe")
    done = search(plan, 40)
    ledger = Ledger(done, OBJECTIVES)
    for number in range(40, 44):
        proposal = propose(plan, ledger.view(), number)
        assert proposal is not None
        ledger.put(record(plan, number, proposal, None))
    assert len({trial.candidate_hash for trial in ledger.trials()}) >= len({t.candidate_hash for t in done}) + 4


def test_propose_nsga2_counts_late_trials_into_the_next_generation() -> None:
    plan = sampler_plan("nsga2", population=4)
    trials = search(plan, 4)
    slow = record(
        plan, 4, Proposal(small_space().sample(np.random.default_rng(9)), dict(trials[3].sampler_state)), None
    )
    begun = propose(plan, Ledger([*trials, slow], OBJECTIVES).view(), 5)
    assert begun is not None
    assert (begun.sampler_state["generation"], begun.sampler_state["pending"]) == (1, [4])
    ended = replace(slow, state="measured", outcome=outcome_of(slow.candidate))
    rest = [record(plan, number, begun, outcome_of(plan.space.decode(begun.point))) for number in (5, 6, 7)]
    grown = propose(plan, Ledger([*trials, ended, *rest], OBJECTIVES).view(), 8)
    assert grown is not None and grown.sampler_state["generation"] == 2


@pytest.mark.parametrize("method", ["nsga2", "tpe"])
def test_propose_survives_failures_only(method: str) -> None:
    plan = sampler_plan(method)
    failed = [replace(trial, state="failed", outcome=Failed("x", "")) for trial in search(plan, 30)]
    assert propose(plan, Ledger(failed, OBJECTIVES).view(), 30) is not None


def test_propose_refuses_an_unknown_method() -> None:
    with pytest.raises(InputError, match=r"search\.method must be one of nsga2, tpe"):
        propose(sampler_plan("annealing"), RecordView([], frozenset()), 0)


def test_grid_point_visits_every_corner_once_in_seeded_order() -> None:
    space = small_space()
    grid = declared_grid(space, [space.sample(np.random.default_rng(0))] * 2, 0)
    order = [grid_point(grid, 3, place) for place in range(16)]
    assert grid_point(grid, 3, 16) is None
    assert all(point in space for point in order)
    assert len({json.dumps(point, sort_keys=True) for point in order}) == 8  # the two cells are one
    assert order != [grid_point(grid, 4, place) for place in range(16)]


def test_ledger_view_is_bounded_and_keeps_the_front() -> None:
    plan = sampler_plan("random")
    trials = search(plan, 20)
    many = [replace(trials[n % 20], number=n, state="failed" if n > 20 else trials[n % 20].state,
                    outcome=Failed("x", "") if n > 20 else trials[n % 20].outcome) for n in range(900)]  # fmt: skip
    ledger = Ledger(many, OBJECTIVES)
    shown = {trial.number for trial in ledger.view().trials}
    assert {trial.number for trial in ledger.front()} <= shown
    assert set(range(600, 900)) <= shown and len(shown) <= 300 + len(ledger.front())


def test_ledger_front_grown_one_by_one_equals_the_whole() -> None:
    trials = search(sampler_plan("random"), 60)
    grown = Ledger([], OBJECTIVES)
    for trial in trials:
        grown.put(trial)
    assert [t.number for t in grown.front()] == [t.number for t in Ledger(trials, OBJECTIVES).front()]
