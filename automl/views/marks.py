"""The marks of the front picture: points by standing and role, their sizes, spreads and the line of the front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from automl.views.facts import COMPRESSIONS, TEST_NAMES, AnyReading, PointFacts
from automl.views.hover import hover_text
from automl.views.landmarks import stepped
from automl.views.style import COLOURS, INK, ROLES, STANDINGS, Mark, diameters, rgba

ROLE_PX, STRIP_PX = 13.0, 8.0
LEGEND_TITLES = {"compression": "On the front", "role": "For comparison", "standing": "Off the front"}
LEGEND_RANKS = {"compression": 1, "role": 2, "standing": 3}


@dataclass(frozen=True)
class Plane:
    """What is laid out along which way; `largest` is the value of `size` that gets the largest mark."""

    x: str
    y: str
    size: str
    largest: float

    def height_name(self, point: PointFacts) -> str:
        """Return what stands for `y`: for finalists and twins, scored once, the figure of the test set."""
        return self.y if self.y in point.readings else TEST_NAMES.get(self.y, self.y)

    def height(self, point: PointFacts) -> float:
        """Return the value along `y`, NaN where there is none."""
        return point.value(self.height_name(point))

    def holds(self, point: PointFacts) -> bool:
        """Tell whether the point has a place here."""
        return math.isfinite(point.value(self.x)) and math.isfinite(self.height(point))


def front_line(
    line: Sequence[PointFacts], plane: Plane, x_span: tuple[float, float], y_span: tuple[float, float]
) -> go.Scatter:
    """Return the stepped line of what is attained, running on beyond the axes so that zooming out shows no end."""
    xs, ys = stepped(line, plane.x, plane.y, x_span[1] * 2, min(y_span[0], 0.0))
    return go.Scatter(
        x=xs,
        y=ys,
        mode="lines",
        name="front",
        line={"shape": "hv", "width": 2, "color": rgba(INK, 0.75)},
        fill="tozeroy",
        fillcolor=rgba(INK, 0.05),
        hoverinfo="skip",
        showlegend=False,
    )


def point_traces(points: Sequence[PointFacts], plane: Plane) -> list[go.Scatter]:
    """Return one trace for each standing off the front, each compression on it, and each role; the last on top."""
    trials = [point for point in points if point.role == "trial"]
    groups = [
        ([point for point in trials if point.standing == standing], STANDINGS[standing], "standing")
        for standing in ("dominated", "unstable", "not paying")
    ]
    on_front = [point for point in trials if point.standing == "front"]
    groups += [
        ([point for point in on_front if point.compression == name], _front_mark(name), "compression")
        for name in COMPRESSIONS
    ]
    groups += [([point for point in points if point.role == role], mark, "role") for role, mark in ROLES.items()]
    return [_trace(group, plane, mark, kind) for group, mark, kind in groups if group] + _twin_lines(points, plane)


def _front_mark(compression: str) -> Mark:
    front = STANDINGS["front"]
    return Mark(compression, front.symbol, COLOURS[compression], front.opacity)


def _trace(points: Sequence[PointFacts], plane: Plane, mark: Mark, kind: str) -> go.Scatter:
    areas = {id(point): point.value(plane.size) for point in points}
    ordered = sorted(points, key=lambda point: -areas[id(point)] if areas[id(point)] > 0 else 0.0)  # small on top
    sizes = diameters([areas[id(point)] for point in ordered], plane.largest)
    colour = mark.colour if mark.colour is not None else COLOURS[ordered[0].compression]
    spread = rgba(colour, 0.35 * mark.opacity**2)
    return go.Scatter(
        x=[point.value(plane.x) for point in ordered],
        y=[plane.height(point) for point in ordered],
        error_x=_spread([point.readings[plane.x] for point in ordered], spread),
        error_y=_spread([point.readings[plane.height_name(point)] for point in ordered], spread),
        marker=_marker(mark, colour, [ROLE_PX] * len(ordered) if kind == "role" else sizes),
        **_labels(ordered, mark, kind),
    )


def _labels(points: Sequence[PointFacts], mark: Mark, kind: str) -> dict[str, Any]:
    return {
        "mode": "markers",
        "name": mark.label,
        "legendgroup": kind,
        "legendgrouptitle": {"text": LEGEND_TITLES[kind]},
        "legendrank": LEGEND_RANKS[kind],
        "hovertext": [hover_text(point) for point in points],
        "hoverinfo": "text",
        "customdata": [point.number for point in points],
    }


def _marker(mark: Mark, colour: str, sizes: Sequence[float]) -> dict[str, Any]:
    outlined = mark.symbol.endswith("open")
    line = {"width": 1.8} if outlined else {"width": 1, "color": "rgba(255,255,255,.7)"}
    return {"symbol": mark.symbol, "size": list(sizes), "color": colour, "opacity": mark.opacity, "line": line}


def _spread(readings: Sequence[AnyReading], colour: str) -> dict[str, Any]:
    if all(reading.low == reading.high for reading in readings):
        return {"visible": False}
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(reading.high - reading.value, 0.0) for reading in readings],
        "arrayminus": [max(reading.value - reading.low, 0.0) for reading in readings],
        "thickness": 1.2,
        "width": 0,
        "color": colour,
    }


def _twin_lines(points: Sequence[PointFacts], plane: Plane) -> list[go.Scatter]:
    """Join each uncompressed twin with the finalist that it is the twin of."""
    finalists = {point.number: point for point in points if point.role == "finalist"}
    twins = [point for point in points if point.role == "twin" and point.number in finalists]
    return [_twin_line(finalists[twin.number], twin, plane) for twin in twins]


def _twin_line(finalist: PointFacts, twin: PointFacts, plane: Plane) -> go.Scatter:
    return go.Scatter(
        x=[finalist.value(plane.x), twin.value(plane.x)],
        y=[plane.height(finalist), plane.height(twin)],
        mode="lines",
        line={"width": 1.5, "dash": "dot", "color": rgba(INK, 0.8)},
        hoverinfo="skip",
        showlegend=False,
    )


def strip_trace(points: Sequence[PointFacts], x: str) -> go.Scatter:
    """Return the points without a height, on the second axis, spread out so that they do not hide each other."""
    mark = STANDINGS["infeasible"]
    return go.Scatter(
        x=[point.value(x) for point in points],
        y=[0.15 + 0.7 * ((index * 0.618034) % 1.0) for index in range(len(points))],
        yaxis="y2",
        marker=_marker(mark, str(mark.colour), [STRIP_PX] * len(points)),
        **_labels(points, mark, "standing"),
    )
