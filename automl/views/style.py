"""Colours, symbols and type: one place, so that a mark means the same in every picture.

The four compressions differ in hue and in lightness for people who see fewer colours; what stands off the front
differs in symbol as well.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FONT = "Inter, 'Segoe UI Variable', 'Segoe UI', system-ui, -apple-system, Roboto, 'Helvetica Neue', Arial, sans-serif"
INK = "#5f6b7a"  # readable on white and on near-black; a page's style sheet sharpens it
MUTED = "#8a95a5"
COLOURS: Mapping[str, str] = {
    "uncompressed": "#4c86e0",
    "pruned": "#12a594",
    "quantized": "#e8912d",
    "pruned + quantized": "#b24fc4",
}
SERIES = ("#4c86e0", "#e8912d", "#12a594", "#b24fc4", "#d9534f", "#8a6fdf", "#7a9a2e", "#c77f9b")  # studies compared
SERIES_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "hexagon", "triangle-down")
FAINT = 0.32
LARGEST_PX, SMALLEST_PX = 36.0, 8.0


@dataclass(frozen=True)
class Mark:
    """How points of one standing or role are drawn; no `colour` means that of the compression."""

    label: str
    symbol: str
    colour: str | None
    opacity: float


STANDINGS: Mapping[str, Mark] = {
    "front": Mark("on the front", "circle", None, 0.95),
    "dominated": Mark("dominated", "circle", MUTED, FAINT),
    "not paying": Mark("compression does not pay", "triangle-down-open", "#d9534f", 0.8),
    "unstable": Mark("latency not stable", "hourglass-open", "#a08030", 0.8),
    "infeasible": Mark("over a limit, not trained", "x-thin-open", "#c0655f", 0.75),
}
ROLES: Mapping[str, Mark] = {
    "finalist": Mark("finalist, test set", "diamond-open", None, 1.0),
    "twin": Mark("uncompressed twin, test set", "square-open", "#4c86e0", 1.0),
    "teacher": Mark("teacher", "star", "#d9a514", 1.0),
}


def rgba(colour: str, opacity: float) -> str:
    """Return `#rrggbb` with an opacity as a CSS colour."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"


def diameters(values: Sequence[float], largest: float) -> list[float]:
    """Return marker diameters in pixels whose areas are in proportion to `values`; NaN gives the smallest."""
    shares = [value / largest if largest > 0 and math.isfinite(value) else 0.0 for value in values]
    return [max(SMALLEST_PX, LARGEST_PX * math.sqrt(share)) for share in shares]


def layout(title: str, subtitle: str, revision: str) -> dict[str, Any]:
    """Return the layout that all figures share. An equal `revision` keeps a reader's zoom over an update."""
    return {
        "title": {
            "text": f"<b>{html.escape(title)}</b>",
            "subtitle": {"text": html.escape(subtitle), "font": {"size": 13, "color": MUTED}},
            "x": 0,
            "xref": "container",
            "xanchor": "left",
            "y": 0.985,
            "yanchor": "top",
            "pad": {"l": 16, "t": 10},
            "font": {"size": 19},
        },
        "font": {"family": FONT, "size": 13, "color": INK},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "template": "none",
        "margin": {"l": 72, "r": 240, "t": 108, "b": 64},
        "hovermode": "closest",
        "hoverlabel": {
            "align": "left",
            "bgcolor": "#1d222b",
            "bordercolor": "#3b4452",
            "font": {"family": FONT, "size": 12.5, "color": "#e8ecf2"},
        },
        "legend": {
            "x": 1.02,
            "y": 1.0,
            "xanchor": "left",
            "yanchor": "top",
            "tracegroupgap": 16,
            "itemsizing": "constant",
            "groupclick": "toggleitem",
            "grouptitlefont": {"size": 12, "color": MUTED},
            "font": {"size": 13},
        },
        "uirevision": revision,
    }
