"""Rows as outcomes and rung results: the inverse of `codec`, over raw columns and quick for half a million of them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, select

from automl.outcome import (
    Artefact,
    Epoch,
    Failed,
    Gain,
    Infeasible,
    Measured,
    Measurement,
    Outcome,
    RungResult,
    Stopped,
    Timing,
)
from automl.storage.raw import Texts, bare_rows, ratio, raw, real
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

Lines = Iterable[tuple[Any, ...]]  # owner id, and the columns from the third on (after the position)
Decoded = Iterator[tuple[int, Any]]  # owner id, and the value of a line
Parts = Mapping[Table, Mapping[int, list[Any]]]  # by table and owner, in the order of the positions
BULKY = ("samples_ms",)  # columns that light outcomes lack


def read_parts(
    connection: Connection,
    tables: Iterable[Table],
    heads: Table,
    condition: ColumnElement[bool],
    with_samples: bool,
    names: Collection[str] | None = None,
) -> Parts:
    """Return the decoded lines of each table for the rows of `heads` that fulfil a condition on its columns.

    Of the measurements only those with the `names`, where such are given.
    """
    texts = Texts()
    parts: dict[Table, Mapping[int, list[Any]]] = {}
    for table in tables:
        owner, position, *columns = table.c
        kept = [raw(column) for column in columns if with_samples or column.name not in BULKY]
        query = select(owner, *kept).join_from(table, heads).where(condition).order_by(owner, position)
        if names is not None and table is MEASUREMENT:
            query = query.where(MEASUREMENT.c.name.in_(names))
        found: dict[int, list[Any]] = defaultdict(list)
        for lines in bare_rows(connection.execute(query)):
            for owner_id, value in DECODERS[table](lines, texts):
                found[owner_id].append(value)
        parts[table] = found
    return parts


def outcome_from_parts(head: Any, parts: Parts) -> Outcome:
    """Return the outcome of a head row with its artefact's columns as `artefact_<column>`, and of the decoded lines."""
    this = head.id
    seconds = dict(_of(parts, DURATION, this))
    match head.state:
        case "measured":
            return Measured(
                measurements=tuple(_of(parts, MEASUREMENT, this)),
                artefact=Artefact(head.artefact_sha256, head.artefact_path, head.artefact_size_bytes),
                gain=Gain(
                    head.verdict, ratio(head.twin_ratio, head.twin_ratio_low, head.twin_ratio_high), head.size_ratio
                ),
                timings=tuple(_of(parts, TIMING, this)),
                curve=tuple(_of(parts, EPOCH, this)),
                seconds=seconds,
                stable=head.stable,
                notes=tuple(_of(parts, NOTE, this)),
            )
        case "infeasible":
            violations = {name: (value, bound) for name, value, bound in _of(parts, VIOLATION, this)}
            measurements, timings = _of(parts, MEASUREMENT, this), _of(parts, TIMING, this)
            return Infeasible(head.reason, violations, tuple(measurements), tuple(timings), seconds)
        case "stopped":
            return Stopped(head.reason, seconds)
        case state:
            assert state == "failed", state
            return Failed(head.reason, head.traceback, seconds)


def rung_from_parts(head: Any, parts: Parts) -> RungResult:
    """Return the rung result of a head row and of the decoded lines."""
    checkpoint = None
    if head.checkpoint_sha256 is not None:
        checkpoint = Artefact(head.checkpoint_sha256, head.checkpoint_path, head.checkpoint_size_bytes)
    return RungResult(
        rung=head.rung,
        measurements=tuple(_of(parts, RUNG_MEASUREMENT, head.id)),
        timings=tuple(_of(parts, RUNG_TIMING, head.id)),
        curve=tuple(_of(parts, RUNG_EPOCH, head.id)),
        seconds=dict(_of(parts, RUNG_DURATION, head.id)),
        checkpoint=checkpoint,
    )


def measurements_from_lines(lines: Lines, texts: Texts) -> Decoded:
    """Yield the measurement of each line."""
    for owner, name, value, kind, protocol, low, high, samples, device, artefact in lines:
        number = real(value)
        yield (
            owner,
            Measurement(
                texts[name],
                number,
                texts[kind],  # type: ignore[arg-type]
                texts[protocol],
                number if low == value else real(low),  # an exact figure is one number, not three
                number if high == value else real(high),
                samples,
                texts[device],
                texts[artefact],
            ),
        )


def timings_from_lines(lines: Lines, texts: Texts) -> Decoded:
    """Yield the timing of each line; without its samples where the lines lack them."""
    for owner, moment, kind, protocol, device, artefact, control, reference_ms, *ratios in lines:
        control_ratio = ratio(*ratios[:3])
        assert control_ratio is not None, "the column is never empty"
        samples = json.loads(ratios[9]) if len(ratios) > 9 else {}
        yield (
            owner,
            Timing(
                texts[moment],
                texts[kind],  # type: ignore[arg-type]
                texts[protocol],
                texts[device],
                texts[artefact],
                texts[control],
                real(reference_ms),
                control_ratio,
                ratio(*ratios[3:6]),
                ratio(*ratios[6:9]),
                {name: tuple(float(sample) for sample in values) for name, values in samples.items()},
            ),
        )


def _epochs(lines: Lines, texts: Texts) -> Decoded:
    for owner, phase, epoch, *numbers in lines:
        yield owner, Epoch(texts[phase], epoch, *(real(number) for number in numbers))


def _durations(lines: Lines, texts: Texts) -> Decoded:
    for owner, part, seconds in lines:
        yield owner, (texts[part], real(seconds))


def _violations(lines: Lines, texts: Texts) -> Decoded:
    for owner, name, value, bound in lines:
        yield owner, (texts[name], real(value), real(bound))


def _notes(lines: Lines, texts: Texts) -> Decoded:
    for owner, text in lines:
        yield owner, texts[text]


def _of(parts: Parts, table: Table, owner: int) -> list[Any]:
    lines = parts.get(table)
    return [] if lines is None else lines.get(owner, [])


DECODERS: Mapping[Table, Callable[[Lines, Texts], Decoded]] = {
    MEASUREMENT: measurements_from_lines,
    TIMING: timings_from_lines,
    EPOCH: _epochs,
    DURATION: _durations,
    VIOLATION: _violations,
    NOTE: _notes,
    RUNG_MEASUREMENT: measurements_from_lines,
    RUNG_TIMING: timings_from_lines,
    RUNG_EPOCH: _epochs,
    RUNG_DURATION: _durations,
}
