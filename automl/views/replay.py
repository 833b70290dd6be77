"""A replay as a picture and a page: each method's share of the true front, with its quartiles as a band."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from automl.search.replaying.summary import MethodSummary
from automl.views.document import panel, safe, table, whole_page
from automl.views.style import SERIES, layout, rgba

BAND = 0.14
LEAST_SHOWN = 0.5  # of the axis, so that what matters is not pressed into its top
DASHES = ("solid", "dot", "dash")  # past the number of colours, a method differs in its line


def replay_figure(title: str, subtitle: str, summaries: Sequence[MethodSummary]) -> go.Figure:
    """Return the median share of the true front's hypervolume after each evaluation, quartiles as bands."""
    figure = go.Figure(layout=layout(title, subtitle, f"{title} replay"))
    for index, summary in enumerate(summaries):
        figure.add_traces(_traces(summary, SERIES[index % len(SERIES)], DASHES[index // len(SERIES) % len(DASHES)]))
    plain = {"gridcolor": "rgba(128,128,128,.16)", "zeroline": False}
    return figure.update_layout(
        xaxis=plain | {"title": {"text": "Evaluations"}},
        yaxis=plain
        | {"title": {"text": "Share of the true hypervolume"}, "range": [LEAST_SHOWN, 1.005], "tickformat": ".0%"},
    )


def _traces(summary: MethodSummary, colour: str, dash: str) -> list[go.Scatter]:
    low, median, high = np.quantile(summary.curve, [0.25, 0.5, 0.75], axis=0)
    evaluations = np.arange(1, len(median) + 1)
    band = go.Scatter(
        x=np.concatenate([evaluations, evaluations[::-1]]), y=np.concatenate([high, low[::-1]]), fill="toself",
        fillcolor=rgba(colour, BAND), line={"width": 0}, hoverinfo="skip", legendgroup=summary.method, showlegend=False,
    )  # fmt: skip
    line = go.Scatter(
        x=evaluations, y=median, mode="lines", name=html.escape(summary.method), legendgroup=summary.method,
        line={"width": 2, "color": colour, "dash": dash},
        hovertemplate=f"{html.escape(summary.method)}, %{{x}} evaluations: %{{y:.2%}}<extra></extra>",
    )  # fmt: skip
    return [band, line]


def replay_page(
    title: str, subtitle: str, summaries: Sequence[MethodSummary], heads: Sequence[str], rows: Sequence[Sequence[str]]
) -> str:
    """Return a page with the picture and the printed table."""
    body = [
        f'<header class="top"><h1>{safe(title)}</h1><p class="facts">{safe(subtitle)}</p></header>',
        panel(replay_figure(title, subtitle, summaries), 560),
        table(
            [(safe(head), "" if place == 0 else "number") for place, head in enumerate(heads)],
            [[(safe(cell), "" if place == 0 else "number") for place, cell in enumerate(row)] for row in rows],
        ),
    ]
    return whole_page(f"{title}: replay", body)
