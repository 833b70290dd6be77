"""The uncompressed twin of what does not pay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from automl.outcome import Gain, Measured
from automl.search.record_view import Ledger
from automl.search.samplers import propose
from automl.search.twins import due_twin
from automl.space import Choice
from automl.storage import TrialRecord
from tests.search.search_fakes import OBJECTIVES, measurement, outcome_of, sampler_plan, small_space

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SPACE = small_space()
PLAIN: Mapping[str, Choice] = {
    **{f"op_{index}": "conv_3x3" for index in range(8)},
    **{f"prune_{stage}": 0.0 for stage in range(3)},
    "width": 32, "cells": 3, "bits": "w32a32", "alpha": 1.0, "temperature": 1.0,
}  # fmt: skip


def trial(number: int, accuracy: float, latency_ms: float, verdict: str, **changed: Choice) -> TrialRecord:
    point = SPACE.point({**PLAIN, **changed})
    candidate = SPACE.decode(point)
    outcome = outcome_of(SPACE.decode(SPACE.point({**PLAIN, **{f"op_{index}": "skip_connect" for index in range(8)}})))
    assert isinstance(outcome, Measured)
    figures = (measurement("accuracy", accuracy), measurement("latency_ms", latency_ms), measurement("size_bytes", 1.0))
    outcome = replace(outcome, measurements=figures, gain=Gain(verdict, None, None))
    return TrialRecord(
        number, point, candidate, candidate.candidate_hash(), "shape", "measured", 1, None, {}, outcome, NOW, NOW, False
    )


GOOD_BUT_SLOWER = trial(0, 0.9, 1.0, "no gain on this target", bits="w8a8", prune_1=0.5)


def due(*trials: TrialRecord) -> dict[str, Choice] | None:
    point = due_twin(SPACE, OBJECTIVES, Ledger(trials, OBJECTIVES).view())
    return None if point is None else SPACE.choices(point)


def test_due_twin_is_the_same_network_uncompressed() -> None:
    assert due(GOOD_BUT_SLOWER) == PLAIN


def test_due_twin_is_due_once() -> None:
    assert due(GOOD_BUT_SLOWER, trial(1, 0.5, 9.0, "uncompressed")) is None


@pytest.mark.parametrize(("accuracy", "latency_ms", "is_due"), [(0.95, 0.5, False), (0.95, 1.5, True)])
def test_due_twin_is_not_due_where_the_front_is_better(accuracy: float, latency_ms: float, is_due: bool) -> None:
    better = trial(1, accuracy, latency_ms, "faster", width=64, bits="w8a8")
    assert (due(GOOD_BUT_SLOWER, better) is not None) is is_due


def test_due_twin_of_what_pays_is_never_due() -> None:
    assert due(trial(0, 0.9, 1.0, "faster", bits="w8a8")) is None


def test_due_twin_that_the_space_lacks_is_never_due() -> None:
    space = SPACE.narrow({"bits": "w8a8"}, {})
    inside = replace(GOOD_BUT_SLOWER, point={**GOOD_BUT_SLOWER.point, "bits": 0})
    assert due_twin(space, OBJECTIVES, Ledger([inside], OBJECTIVES).view()) is None


@pytest.mark.parametrize(("method", "takes"), [("nsga2", True), ("tpe", True), ("random", False)])
def test_propose_takes_the_twin_before_its_own_point(method: str, takes: bool) -> None:
    proposal = propose(sampler_plan(method), Ledger([GOOD_BUT_SLOWER], OBJECTIVES).view(), 1)
    assert proposal is not None
    assert (SPACE.choices(proposal.point) == PLAIN) is takes
