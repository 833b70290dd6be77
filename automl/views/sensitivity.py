"""Accuracy against the ratio and against the bits of one stage at a time: facts, a table and a figure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from automl.views.axes import share_ticks
from automl.views.document import panel, safe, table, whole_page
from automl.views.style import MUTED, SERIES, SERIES_SYMBOLS, layout
from automl.views.wording import value_words

FILE_NAME = "sensitivity.json"
RATIO, BITS = "ratio", "bits"
ROOM = 0.03  # of accuracy, above and below the curves
PRUNED = "prune"  # the head of a ratio's column
GRID = {
    "gridcolor": "rgba(128,128,128,.16)",
    "zeroline": False,
    "ticks": "outside",
    "tickcolor": "rgba(128,128,128,.35)",
}


@dataclass(frozen=True)
class Level:
    """One exported file: a stage at one ratio or at one pair of bits, everything else left plain.

    `axis` is "ratio" or "bits", `level` the ratio ("0.5") or the pair ("w8a8"); the accuracy has its 95 % interval.
    """

    axis: str
    stage: int
    level: str
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class Sensitivity:
    """A scan of one trained network. `plain` is the file without compression; `suggestion` an entry to enqueue."""

    network: str
    epochs: int
    samples: int
    device: str
    runtime: str
    plain: Level
    levels: tuple[Level, ...]
    suggestion: Mapping[str, Any]
    tolerance: float

    def stages(self, axis: str) -> list[int]:
        """Return the stages that were scanned along an axis."""
        return sorted({level.stage for level in self.levels if level.axis == axis})

    def curve(self, axis: str, stage: int) -> list[Level]:
        """Return the levels of one stage in the order of `ticks`."""
        order = self.ticks(axis)
        levels = [level for level in self.levels if (level.axis, level.stage) == (axis, stage)]
        return sorted(levels, key=lambda level: order.index(level.level))

    def ticks(self, axis: str) -> list[str]:
        """Return the levels of an axis, each once: ratios rising, pairs of bits in the order of the scan."""
        found = list(dict.fromkeys(level.level for level in self.levels if level.axis == axis))
        return sorted(found, key=float) if axis == RATIO else found


def write_sensitivity(folder: Path, sensitivity: Sensitivity) -> Path:
    """Keep the scan in the study's run folder and return where."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    path.write_text(json.dumps(asdict(sensitivity), indent=2) + "\n", encoding="utf-8")
    return path


def read_sensitivity(folder: Path) -> Sensitivity | None:
    """Return the scan that lies in the study's run folder; None where there is none or it is another release's."""
    path = folder / FILE_NAME
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        levels = tuple(Level(**level) for level in value.pop("levels"))
        return Sensitivity(**{**value, "plain": Level(**value["plain"]), "levels": levels})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def sensitivity_figure(sensitivity: Sensitivity) -> go.Figure:
    """Return the curves of every stage: accuracy against the ratio on the left, against the bits on the right."""
    axes = [axis for axis in (RATIO, BITS) if sensitivity.stages(axis)]
    titles = {RATIO: "Share of channels removed", BITS: "Bits of weights and activations"}
    figure = make_subplots(rows=1, cols=max(len(axes), 1), shared_yaxes=True, horizontal_spacing=0.05)
    figure.update_layout(layout("Sensitivity", "one stage at a time", "sensitivity"))
    for column, axis in enumerate(axes, start=1):
        for stage in sensitivity.stages(axis):
            figure.add_trace(_curve(sensitivity, axis, stage, column == 1), row=1, col=column)
        plain = {"title": {"text": titles[axis]}, "type": "category", **GRID}
        figure.update_xaxes(plain | {"categoryarray": sensitivity.ticks(axis), "categoryorder": "array"}, col=column)
    accuracies = [level.accuracy for level in (*sensitivity.levels, sensitivity.plain)]
    low, high = max(min(accuracies) - ROOM, -ROOM), min(max(accuracies) + ROOM, 1 + ROOM)
    ticks = {"range": [low, high], "tickvals": share_ticks(low, high), "tickformat": ".0%"}
    figure.update_yaxes(GRID | ticks)
    figure.update_yaxes({"title": {"text": "Accuracy of the file, validation set"}}, col=1)
    figure.add_hline(sensitivity.plain.accuracy, line={"color": MUTED, "width": 1.2, "dash": "dash"})
    return figure.update_layout(margin={"r": 130})


def _curve(sensitivity: Sensitivity, axis: str, stage: int, in_legend: bool) -> go.Scatter:
    levels, colour = sensitivity.curve(axis, stage), SERIES[stage % len(SERIES)]
    return go.Scatter(
        x=[level.level for level in levels],
        y=[level.accuracy for level in levels],
        mode="lines+markers",
        name=f"stage {stage}",
        legendgroup=f"stage {stage}",
        showlegend=in_legend,
        line={"width": 2, "color": colour},
        marker={"size": 9, "symbol": SERIES_SYMBOLS[stage % len(SERIES_SYMBOLS)]},
        hovertext=[f"stage {stage}, {level.level}: {level_words(level)}" for level in levels],
        hoverinfo="text",
    )


def level_words(level: Level) -> str:
    """Return a level's accuracy with its interval."""
    accuracy, low, high = (value_words("accuracy", value) for value in (level.accuracy, level.low, level.high))
    return f"{accuracy} ({low} to {high})"


def sensitivity_rows(sensitivity: Sensitivity) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows of plain text: one row a stage, one column a level."""
    columns = ["stage", *(f"{PRUNED} {level}" for level in sensitivity.ticks(RATIO)), *sensitivity.ticks(BITS)]
    rows = []
    for stage in sorted({level.stage for level in sensitivity.levels}):
        found = {(one.axis, one.level): one for one in sensitivity.levels if one.stage == stage}
        wanted = [(axis, level) for axis in (RATIO, BITS) for level in sensitivity.ticks(axis)]
        rows.append([str(stage), *(_accuracy(found, key) for key in wanted)])
    return columns, rows


def _accuracy(found: Mapping[tuple[str, str], Level], key: tuple[str, str]) -> str:
    return value_words("accuracy", found[key].accuracy) if key in found else ""


def sensitivity_words(sensitivity: Sensitivity) -> str:
    """Return what was scanned, in one line."""
    plain = value_words("accuracy", sensitivity.plain.accuracy)
    return (
        f"{sensitivity.network}, trained for {sensitivity.epochs} epochs: {plain} uncompressed. Each figure is that of "
        f"an exported file on {sensitivity.samples} validation samples "
        f"({sensitivity.runtime}), without training after the change."
    )


def allocation_words(sensitivity: Sensitivity) -> str:
    """Return what the suggestion is."""
    return (
        f"Suggested, where losses measured one stage at a time are taken to add up to at most "
        f"{100 * sensitivity.tolerance:g} points, for search.enqueue in the study file:"
    )


def suggestion_words(sensitivity: Sensitivity) -> str:
    """Return the suggested allocation as an entry of `search.enqueue`."""
    inner = ", ".join(f"{_key(key)}: {json.dumps(value)}" for key, value in sensitivity.suggestion.items())
    return f"- {{{inner}}}"


def _key(key: str) -> str:
    return f'"{key}"' if "*" in key else key


def sensitivity_section(sensitivity: Sensitivity) -> list[str]:
    """Return words, figure, table and suggestion as parts of a page."""
    columns, rows = sensitivity_rows(sensitivity)
    heads = [(safe(name), "number") for name in columns]
    return [
        f'<p class="lead">{safe(sensitivity_words(sensitivity))}</p>',
        panel(sensitivity_figure(sensitivity), 360, top_px=20),
        "<h3>Accuracy by stage</h3>",
        table(heads, [[(safe(cell), "number") for cell in row] for row in rows]),
        f'<p class="lead below">{safe(allocation_words(sensitivity))}<br>'
        f"<code>{safe(suggestion_words(sensitivity))}</code></p>",
    ]


def sensitivity_page(name: str, sensitivity: Sensitivity) -> str:
    """Return the scan as a page of its own."""
    head = f'<header class="top"><h1>{safe(name)}: sensitivity</h1></header>'
    return whole_page(f"{name}: sensitivity", [head, *sensitivity_section(sensitivity)])
