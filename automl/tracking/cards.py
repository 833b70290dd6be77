"""What every logger shows of a trial: its choices, its figures, its learning curve and a few words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from automl.outcome import Epoch, Failed, Infeasible, Measured, Stopped
from automl.space import SearchSpace
from automl.tracking.redaction import redacted

if TYPE_CHECKING:
    from automl.storage import TrialRecord

LONGEST_TEXT = 500  # characters: what all three take


@dataclass(frozen=True)
class Card:
    """A finished trial as a logger shows it. `figures` are finite; `tags` are texts, empty ones left out."""

    number: int
    choices: Mapping[str, int | float | str]
    figures: Mapping[str, float]
    curve: tuple[Epoch, ...]
    tags: Mapping[str, str]
    began: datetime
    ended: datetime

    @property
    def name(self) -> str:
        """Return a name that sorts as the number does."""
        return f"trial-{self.number:05}"

    def points(self) -> list[tuple[str, int, float]]:
        """Return the learning curve as (name, step, value), steps counted over all phases."""
        return [
            (f"curve/{name}", step, float(getattr(epoch, name)))
            for step, epoch in enumerate(self.curve)
            for name in ("loss", "gradient_norm", "learning_rate")
            if math.isfinite(getattr(epoch, name))
        ]


def card(trial: TrialRecord, space: SearchSpace) -> Card:
    """Return the card of a finished trial; with a light record it has no curve."""
    outcome = trial.outcome
    assert outcome is not None, f"trial {trial.number} is open"
    measured = outcome.measurements if isinstance(outcome, Measured | Infeasible) else ()
    return Card(
        number=trial.number,
        choices=space.choices(trial.point),
        figures={each.name: float(each.value) for each in measured if math.isfinite(each.value)},
        curve=outcome.curve if isinstance(outcome, Measured) else (),
        tags={name: text[:LONGEST_TEXT] for name, text in _tags(trial).items() if text},
        began=trial.created_at,
        ended=trial.created_at if trial.finished_at is None else trial.finished_at,
    )


def _tags(trial: TrialRecord) -> dict[str, str]:
    outcome = trial.outcome
    tags = {"state": trial.state, "candidate_hash": trial.candidate_hash}
    if trial.reused_from is not None:
        tags["reused_from"] = str(trial.reused_from)
    if isinstance(outcome, Infeasible | Stopped | Failed):
        tags["reason"] = redacted(outcome.reason)
    if isinstance(outcome, Measured):
        tags |= {"gain": outcome.gain.verdict, "artefact": outcome.artefact.sha256, "stable": str(outcome.stable)}
    if isinstance(outcome, Measured | Infeasible):
        kinds = {each.name: each.kind for each in outcome.measurements}
        tags["latency_kind"] = kinds.get("latency_ms", "")
    return tags
