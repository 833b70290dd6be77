"""Outcomes and rung results as rows, exactly: the rows of each table as mappings from column to value."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Table

from automl.outcome import (
    Artefact,
    Epoch,
    Failed,
    Infeasible,
    Measured,
    Measurement,
    Outcome,
    Ratio,
    RungResult,
    Timing,
    state_of,
)
from automl.storage.tables import (
    DURATION,
    EPOCH,
    MEASUREMENT,
    NOTE,
    RUNG_DURATION,
    RUNG_EPOCH,
    RUNG_MEASUREMENT,
    RUNG_TIMING,
    TIMING,
    VIOLATION,
)

Row = dict[str, Any]
Parts = Mapping[Table, list[Row]]


def outcome_head(outcome: Outcome) -> Row:
    """Return the outcome's own row, without its identity."""
    head: Row = {"state": state_of(outcome)}
    if isinstance(outcome, Measured):
        gain = outcome.gain
        head |= {"stable": bool(outcome.stable), "verdict": gain.verdict, "size_ratio": gain.size_ratio}
        return head | ratio_columns("twin_ratio", gain.twin_ratio)
    head["reason"] = outcome.reason
    if isinstance(outcome, Failed):
        head["traceback"] = outcome.traceback
    return head


def outcome_parts(outcome: Outcome) -> Parts:
    """Return the rows of the outcome's other tables, without its identity, in the order of their positions."""
    parts = {DURATION: duration_rows(outcome.seconds)}
    if isinstance(outcome, Measured | Infeasible):
        parts[MEASUREMENT] = [measurement_row(measurement) for measurement in outcome.measurements]
        parts[TIMING] = [timing_row(timing) for timing in outcome.timings]
    if isinstance(outcome, Infeasible):
        parts[VIOLATION] = [
            {"name": name, "value": value, "bound": bound} for name, (value, bound) in outcome.violations.items()
        ]
    if isinstance(outcome, Measured):
        parts[EPOCH] = [epoch_row(epoch) for epoch in outcome.curve]
        parts[NOTE] = [{"text": note} for note in outcome.notes]
    return parts


def artefact_row(artefact: Artefact) -> Row:
    """Return the row of a file."""
    return {"sha256": artefact.sha256, "path": artefact.path, "size_bytes": int(artefact.size_bytes)}


def rung_head(result: RungResult) -> Row:
    """Return the rung result's own row, without its identity."""
    checkpoint = None if result.checkpoint is None else artefact_row(result.checkpoint)
    columns = {f"checkpoint_{name}": value for name, value in (checkpoint or {}).items()}
    return {"rung": int(result.rung), **columns}


def rung_parts(result: RungResult) -> Parts:
    """Return the rows of the rung result's other tables, as `outcome_parts` does."""
    return {
        RUNG_DURATION: duration_rows(result.seconds),
        RUNG_MEASUREMENT: [measurement_row(measurement) for measurement in result.measurements],
        RUNG_TIMING: [timing_row(timing) for timing in result.timings],
        RUNG_EPOCH: [epoch_row(epoch) for epoch in result.curve],
    }


def placed(owner: str, owner_id: int, rows: Iterable[Row]) -> list[Row]:
    """Return the rows of a part with their identity: that of their `owner`, and their position."""
    return [{**row, f"{owner}_id": owner_id, "position": at} for at, row in enumerate(rows)]


def measurement_row(measurement: Measurement) -> Row:
    """Return the row of a measurement."""
    return {
        "name": measurement.name,
        "value": measurement.value,
        "kind": measurement.kind,
        "protocol": measurement.protocol,
        "low": measurement.low,
        "high": measurement.high,
        "samples": int(measurement.samples),
        "device": measurement.device,
        "artefact": measurement.artefact,
    }


def timing_row(timing: Timing) -> Row:
    """Return the row of a timing."""
    row = {
        "moment": timing.moment,
        "kind": timing.kind,
        "protocol": timing.protocol,
        "device": timing.device,
        "artefact": timing.artefact,
        "control": timing.control,
        "control_reference_ms": timing.control_reference_ms,
        "samples_ms": {name: _samples_to_json(samples) for name, samples in timing.samples_ms.items()},
    }
    for name in ("control_ratio", "twin_ratio", "aa_ratio"):
        row |= ratio_columns(name, getattr(timing, name))
    return row


def ratio_columns(name: str, ratio: Ratio | None) -> dict[str, float | None]:
    """Return the three columns of a ratio, empty where there is none."""
    values = (None, None, None) if ratio is None else (ratio.value, ratio.low, ratio.high)
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))


def epoch_row(epoch: Epoch) -> Row:
    """Return the row of a line of a learning curve."""
    return {
        "phase": epoch.phase,
        "epoch": int(epoch.epoch),
        "loss": epoch.loss,
        "gradient_norm": epoch.gradient_norm,
        "learning_rate": epoch.learning_rate,
        "seconds": epoch.seconds,
    }


def duration_rows(seconds: Mapping[str, float]) -> list[Row]:
    """Return the rows of the seconds that each part took."""
    return [{"part": part, "seconds": taken} for part, taken in seconds.items()]


def _samples_to_json(samples: Iterable[float]) -> list[float | str]:
    """Return the samples as strict JSON: NaN and the infinities as text, which `float` reads."""
    return [float(sample) if math.isfinite(sample) else str(float(sample)) for sample in samples]
