"""Outcomes as rows and back, exactly: the rows of each table as mappings from column to value."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import RowMapping, Table

from automl.outcome import (
    Artefact,
    Epoch,
    Failed,
    Gain,
    Infeasible,
    Measured,
    Measurement,
    Outcome,
    Ratio,
    Stopped,
    Timing,
    state_of,
)
from automl.storage.tables import DURATION, EPOCH, MEASUREMENT, NOTE, TIMING, VIOLATION

Parts = Mapping[Table, list[dict[str, Any]]]


def outcome_head(outcome: Outcome) -> dict[str, Any]:
    """Return the outcome's own row, without its identity."""
    head: dict[str, Any] = {"state": state_of(outcome)}
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
    parts = {DURATION: [{"part": part, "seconds": seconds} for part, seconds in outcome.seconds.items()]}
    if isinstance(outcome, Measured | Infeasible):
        parts[MEASUREMENT] = [measurement_row(measurement) for measurement in outcome.measurements]
        parts[TIMING] = [timing_row(timing) for timing in outcome.timings]
    if isinstance(outcome, Infeasible):
        parts[VIOLATION] = [
            {"name": name, "value": value, "bound": bound} for name, (value, bound) in outcome.violations.items()
        ]
    if isinstance(outcome, Measured):
        parts[EPOCH] = [_epoch_row(epoch) for epoch in outcome.curve]
        parts[NOTE] = [{"text": note} for note in outcome.notes]
    return parts


def artefact_row(artefact: Artefact) -> dict[str, Any]:
    """Return the row of a file."""
    return {"sha256": artefact.sha256, "path": artefact.path, "size_bytes": int(artefact.size_bytes)}


def outcome_from_rows(head: RowMapping, parts: Mapping[Table, Iterable[RowMapping]]) -> Outcome:
    """Return the outcome of these rows: the inverse of `outcome_head` with the artefact, and `outcome_parts`.

    `head` holds the columns of the outcome and of its artefact, the latter as `artefact_<column>`.
    """
    seconds = {row["part"]: row["seconds"] for row in parts.get(DURATION, ())}
    match head["state"]:
        case "measured":
            return _measured(head, parts, seconds)
        case "infeasible":
            violations = {row["name"]: (row["value"], row["bound"]) for row in parts.get(VIOLATION, ())}
            return Infeasible(head["reason"], violations, _measurements(parts), _timings(parts), seconds)
        case "stopped":
            return Stopped(head["reason"], seconds)
        case state:
            assert state == "failed", state
            return Failed(head["reason"], head["traceback"], seconds)


def _measured(head: RowMapping, parts: Mapping[Table, Iterable[RowMapping]], seconds: Mapping[str, float]) -> Measured:
    return Measured(
        measurements=_measurements(parts),
        artefact=Artefact(*(head[f"artefact_{name}"] for name in ("sha256", "path", "size_bytes"))),
        gain=Gain(head["verdict"], ratio_from_row(head, "twin_ratio"), head["size_ratio"]),
        timings=_timings(parts),
        curve=tuple(_epoch_from_row(row) for row in parts.get(EPOCH, ())),
        seconds=seconds,
        stable=head["stable"],
        notes=tuple(row["text"] for row in parts.get(NOTE, ())),
    )


def _measurements(parts: Mapping[Table, Iterable[RowMapping]]) -> tuple[Measurement, ...]:
    return tuple(measurement_from_row(row) for row in parts.get(MEASUREMENT, ()))


def _timings(parts: Mapping[Table, Iterable[RowMapping]]) -> tuple[Timing, ...]:
    return tuple(timing_from_row(row) for row in parts.get(TIMING, ()))


def measurement_row(measurement: Measurement) -> dict[str, Any]:
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


def measurement_from_row(row: RowMapping) -> Measurement:
    """Return the measurement of a row."""
    return Measurement(
        name=row["name"],
        value=row["value"],
        kind=row["kind"],
        protocol=row["protocol"],
        low=row["low"],
        high=row["high"],
        samples=row["samples"],
        device=row["device"],
        artefact=row["artefact"],
    )


def timing_row(timing: Timing) -> dict[str, Any]:
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


def timing_from_row(row: RowMapping) -> Timing:
    """Return the timing of a row; without its samples where the row lacks them."""
    control_ratio = ratio_from_row(row, "control_ratio")
    assert control_ratio is not None, "the column is never empty"
    samples = row.get("samples_ms", {})
    return Timing(
        moment=row["moment"],
        kind=row["kind"],
        protocol=row["protocol"],
        device=row["device"],
        artefact=row["artefact"],
        control=row["control"],
        control_reference_ms=row["control_reference_ms"],
        control_ratio=control_ratio,
        twin_ratio=ratio_from_row(row, "twin_ratio"),
        aa_ratio=ratio_from_row(row, "aa_ratio"),
        samples_ms={name: tuple(float(sample) for sample in values) for name, values in samples.items()},
    )


def ratio_columns(name: str, ratio: Ratio | None) -> dict[str, float | None]:
    """Return the three columns of a ratio, empty where there is none."""
    values = (None, None, None) if ratio is None else (ratio.value, ratio.low, ratio.high)
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))


def ratio_from_row(row: RowMapping, name: str) -> Ratio | None:
    """Return the ratio of three columns, None where they are empty."""
    if row[name] is None:
        return None
    return Ratio(row[name], row[f"{name}_low"], row[f"{name}_high"])


def _epoch_row(epoch: Epoch) -> dict[str, Any]:
    return {
        "phase": epoch.phase,
        "epoch": int(epoch.epoch),
        "loss": epoch.loss,
        "gradient_norm": epoch.gradient_norm,
        "learning_rate": epoch.learning_rate,
        "seconds": epoch.seconds,
    }


def _epoch_from_row(row: RowMapping) -> Epoch:
    names = ("phase", "epoch", "loss", "gradient_norm", "learning_rate", "seconds")
    return Epoch(*(row[name] for name in names))


def _samples_to_json(samples: Iterable[float]) -> list[float | str]:
    """Return the samples as strict JSON: NaN and the infinities as text, which `float` reads."""
    return [float(sample) if math.isfinite(sample) else str(float(sample)) for sample in samples]
