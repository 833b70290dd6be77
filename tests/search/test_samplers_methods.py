"""The methods beyond Optuna's classics: pure, within the space, never repeating, and better than chance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from automl.errors import InputError
from automl.outcome import Failed, Gain, Measured, Outcome, state_of
from automl.pareto import hypervolume
from automl.search.front import objective_losses, study_front
from automl.search.record_view import Ledger
from automl.search.samplers import METHODS, TAKES_TWINS, Features, Proposal, SamplerPlan, propose
from automl.search.samplers.surrogate import MEMORY
from automl.storage import TrialRecord
from tests.search.search_fakes import OBJECTIVES, measurement, outcome_of, sampler_plan, small_space
from tests.search.test_samplers import record

OURS = ("surrogate", "evolution", "reinforce", "quasi_random")
SPACE = small_space()


def search(plan: SamplerPlan, trials: int, evaluate: Any = outcome_of) -> list[TrialRecord]:
    ledger = Ledger([], plan.objectives)
    for number in range(trials):
        proposal = propose(plan, ledger.view(), number)
        assert proposal is not None
        ledger.put(record(plan, number, proposal, evaluate(plan.space.decode(proposal.point))))
    return list(ledger.trials())


def keys(trials: list[TrialRecord]) -> list[tuple[int, ...]]:
    return [tuple(trial.point.values()) for trial in trials]


@pytest.fixture(scope="module")
def whole() -> Mapping[str, list[TrialRecord]]:
    return {method: search(sampler_plan(method), 60) for method in OURS}


@pytest.mark.parametrize("method", OURS)
def test_propose_rebuilt_proposes_the_same(method: str, whole: Mapping[str, list[TrialRecord]]) -> None:
    for number in (3, 13, 31, 59):
        trials = whole[method]
        proposal = propose(sampler_plan(method), Ledger(trials[:number], OBJECTIVES).view(), number)
        assert proposal is not None
        assert (proposal.point, proposal.sampler_state) == (trials[number].point, trials[number].sampler_state)


@pytest.mark.parametrize("method", OURS)
def test_propose_stays_in_the_space_and_heeds_the_seed(method: str, whole: Mapping[str, list[TrialRecord]]) -> None:
    assert all(trial.point in SPACE for trial in whole[method])
    assert keys(search(sampler_plan(method, seed=1), 14)) != keys(whole[method][:14])


@pytest.mark.parametrize("method", ["surrogate", "evolution", "reinforce"])
def test_propose_never_repeats_a_candidate(method: str, whole: Mapping[str, list[TrialRecord]]) -> None:
    assert len({trial.candidate_hash for trial in whole[method]}) == 60


def volume(trials: list[TrialRecord]) -> float:
    front = study_front(trials, OBJECTIVES)
    return hypervolume(objective_losses(front, OBJECTIVES) / [1.0, 30.0, 120_000.0], [-0.7, 1.0, 1.0])


@pytest.mark.parametrize("method", ["surrogate", "evolution"])
def test_propose_beats_quasi_random_search(method: str, whole: Mapping[str, list[TrialRecord]]) -> None:
    """A function of fixed seeds: no failure rate."""
    assert volume(whole[method]) > 1.02 * volume(whole["quasi_random"])


def test_surrogate_learns_the_limit(whole: Mapping[str, list[TrialRecord]]) -> None:
    over = [trial.state == "infeasible" for trial in whole["surrogate"]]
    assert sum(over[-20:]) <= 2


def test_surrogate_records_its_scales_with_the_trials_that_fitted_them(
    whole: Mapping[str, list[TrialRecord]],
) -> None:
    fitted = [trial.number for trial in whole["surrogate"] if MEMORY in trial.sampler_state]
    assert fitted[0] == 12 and 5 <= len(fitted) <= 12
    assert np.all(np.diff(fitted) >= 2)


def test_surrogate_spreads_open_trials(whole: Mapping[str, list[TrialRecord]]) -> None:
    plan, ledger = sampler_plan("surrogate"), Ledger(whole["surrogate"], OBJECTIVES)
    for number in range(60, 64):
        proposal = propose(plan, ledger.view(), number)
        assert proposal is not None
        ledger.put(record(plan, number, proposal, None))
    assert len({trial.candidate_hash for trial in ledger.trials()}) == 64


@pytest.mark.parametrize("kind", ["fails", "does not pay"])
def test_surrogate_avoids_where_trials_are_lost(kind: str) -> None:
    def evaluate(candidate: Any) -> Outcome:
        outcome = outcome_of(candidate)
        if candidate.quantization.weight_bits[0] == 32 or not isinstance(outcome, Measured):
            return outcome
        return Failed("x", "") if kind == "fails" else replace(outcome, gain=Gain("no gain on this target", None, None))

    trials = search(sampler_plan("surrogate"), 45, evaluate)
    lost = [trial.candidate.quantization.weight_bits[0] == 8 for trial in trials if not trial.enqueued]
    assert sum(lost[-15:]) < sum(lost[:15])


def test_surrogate_survives_noise_and_one_objective() -> None:
    rng = np.random.default_rng(0)

    def evaluate(candidate: Any) -> Outcome:
        outcome = outcome_of(candidate)
        assert isinstance(outcome, Measured) or state_of(outcome) == "infeasible"
        if not isinstance(outcome, Measured):
            return outcome
        noisy = outcome.value("accuracy") + 0.02 * rng.normal()
        return replace(outcome, measurements=(measurement("accuracy", noisy), *outcome.measurements[1:]))

    plan = replace(sampler_plan("surrogate"), objectives=("accuracy",))
    trials = search(plan, 40, evaluate)
    figures = [trial.outcome.value("accuracy") for trial in trials if isinstance(trial.outcome, Measured)]
    assert np.mean(figures[-10:]) > np.mean(figures[:10])


@pytest.mark.parametrize("method", ["surrogate", "evolution", "reinforce", "gp"])
def test_propose_survives_failures_only(method: str, whole: Mapping[str, list[TrialRecord]]) -> None:
    failed = [replace(trial, state="failed", outcome=Failed("x", "")) for trial in whole["surrogate"][:20]]
    assert propose(sampler_plan(method), Ledger(failed, OBJECTIVES).view(), 20) is not None


def test_surrogate_uses_the_features_it_is_given(whole: Mapping[str, list[TrialRecord]]) -> None:
    asked: list[int] = []

    def of(points: Any) -> np.ndarray:
        asked.append(len(points))
        return np.array([[math.log(1 + sum(point.values()))] for point in points])

    plan = replace(sampler_plan("surrogate"), features=Features((1,), of))
    with_them = propose(plan, Ledger(whole["surrogate"][:30], OBJECTIVES).view(), 30)
    without = propose(sampler_plan("surrogate"), Ledger(whole["surrogate"][:30], OBJECTIVES).view(), 30)
    assert with_them is not None and without is not None and max(asked) >= 30
    fitted = [proposal.sampler_state.get(MEMORY, {}).get("scales", [[]]) for proposal in (with_them, without)]
    assert with_them.point != without.point or fitted[0] != fitted[1]


def test_gp_proposes_points_of_the_space(whole: Mapping[str, list[TrialRecord]]) -> None:
    trials = [trial for trial in whole["evolution"] if trial.state == "measured"][:14]
    proposals = [propose(sampler_plan("gp"), Ledger(trials, OBJECTIVES).view(), 60) for _ in range(2)]
    assert proposals[0] is not None and proposals[0].point in SPACE
    assert proposals[0] == proposals[1]


def test_quasi_random_is_spread_more_evenly_than_chance() -> None:
    counts = np.bincount([trial.point["op_0"] for trial in search(sampler_plan("quasi_random"), 64)], minlength=4)
    assert counts.tolist() == [16, 16, 16, 16]


def test_sklearn_grid_wants_a_grid() -> None:
    with pytest.raises(InputError, match="sklearn_grid must be with a declared grid"):
        propose(sampler_plan("sklearn_grid"), Ledger([], OBJECTIVES).view(), 0)


def test_twins_are_for_every_method_but_the_bar_and_the_controller() -> None:
    bar = {"random", "quasi_random", "sklearn_grid", "sklearn_random", "reinforce"}
    assert set(TAKES_TWINS) == set(METHODS) - bar
    assert Proposal({}, {}).enqueued is False
