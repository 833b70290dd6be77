"""How a quantity is laid out on an axis: its title, scale, ticks and the range worth looking at."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from automl.views.wording import bytes_words

STEPS = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)  # ticks of one decade when it is wide on the page

MANY = 10  # values from which a tail is a tail
SHARE_STEPS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


@dataclass(frozen=True)
class Scale:
    """How one quantity is drawn. `log` is for what is compared by ratio."""

    title: str
    log: bool
    share: bool = False


SCALES: Mapping[str, Scale] = {
    "accuracy": Scale("Accuracy, validation set", log=False, share=True),
    "balanced_accuracy": Scale("Balanced accuracy, validation set", log=False, share=True),
    "latency_ms": Scale("Latency, milliseconds", log=True),
    "size_bytes": Scale("File size", log=True),
    "parameters": Scale("Parameters", log=True),
    "macs": Scale("Multiply-adds", log=True),
}


def span(name: str, values: Sequence[float]) -> tuple[float, float]:
    """Return the range to show for `values`, with room around it; (0, 1) or (1, 10) where there are none.

    Of many shares, a long tail of poor ones is left below the axis: the upper end is where the decisions are.
    """
    scale = SCALES[name]
    finite = np.array([value for value in values if math.isfinite(value) and (value > 0 or not scale.log)])
    if finite.size == 0:
        return (1.0, 10.0) if scale.log else (0.0, 1.0)
    low, high = float(finite.min()), float(finite.max())
    if scale.log:
        room = max((high / low) ** 0.08, 1.08)
        return low / room, high * room
    if scale.share and finite.size >= MANY:
        low = max(low, high - 2.5 * (high - float(np.quantile(finite, 0.4))), high - 0.6)
    room = max(0.08 * (high - low), 0.004)
    return low - room, high + 2 * room  # above, room for the names of the best points


def ticks(low: float, high: float) -> list[float]:
    """Return about five to nine round values between `low` and `high` (both positive) for a logarithmic axis."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ratio = high / low
    steps = STEPS if ratio < 6 else (1.0, 2.0, 5.0) if ratio < 300 else (1.0,)
    values = [step * 10.0**decade for decade in decades for step in steps]
    return [value for value in values if low <= value <= high]


def share_ticks(low: float, high: float) -> list[float]:
    """Return at most ten round shares between `low` and `high`, none above 1: there is no 101 % accuracy."""
    step = next((step for step in SHARE_STEPS if (high - low) / step <= 9), 0.2)
    first, last = math.ceil(low / step), math.floor(min(high, 1.0) / step + 1e-9)
    return [round(count * step, 6) for count in range(first, last + 1)]


def axis(name: str, low: float, high: float, latency_kind: str = "measured") -> dict[str, Any]:
    """Return the Plotly axis for the quantity `name` between `low` and `high`; a latency's title says its kind."""
    scale = SCALES[name]
    title = f"{scale.title} ({latency_kind})" if name == "latency_ms" else scale.title
    layout: dict[str, Any] = {
        "title": {"text": title, "standoff": 12},
        "zeroline": False,
        "showline": False,
        "ticks": "outside",
        "ticklen": 5,
        "tickcolor": "rgba(128,128,128,.35)",
        "gridcolor": "rgba(128,128,128,.16)",
    }
    if not scale.log:
        tickformat = ".1%" if high - low < 0.04 else ".0%"
        return layout | {"range": [low, high], "tickvals": share_ticks(low, high), "tickformat": tickformat}
    values = ticks(low, high)
    words = [bytes_words(value) if name == "size_bytes" else f"{value:.6g}" for value in values]
    return layout | {
        "type": "log",
        "range": [math.log10(low), math.log10(high)],
        "tickvals": values,
        "ticktext": words,
    }
