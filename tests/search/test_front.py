"""Who may stand on a study's front, who does, and which one is chosen from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from automl.errors import InputError
from automl.outcome import Failed, Gain, Kind, Measured, Outcome, state_of
from automl.search.front import admitted, choose, refusal, study_front
from automl.storage import TrialRecord
from tests.fake_study import OBJECTIVES, fake_candidate, fake_measured

RNG = np.random.default_rng(0)
CANDIDATE = fake_candidate(RNG)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def trial(number: int, outcome: Outcome | None, reused_from: int | None = None) -> TrialRecord:
    state = "open" if outcome is None else state_of(outcome)
    return TrialRecord(number, {}, CANDIDATE, "hash", "shape", state, 1, reused_from, {}, outcome, NOW, None, False)  # type: ignore[arg-type]


def measured(accuracy: float, latency_ms: float, size_bytes: float = 1e5, kind: Kind = "measured") -> Measured:
    values: Mapping[str, float] = {"accuracy": accuracy, "latency_ms": latency_ms, "size_bytes": size_bytes}
    outcome = replace(fake_measured(CANDIDATE, RNG), stable=True, gain=Gain("faster", None, None))
    figures = [replace(one, value=values[one.name], kind=kind) for one in outcome.measurements if one.name in values]
    return replace(outcome, measurements=tuple(figures))


def numbers(trials: list[TrialRecord]) -> list[int]:
    return [one.number for one in trials]


def test_study_front_keeps_what_none_dominates() -> None:
    trials = [trial(0, measured(0.9, 1.0)), trial(1, measured(0.8, 2.0)), trial(2, measured(0.7, 0.5))]
    assert numbers(study_front(trials, OBJECTIVES)) == [0, 2]


def test_study_front_counts_size_only_where_it_is_an_objective() -> None:
    trials = [trial(0, measured(0.9, 1.0, 2e5)), trial(1, measured(0.8, 1.0, 1e5))]
    assert numbers(study_front(trials, OBJECTIVES)) == [0, 1]
    assert numbers(study_front(trials, ("accuracy", "latency_ms"))) == [0]


def test_study_front_keeps_the_first_of_equals_whatever_the_order() -> None:
    outcome = measured(0.9, 1.0)
    assert numbers(study_front([trial(5, outcome, reused_from=2), trial(2, outcome)], OBJECTIVES)) == [2]


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (None, "open"),
        (Failed("NaN", ""), "failed"),
        (replace(measured(0.9, 1.0), stable=False), "unstable latency"),
        (replace(measured(0.9, 1.0), gain=Gain("no gain on this target", None, None)), "no gain on this target"),
        (measured(float("nan"), 1.0), "no accuracy"),
    ],
)
def test_study_front_keeps_off_what_may_not_stand_there(outcome: Outcome | None, reason: str) -> None:
    worse = trial(1, measured(0.5, 9.0, 9e6))
    assert refusal(trial(0, outcome), OBJECTIVES) == reason
    assert numbers(study_front([trial(0, outcome), worse], OBJECTIVES)) == [1]


def test_admitted_never_mixes_kinds_of_latency() -> None:
    trials = [trial(0, measured(0.9, 0.1, kind="predicted")), trial(1, measured(0.8, 1.0))]
    assert numbers(admitted(trials, OBJECTIVES)) == [1]
    assert numbers(admitted(trials[:1], OBJECTIVES)) == [0]


def test_study_front_of_nothing_is_empty() -> None:
    assert study_front([], OBJECTIVES) == []


@pytest.mark.parametrize(("by", "number"), [("accuracy", 0), ("knee", 1), ("latency", 2)])
def test_choose_takes_the_ends_or_the_compromise(by: str, number: int) -> None:
    front = [trial(0, measured(0.99, 4.0)), trial(1, measured(0.98, 1.5)), trial(2, measured(0.90, 1.0))]
    assert choose(front, by).number == number  # type: ignore[arg-type]


def test_choose_breaks_ties_by_the_other_objective_then_by_size() -> None:
    front = [trial(0, measured(0.9, 2.0, 1e4)), trial(1, measured(0.9, 1.0, 3e5)), trial(2, measured(0.9, 1.0, 2e5))]
    assert choose(front, "accuracy").number == 2


def test_choose_holds_the_latency_limit() -> None:
    front = [trial(0, measured(0.99, 4.0)), trial(1, measured(0.98, 1.5))]
    assert choose(front, "accuracy", max_latency_ms=2.0).number == 1


def test_choose_says_what_the_fastest_is_when_none_is_within_the_limit() -> None:
    with pytest.raises(InputError, match=r"at least 1\.5 ms, the fastest on the front, but got 1\.0"):
        choose([trial(0, measured(0.9, 1.5))], "accuracy", max_latency_ms=1.0)


def test_choose_refuses_an_empty_front() -> None:
    with pytest.raises(InputError, match="Search with a larger budget"):
        choose([], "knee")
