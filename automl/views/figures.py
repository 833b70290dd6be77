"""Facts -> Plotly figures. Backgrounds are clear and colours hold on light and dark; `style` says what a mark means."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from automl.views.axes import axis, span
from automl.views.comparison import Comparison, history_facts
from automl.views.facts import PointFacts, StudyFacts
from automl.views.hover import hover_text
from automl.views.landmarks import line_points, stepped
from automl.views.marks import Plane, front_line, point_traces, strip_trace
from automl.views.notes import bounds, limit_notes, limit_shapes, names, note, size_notes, size_shapes
from automl.views.rows import counts_words, headline
from automl.views.style import MUTED, SERIES, SERIES_SYMBOLS, layout, rgba
from automl.views.thinning import along, thinned
from automl.views.wording import value_words

STRIP = (0.0, 0.075)  # of the height: where what was never trained is laid out by its latency
PLOT = (0.125, 1.0)
STRIP_AXIS = {
    "domain": STRIP, "range": [0, 1], "showticklabels": False, "showgrid": False, "zeroline": False,
    "fixedrange": True, "ticks": "", "anchor": "x",
}  # fmt: skip


def front_figure(facts: StudyFacts, x: str = "latency_ms", y: str = "accuracy", size: str = "size_bytes") -> go.Figure:
    """Return the study's points by `x` and `y`, the area of each mark in proportion to `size`.

    The line is the front by `x` and `y` alone; a full mark off the line is on the front by another objective. What
    was never trained has no `y` and lies in the strip below. Reused trials lie under the ones they repeat and are
    left out. Up to three points are named.
    """
    own = [point for point in facts.points if point.reused_from is None]
    over = [point for point in own if point.standing == "infeasible" and point.value(x) > 0]
    plane = Plane(x, y, size, _largest(own, size))
    placed = [point for point in own if plane.holds(point)]
    line = line_points(facts.front, x, y)
    x_span = span(x, [point.value(x) for point in [*placed, *over]] + bounds(facts, x))
    y_span = span(y, [plane.height(point) for point in placed])
    shown = _shown(placed, plane, x_span, y_span)
    strip = thinned(over, lambda point: (along(x, point.value(x), x_span),))
    figure = go.Figure(layout=layout(facts.name, f"{counts_words(facts)} · {headline(facts)}", facts.name))
    figure.add_traces([front_line(line, plane, x_span, y_span)] if line else [])
    figure.add_traces(point_traces(shown, plane) + ([strip_trace(strip, x)] if strip else []))
    return figure.update_layout(
        xaxis=axis(x, *x_span, facts.latency_kind) | {"anchor": "y2" if strip else "y"},
        yaxis=axis(y, *y_span) | {"domain": PLOT if strip else (0, 1)},
        yaxis2=STRIP_AXIS if strip else {"visible": False},
        shapes=limit_shapes(facts, x) + size_shapes(plane),
        annotations=limit_notes(facts, x)
        + names(line, plane, x_span)
        + size_notes(plane)
        + _strip_notes(over)
        + _crowd_notes(len(placed) - len(shown) + len(over) - len(strip)),
    )


def _shown(
    placed: Sequence[PointFacts], plane: Plane, x_span: tuple[float, float], y_span: tuple[float, float]
) -> list[PointFacts]:
    """Return what is drawn: everything but those of a crowd off the front that would lie on each other."""
    crowd = [point for point in placed if point.role == "trial" and point.standing != "front"]
    kept = thinned(
        crowd,
        lambda point: (along(plane.x, point.value(plane.x), x_span), along(plane.y, plane.height(point), y_span)),
    )
    left_out = {point.number for point in crowd} - {point.number for point in kept}
    return [point for point in placed if point.role != "trial" or point.number not in left_out]


def _crowd_notes(hidden: int) -> list[dict[str, Any]]:
    words = f"{hidden:,} trials off the front are not drawn: they lie on others"
    return [note(words, 1.0, PLOT[0], "right", "bottom")] if hidden else []


def _largest(points: Sequence[PointFacts], size: str) -> float:
    return max((point.value(size) for point in points if point.value(size) > 0), default=0.0)


def _strip_notes(strip: Sequence[PointFacts]) -> list[dict[str, Any]]:
    words = f"{len(strip)} over a limit: timed, never trained"
    return [note(words, 0.0, STRIP[1], "left", "bottom")] if strip else []


def history_figure(facts: StudyFacts) -> go.Figure:
    """Return the hypervolume by accuracy and latency after each trial, as a share of what it is now."""
    history = history_facts(facts)
    figure = go.Figure(layout=layout("Progress", "hypervolume of the front after each trial", f"{facts.name} history"))
    figure.add_trace(
        go.Scatter(
            x=history.numbers, y=history.shares, mode="lines", line={"shape": "hv", "width": 2, "color": SERIES[0]},
            fill="tozeroy", fillcolor=rgba(SERIES[0], 0.08), name="hypervolume",
            hovertemplate="after trial %{x}: %{y:.1%}<extra></extra>",
        )
    )  # fmt: skip
    plain = {"gridcolor": "rgba(128,128,128,.16)", "zeroline": False}
    figure.update_layout(
        xaxis=plain | {"title": {"text": "Trial"}},
        yaxis=plain | {"range": [0, 1.05], "tickformat": ".0%"},
        showlegend=False,
        margin={"r": 24},
    )
    return figure


def compare_figure(comparison: Comparison, x: str = "latency_ms", y: str = "accuracy") -> go.Figure:
    """Return the fronts of several studies in one picture, told apart by colour and symbol."""
    lines = [line_points(facts.front, x, y) for facts in comparison.studies]
    shown = [point for line in lines for point in line]
    x_span, y_span = (span(name, [point.value(name) for point in shown]) for name in (x, y))
    figure = go.Figure(layout=layout("Fronts compared", comparison_words(comparison), "comparison"))
    for index, line in enumerate(lines):
        if line:
            figure.add_traces(_series(comparison, index, line, x, y))
    title = {"text": "Hypervolume, share of the box", "font": {"size": 12, "color": MUTED}}
    kind = comparison.studies[0].latency_kind
    return figure.update_layout(
        xaxis=axis(x, *x_span, kind), yaxis=axis(y, *y_span), legend={"title": title, "tracegroupgap": 2}
    )


def _series(comparison: Comparison, index: int, line: Sequence[PointFacts], x: str, y: str) -> list[go.Scatter]:
    study, colour = comparison.studies[index].name, SERIES[index % len(SERIES)]
    end = 2 * max(point.value(x) for facts in comparison.studies for point in facts.front)
    xs, ys = stepped(line, x, y, end, 0.0)
    steps = go.Scatter(
        x=xs, y=ys, mode="lines", line={"shape": "hv", "width": 2, "color": colour}, hoverinfo="skip",
        legendgroup=study, showlegend=False,
    )  # fmt: skip
    marks = go.Scatter(
        x=[point.value(x) for point in line],
        y=[point.value(y) for point in line],
        mode="markers",
        name=f"{html.escape(study)}  {comparison.shares[index]:.1%}",
        legendgroup=study,
        marker={"symbol": SERIES_SYMBOLS[index % len(SERIES_SYMBOLS)], "size": 11, "color": colour,
                "line": {"width": 1, "color": "rgba(255,255,255,.8)"}},
        hovertext=[hover_text(point, study) for point in line],
        hoverinfo="text",
    )  # fmt: skip
    return [steps, marks]


def comparison_words(comparison: Comparison) -> str:
    """Return the reference point, and a warning where the latencies come from several devices."""
    corner = ", ".join(
        value_words(name, value) for name, value in zip(comparison.objectives, comparison.reference, strict=True)
    )
    devices = "" if comparison.same_device else " · measured on different devices: latencies are not comparable"
    return f"Hypervolume up to {corner}{devices}"


def untitled(figure: go.Figure) -> go.Figure:
    """Return the figure without its title, for a page that says the same in its own words."""
    return go.Figure(figure).update_layout(title=None, margin={"t": 44})
