"""What is written into the front picture: limits, the names of its best points, and the key of the sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from automl.views.axes import SCALES
from automl.views.facts import PointFacts, StudyFacts
from automl.views.landmarks import landmarks
from automl.views.marks import Plane
from automl.views.style import INK, MUTED, diameters, rgba
from automl.views.wording import bytes_words, value_words

LIMIT_COLOUR = "#c0655f"
NAME_WIDTH = 0.25  # of the plot: what a landmark's name takes up at most
Drawing = dict[str, Any]


def note(text: str, x: float, y: float, xanchor: str, yanchor: str) -> Drawing:
    """Return a quiet line of text at shares `x` and `y` of the plot."""
    place = {"xref": "paper", "yref": "paper", "x": x, "y": y, "xanchor": xanchor, "yanchor": yanchor}
    return {"text": text, "showarrow": False, "font": {"size": 12, "color": MUTED}, **place}


def bounds(facts: StudyFacts, x: str) -> list[float]:
    """Return the study's limit on `x` as a list of one, empty where there is none."""
    return [facts.limits[x]] if x in facts.limits else []


def limit_shapes(facts: StudyFacts, x: str) -> list[Drawing]:
    """Return a dashed line at the limit on `x`."""
    line = {"color": rgba(LIMIT_COLOUR, 0.7), "width": 1.2, "dash": "dash"}
    return [
        {"type": "line", "xref": "x", "yref": "paper", "x0": bound, "x1": bound, "y0": 0, "y1": 1, "line": line}
        for bound in bounds(facts, x)
    ]


def limit_notes(facts: StudyFacts, x: str) -> list[Drawing]:
    """Return what the dashed line says."""
    return [
        note(f"limit {value_words(x, bound)}", _place(x, bound), 1.0, "center", "bottom") | {"xref": "x"}
        for bound in bounds(facts, x)
    ]


def names(line: Sequence[PointFacts], plane: Plane, x_span: tuple[float, float]) -> list[Drawing]:
    """Name the landmarks of the front, above it, where no trial can be; inside the plot, which spans `x_span`."""
    marks = landmarks(line, plane.x, plane.y)
    low, high = (_place(plane.x, bound) for bound in x_span)
    edge = low + NAME_WIDTH * (high - low)
    return [_name(point, word if len(line) > 1 else "the front", plane, edge) for word, point in marks.items()]


def _name(point: PointFacts, word: str, plane: Plane, edge: float) -> Drawing:
    height = value_words(plane.y, point.value(plane.y))
    text = f"{word}<br><b>{height}, {value_words(plane.x, point.value(plane.x))}</b>"
    near_edge = _place(plane.x, point.value(plane.x)) < edge
    side = "left" if near_edge or word in ("fastest", "the front") else "right"  # of the text, where its line ends
    return {
        "x": _place(plane.x, point.value(plane.x)),
        "y": point.value(plane.y),
        "text": text,
        "font": {"size": 12.5, "color": INK},
        "align": side,
        "xanchor": side,
        "yanchor": "bottom",
        "ax": 0 if side == "left" else -38,
        "ay": -36,
        "standoff": 8,
        "arrowhead": 0,
        "arrowwidth": 1,
        "arrowcolor": rgba(INK, 0.6),
    }


def _place(x: str, value: float) -> float:
    return math.log10(value) if SCALES[x].log else value


def size_shapes(plane: Plane) -> list[Drawing]:
    """Return circles of the sizes that the key names, to the lower right of the plot."""
    return [_circle(left, across) for left, across, _ in _size_key(plane.largest)]


def _circle(left: float, across: float) -> Drawing:
    place = {"xref": "paper", "yref": "paper", "xsizemode": "pixel", "ysizemode": "pixel", "xanchor": 1, "yanchor": 0}
    edges = {"x0": left, "x1": left + across, "y0": 22 - across / 2, "y1": 22 + across / 2}
    return {"type": "circle", "line": {"color": rgba(INK, 0.8), "width": 1.2}, "fillcolor": rgba(INK, 0.12),
            **place, **edges}  # fmt: skip


def size_notes(plane: Plane) -> list[Drawing]:
    """Return what the circles of `size_shapes` stand for."""
    if plane.largest <= 0:
        return []
    title = note(f"Area: {SCALES[plane.size].title.lower()}", 1.0, 0.0, "left", "bottom")
    words = bytes_words if plane.size == "size_bytes" else "{:.3g}".format
    return [title | {"xshift": 16, "yshift": 46}] + [
        note(words(value), 1.0, 0.0, "center", "top") | {"xshift": left + across / 2}
        for left, across, value in _size_key(plane.largest)
    ]


def _size_key(largest: float) -> list[tuple[float, float, float]]:
    """Return (left edge, diameter, value) of three round sizes, the greatest below `largest`; none for 0."""
    if largest <= 0:
        return []
    decade = 10 ** math.floor(math.log10(largest))
    greatest = decade * max(step for step in (1, 2, 5) if step * decade <= largest)
    key, left = [], 18.0
    for value in (greatest / 10, greatest / (2.5 if greatest / decade == 5 else 2), greatest):
        across = diameters([value], largest)[0]
        key.append((left, across, value))
        left += max(across, 44.0) + 12
    return key
