"""One run: a method on a table from one seed, through the same ledger, view and proposals as a real study.

Nothing is stored and no worker runs, since reading a row takes no time; `drive_plan` is the same run for the driver.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast

from automl.candidate import Candidate
from automl.errors import input_error
from automl.outcome import Failed, state_of
from automl.search.conductor import BARREN_TRIALS
from automl.search.drive_plan import Budget, DrivePlan, RungStep
from automl.search.executor import Task
from automl.search.grid import Grid
from automl.search.record_view import Ledger
from automl.search.replaying.recorded_space import ReadRow, RecordedRows, free_features, recorded_space
from automl.search.samplers import METHODS, Proposal, SamplerPlan, propose
from automl.storage import State, TrialRecord

POPULATION = 12  # as in a study file that says nothing
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Run:
    """The rows that were evaluated, in order, each once, and how long its proposal took in seconds, refits included."""

    method: str
    seed: int
    rows: Sequence[int]
    seconds: Sequence[float]


def sampler_plan(recorded: RecordedRows, method: str, seed: int) -> SamplerPlan:
    """Return the plan of a run.

    Raises:
        InputError: where the method is unknown.
    """
    if method not in METHODS:
        raise input_error("--method", f"of {', '.join(METHODS)}", method)
    space = recorded_space(recorded)
    grid = whole_grid(recorded) if method == "sklearn_grid" else None
    return SamplerPlan(
        space, recorded.slots, {}, method, seed, POPULATION, grid=grid, features=free_features(recorded, space)
    )


def whole_grid(recorded: RecordedRows) -> Grid:
    """Return the grid of every combination of choices."""
    return {each.name: [{each.name: place} for place in range(len(each.values))] for each in recorded.table.dimensions}


def play(recorded: RecordedRows, plan: SamplerPlan, evaluations: int) -> Run:
    """Return the run of a plan until so many different candidates were evaluated, or nothing new comes any more."""
    ledger = Ledger((), plan.objectives, (), plan.population)
    rows: list[int] = []
    seconds: list[float] = []
    while len(rows) < evaluations and ledger.barren() < BARREN_TRIALS:
        began = time.perf_counter()
        proposal = propose(plan, ledger.view(), len(ledger))
        took = time.perf_counter() - began
        if proposal is None:
            break
        trial = _evaluated(recorded, plan, ledger, proposal)
        ledger.put(trial)
        if trial.state == "measured" and trial.reused_from is None:
            row = recorded.row(trial.candidate)
            assert row is not None
            rows.append(row)
            seconds.append(took)
    return Run(plan.method, plan.seed, rows, seconds)


def _evaluated(recorded: RecordedRows, plan: SamplerPlan, ledger: Ledger, proposal: Proposal) -> TrialRecord:
    """Return the finished trial of a proposal; a known candidate takes over its outcome."""
    candidate = plan.space.decode(proposal.point)
    key = candidate.candidate_hash()
    answer = ledger.answer(key)
    outcome = ReadRow(recorded, candidate)(None) if answer is None or answer.outcome is None else answer.outcome
    return TrialRecord(
        number=len(ledger),
        point=proposal.point,
        candidate=candidate,
        candidate_hash=key,
        shape_key=key,
        state=cast("State", state_of(outcome)),
        attempts=0 if answer is not None else 1,
        reused_from=None if answer is None else answer.number,
        sampler_state=proposal.sampler_state,
        outcome=replace(outcome, traceback="") if isinstance(outcome, Failed) else outcome,
        created_at=NOW,
        finished_at=NOW,
        enqueued=proposal.enqueued,
    )


def drive_plan(recorded: RecordedRows, plan: SamplerPlan, evaluations: int, study_id: int) -> DrivePlan:
    """Return the same run for `automl.search.driver.drive`."""

    def task(candidate: Candidate, _known: object, _step: RungStep | None) -> Task:
        return ReadRow(recorded, candidate)

    return DrivePlan(study_id, plan, Budget(None, evaluations, None), "table", task, Candidate.candidate_hash)


def plain_run(run: Run) -> Mapping[str, Any]:
    """Return a run as JSON values."""
    return {"method": run.method, "seed": run.seed, "rows": list(run.rows), "seconds": list(run.seconds)}
