"""Finished trials of every kind, with points in a small space and learning curves."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from automl.outcome import Epoch, Failed, Infeasible, Measured, Outcome, Stopped, state_of
from automl.storage import TrialRecord
from tests.search.search_fakes import measurement, outcome_of, small_space

SPACE = small_space()
CURVE = (Epoch("dense", 0, 2.5, 1.0, 0.01, 0.1), Epoch("dense", 1, 1.5, float("nan"), 0.005, 0.1))
FIGURES = (measurement("accuracy", 0.75), measurement("latency_ms", 3.0), measurement("size_bytes", float("inf")))
SECONDS = {"time_untrained": 1.0, "train": 4.0, "training_core": 3.0, "time_trained": 2.0}


def measured() -> Measured:
    """Return figures with a learning curve; one of them is not finite."""
    candidate = SPACE.decode(point(0))
    outcome = outcome_of(replace(candidate, genotype=replace(candidate.genotype, width=16)))
    assert isinstance(outcome, Measured)
    return replace(outcome, measurements=FIGURES, curve=CURVE, seconds=SECONDS)


def infeasible() -> Infeasible:
    return Infeasible("too slow", {"latency_ms": (9.0, 3.0)}, FIGURES[1:2], (), {"time_untrained": 1.0})


def outcome(state: str) -> Outcome:
    kinds: dict[str, Outcome] = {
        "measured": measured(),
        "infeasible": infeasible(),
        "stopped": Stopped("dominated at rung 0", {"train": 1.0}),
        "failed": Failed("lost postgresql://ann:sesame@host/db", "", {}),
    }
    return kinds[state]


def point(number: int) -> dict[str, int]:
    return dict(SPACE.sample(np.random.default_rng(number)))


def trial(number: int, state: str = "measured", **changes: Any) -> TrialRecord:
    """Return a finished trial."""
    now, candidate, result = datetime(2026, 1, 1, tzinfo=UTC), SPACE.decode(point(number)), outcome(state)
    record = TrialRecord(
        number=number,
        point=point(number),
        candidate=candidate,
        candidate_hash=candidate.candidate_hash(),
        shape_key="shape",
        state=state_of(result),  # type: ignore[arg-type]
        attempts=1,
        reused_from=None,
        sampler_state={},
        outcome=result,
        created_at=now,
        finished_at=now,
        enqueued=False,
    )
    return replace(record, **changes)


def open_trial(number: int) -> TrialRecord:
    return replace(trial(number), state="open", outcome=None)
