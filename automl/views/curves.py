"""Learning curves: the loss of every epoch, and what the partly trained file was worth at each rung."""

from __future__ import annotations

import html
import math
import textwrap
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from automl.outcome import Epoch, Measured, Measurement
from automl.views.axes import share_ticks, span
from automl.views.style import MUTED, Mark, layout, rgba
from automl.views.wording import value_words

if TYPE_CHECKING:
    from automl.storage import RungRecord, TrialRecord

MOST = 300  # trials in one picture, the latest: more lines than these say nothing, and a page must open at once
ENDINGS: Mapping[str, Mark] = {
    "stopped": Mark("stopped early", "circle-open", MUTED, 0.45),
    "infeasible": Mark("over a limit", "x-thin-open", "#c0655f", 0.75),
    "failed": Mark("failed", "x-thin-open", "#d9534f", 0.8),
    "open": Mark("running", "diamond-open", "#e8912d", 0.9),
    "measured": Mark("measured", "circle", "#12a594", 0.85),
}  # by the state of a trial; the last one on top
WIDTH = 62  # letters of a line on hover
GRID = {
    "gridcolor": "rgba(128,128,128,.16)",
    "zeroline": False,
    "ticks": "outside",
    "tickcolor": "rgba(128,128,128,.35)",
}


@dataclass(frozen=True)
class RungPoint:
    """What the file of a rung was worth; rungs count from 1, and the whole training is the last one."""

    rung: int
    is_top: bool
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class CurveFacts:
    """One trial: how it ended ("open" where it has not), its epochs, and its accuracy at each rung that it reached."""

    number: int
    ending: str
    reason: str
    epochs: tuple[Epoch, ...]
    rungs: tuple[RungPoint, ...]

    def places(self) -> list[float]:
        """Return where each entry of `epochs` ends, in epochs; an epoch in several phases is parted evenly."""
        counts: dict[int, int] = defaultdict(int)
        for epoch in self.epochs:
            counts[epoch.epoch] += 1
        seen: dict[int, int] = defaultdict(int)
        places = []
        for epoch in self.epochs:
            seen[epoch.epoch] += 1
            places.append(epoch.epoch + seen[epoch.epoch] / counts[epoch.epoch])
        return places


def curve_facts(trials: Sequence[TrialRecord], rungs: Sequence[RungRecord] = ()) -> tuple[CurveFacts, ...]:
    """Return the trials that have trained, in the order of their numbers; what repeats another one is left out.

    Args:
        trials: read with their curves.
        rungs: of the same study, read with their curves, in order of sequence; only those that bear a curve count for a
            trial that has no outcome with one.
    """
    climbed: dict[int, list[RungRecord]] = defaultdict(list)
    for record in rungs:
        climbed[record.trial].append(record)
    own = sorted((trial for trial in trials if trial.reused_from is None), key=lambda trial: trial.number)
    facts = [_facts(trial, climbed.get(trial.number, [])) for trial in own]
    return tuple(one for one in facts if one.epochs or one.rungs)


def _facts(trial: TrialRecord, rungs: Sequence[RungRecord]) -> CurveFacts:
    outcome = trial.outcome
    points = [_point(one.result.rung + 1, False, one.result.measurements) for one in rungs]
    epochs = next((one.result.curve for one in reversed(rungs) if one.result.curve), ())
    if isinstance(outcome, Measured):
        epochs = outcome.curve
        points.append(_point(len(points) + 1, True, outcome.measurements))
    reason = "" if outcome is None or isinstance(outcome, Measured) else outcome.reason
    known = tuple(point for point in points if point is not None)
    return CurveFacts(trial.number, trial.state, reason, epochs, known)


def _point(rung: int, is_top: bool, measurements: Sequence[Measurement]) -> RungPoint | None:
    found = next((one for one in measurements if one.name == "accuracy"), None)
    return None if found is None else RungPoint(rung, is_top, found.value, found.low, found.high)


def curves_figure(curves: Sequence[CurveFacts], title: str = "Learning curves") -> go.Figure:
    """Return the losses by epoch and, where trials went from rung to rung, the accuracy at each rung beside them.

    One line a trial, coloured by how it ended. Losses of trials with different teachers are sums of different things,
    and not to be compared; accuracies are those of files.
    """
    shown = curves[-MOST:]
    with_rungs = any(not point.is_top for one in shown for point in one.rungs)
    figure = make_subplots(rows=1, cols=2 if with_rungs else 1, horizontal_spacing=0.09)
    figure.update_layout(layout(title, drawn_words(len(shown), len(curves)), title))
    for state, mark in ENDINGS.items():
        group = [one for one in shown if one.ending == state]
        if any(one.epochs for one in group):
            figure.add_trace(_lines(group, mark, _losses), row=1, col=1)
        if with_rungs and any(one.rungs for one in group):
            figure.add_trace(_marks(group, mark), row=1, col=2)
    figure.update_xaxes(GRID | {"title": {"text": "Epoch"}, "rangemode": "tozero"}, col=1)
    figure.update_yaxes(GRID | {"title": {"text": "Training loss"}, "type": "log"}, col=1)
    if with_rungs:
        _rung_axes(figure, shown)
    return figure


def drawn_words(shown: int, known: int) -> str:
    """Return how many trials are drawn."""
    return f"{known} trials" if shown == known else f"the latest {shown} of {known} trials"


def curve_rows(curve: CurveFacts) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows of plain text: one row an epoch and phase of the trial."""
    columns = ["epoch", "phase", "loss", "gradient norm", "learning rate", "seconds"]
    rows = [
        [str(one.epoch + 1), one.phase, f"{one.loss:.4g}", f"{one.gradient_norm:.3g}", f"{one.learning_rate:.3g}",
         f"{one.seconds:.1f}"]
        for one in curve.epochs
    ]  # fmt: skip
    return columns, rows


def rung_rows(curve: CurveFacts) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows of plain text: the accuracy of the trial's file at each rung, with its interval."""
    columns = ["rung", "accuracy of the file", "low", "high"]
    values = [(one, (one.accuracy, one.low, one.high)) for one in curve.rungs]
    return columns, [[_rung_words(one), *(value_words("accuracy", value) for value in row)] for one, row in values]


def _rung_words(point: RungPoint) -> str:
    return "whole" if point.is_top else str(point.rung)


def _label(curve: CurveFacts) -> str:
    """Return how a trial is called on hover, and what became of it."""
    words = f"<b>trial {curve.number}</b>, {ENDINGS[curve.ending].label}"
    return "<br>".join([words, *(html.escape(line, quote=False) for line in textwrap.wrap(curve.reason, WIDTH))])


Points = list[tuple[float, float, str]]  # (x, y, words)


def _losses(curve: CurveFacts) -> Points:
    return [
        (place, one.loss, f"epoch {one.epoch + 1}, {one.phase}: loss {one.loss:.4g}, rate {one.learning_rate:.3g}")
        for place, one in zip(curve.places(), curve.epochs, strict=True)
    ]


def _accuracies(curve: CurveFacts) -> Points:
    return [
        (
            float(point.rung),
            point.accuracy,
            f"{'whole training' if point.is_top else f'rung {point.rung}'}: "
            f"accuracy of the file {value_words('accuracy', point.accuracy)} "
            f"({value_words('accuracy', point.low)} to {value_words('accuracy', point.high)})",
        )
        for point in curve.rungs
    ]


def _lines(curves: Sequence[CurveFacts], mark: Mark, points_of: Callable[[CurveFacts], Points]) -> go.Scatter:
    """Return one trace for all lines of a kind, with a gap after each: a trace a trial would be slow to draw."""
    x: list[float | None] = []
    y: list[float | None] = []
    words: list[str] = []
    numbers: list[int] = []
    for curve in curves:
        points = points_of(curve)
        x += [*(one[0] for one in points), None]
        y += [*(one[1] if math.isfinite(one[1]) else None for one in points), None]
        words += [*(f"{_label(curve)}<br>{one[2]}" for one in points), ""]
        numbers += [curve.number] * (len(points) + 1)
    colour = rgba(str(mark.colour), mark.opacity)
    return go.Scatter(
        x=x, y=y, mode="lines", name=mark.label, legendgroup=mark.label, line={"width": 1.5, "color": colour},
        hovertext=words, hoverinfo="text", customdata=numbers,
    )  # fmt: skip


def _marks(curves: Sequence[CurveFacts], mark: Mark) -> go.Scatter:
    trace = _lines(curves, mark, _accuracies)
    marker = {"size": 8, "symbol": mark.symbol, "color": mark.colour, "opacity": mark.opacity}
    return trace.update(mode="lines+markers", marker=marker, showlegend=False)


def _rung_axes(figure: go.Figure, curves: Sequence[CurveFacts]) -> None:
    """Lay out the accuracies over the rungs."""
    points = [point for one in curves for point in one.rungs]
    low, high = span("accuracy", [point.accuracy for point in points])
    last = max(point.rung for point in points)
    rungs: dict[str, Any] = {
        "title": {"text": "Rung"},
        "tickvals": list(range(1, last + 1)),
        "range": [0.8, last + 0.2],
    }
    shares = {"range": [low, high], "tickvals": share_ticks(low, high), "tickformat": ".0%"}
    figure.update_xaxes(GRID | rungs, col=2)
    figure.update_yaxes(GRID | shares | {"title": {"text": "Accuracy of the file, validation set"}}, col=2)
