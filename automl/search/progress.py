"""How far a study is, as plain counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from automl.outcome import OBJECTIVES, Measured
from automl.search.record_view import Ledger


@dataclass(frozen=True)
class Progress:
    """A moment of a study. Reused trials are counted under `reused` only, so that the states add up to `trials`.

    `best` holds the best value of each objective on the front; `seconds_left` is None without a limit of time.
    """

    phase: str  # "teacher", "search", "finalists" or "done"
    trials: int = 0
    measured: int = 0
    infeasible: int = 0
    reused: int = 0
    failed: int = 0
    stopped: int = 0
    open: int = 0
    front_size: int = 0
    best: Mapping[str, float] = field(default_factory=dict)
    seconds_left: float | None = None
    saved_seconds: float = 0.0  # of evaluation, by answering duplicates from the record
    running: int = 0
    workers: int = 0


def progress(ledger: Ledger, objectives: tuple[str, ...], phase: str, seconds_left: float | None) -> Progress:
    """Return the moment that the ledger shows."""
    counts = ledger.counts()
    front = [trial.outcome for trial in ledger.front()]
    best: dict[str, float] = {}
    for name in objectives:
        values = [outcome.value(name) for outcome in front if isinstance(outcome, Measured)]
        if values:
            best[name] = min(values, key=OBJECTIVES[name].loss)
    return Progress(
        phase=phase,
        trials=len(ledger),
        measured=counts["measured"],
        infeasible=counts["infeasible"],
        reused=counts["reused"],
        failed=counts["failed"],
        stopped=counts["stopped"],
        open=counts["open"],
        front_size=len(front),
        best=best,
        seconds_left=seconds_left,
        saved_seconds=ledger.saved_seconds(),
    )
