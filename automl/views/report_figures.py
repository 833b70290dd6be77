"""The figures of a report: what each group decides, and what is lost without it."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from automl.space import GROUPS
from automl.views.axes import SCALES
from automl.views.before_after import Subject, measurement_of
from automl.views.importance import Importance
from automl.views.report_facts import Ablation
from automl.views.style import MUTED, SERIES, layout
from automl.views.wording import MINUS

GROUP_COLOURS = dict(zip(GROUPS, (SERIES[0], SERIES[2], SERIES[1], SERIES[3], MUTED), strict=True))
SHORT = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "latency_ms": "Latency",
    "size_bytes": "File size",
}
ROOM = 0.35  # beside the bars, for their figures
GRID = {"gridcolor": "rgba(128,128,128,.16)", "zeroline": False}


def short_name(name: str) -> str:
    """Return an objective's name for an axis; a finalist's accuracy is called as any other."""
    return SHORT.get(name.removeprefix("test_"), name)


def importance_figure(importances: Sequence[Importance]) -> go.Figure:
    """Return one bar an objective, divided among the groups of choices."""
    figure = go.Figure(layout=layout("What decides the objectives", "", "importance"))
    for group in GROUPS:
        shares = [one.shares.get(group) for one in importances]
        if any(share is not None for share in shares):
            figure.add_trace(_importance_bar(group, importances))
    figure.update_layout(
        barmode="stack", bargap=0.45, xaxis=GRID | {"tickformat": ".0%", "range": [0, 1]},
        yaxis={"autorange": "reversed", "ticklen": 8}, margin={"l": 130, "r": 24, "b": 84},
        legend={"orientation": "h", "x": 0, "y": -0.22, "xanchor": "left", "yanchor": "top", "traceorder": "normal"},
    )  # fmt: skip
    return figure


def _importance_bar(group: str, importances: Sequence[Importance]) -> go.Bar:
    shares = [one.shares.get(group, 0.0) for one in importances]
    return go.Bar(
        x=shares,
        y=[short_name(one.objective) for one in importances],
        orientation="h",
        name=group,
        marker={"color": GROUP_COLOURS[group], "line": {"width": 0}},
        text=[f"{share:.0%}" if share >= 0.06 else "" for share in shares],
        textposition="inside",
        insidetextanchor="middle",
        textangle=0,
        textfont={"color": "#ffffff"},
        hovertext=[f"{short_name(one.objective)}: {group} {one.shares.get(group, 0.0):.1%}" for one in importances],
        hoverinfo="text",
    )


def ablation_figure(model: Subject, ablations: Sequence[Ablation], names: Sequence[str]) -> go.Figure:
    """Return, for each objective, how it changes where one group is set back: in points of accuracy, else per cent."""
    done = [one for one in ablations if one.subject is not None]
    titles = [f"{short_name(name)}, {'points' if _by_points(name) else 'per cent'}" for name in names]
    figure = make_subplots(rows=1, cols=len(names), shared_yaxes=True, horizontal_spacing=0.04, subplot_titles=titles)
    figure.update_layout(layout("Without each group", "", "ablation"))
    for column, name in enumerate(names, start=1):
        changes = [_change(model, one, name) for one in done]
        figure.add_trace(_ablation_bar(done, changes, name), row=1, col=column)
        figure.add_vline(0.0, line={"color": MUTED, "width": 1.2}, row=1, col=column)
        low, high = min(0.0, *changes), max(0.0, *changes)
        room = ROOM * max(high - low, 1e-9)
        figure.update_xaxes(GRID | {"range": [low - room, high + room], "showticklabels": False}, col=column)
    figure.update_yaxes({"autorange": "reversed", "showgrid": False})
    figure.update_annotations(font={"size": 13, "color": MUTED})
    return figure.update_layout(showlegend=False, bargap=0.4, margin={"l": 170, "r": 24, "b": 16})


def _ablation_bar(done: Sequence[Ablation], changes: Sequence[float], name: str) -> go.Bar:
    return go.Bar(
        x=changes,
        y=[one.role for one in done],
        orientation="h",
        marker={"color": [GROUP_COLOURS[one.group] for one in done], "line": {"width": 0}},
        text=[_change_words(name, change) for change in changes],
        textposition="outside",
        textfont={"size": 12.5},
        cliponaxis=False,
        hoverinfo="text",
    )


def _change(model: Subject, ablation: Ablation, name: str) -> float:
    assert ablation.subject is not None
    own, other = (measurement_of(subject.outcome, name) for subject in (model, ablation.subject))
    assert own is not None and other is not None, f"{name} was measured of both"
    return 100 * (other.value - own.value if _by_points(name) else other.value / own.value - 1)


def _change_words(name: str, change: float) -> str:
    unit = "" if _by_points(name) else "%"
    return f"{MINUS if change < 0 else '+'}{abs(change):.1f}{unit}"


def _by_points(name: str) -> bool:
    scale = SCALES.get(name.removeprefix("test_"))
    return scale is not None and scale.share
