"""Figures and facts -> one HTML file that needs nothing beside it: no server, no network, light and dark."""

from __future__ import annotations

import html
from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.io import to_html
from plotly.offline import get_plotlyjs

from automl.views.comparison import Comparison
from automl.views.facts import StudyFacts
from automl.views.figures import compare_figure, comparison_words, front_figure, history_figure, untitled
from automl.views.glyph import BITS_WORDS, bits_key
from automl.views.rows import Cell, counts_words, front_heads, front_rows, headline, tiles
from automl.views.style_sheet import STYLE_SHEET

# plotly.js 4 has a button that uploads the picture to its maker's cloud: nothing leaves this machine.
PLOT_CONFIG = {
    "responsive": True,
    "displaylogo": False,
    "modeBarButtonsToRemove": ["sendChartToCloud", "select2d", "lasso2d", "autoScale2d"],
    "toImageButtonOptions": {"format": "svg", "filename": "front"},
}


def front_page(facts: StudyFacts) -> str:
    """Return a page with the study's front: picture, the best points, a row for each, and how it came about."""
    body = [
        f'<header class="top"><h1>{_safe(facts.name)}</h1><p class="facts">{_safe(counts_words(facts))}<br>'
        f"{_safe(headline(facts))}</p></header>",
        _tiles(facts),
        _panel(front_figure(facts), 660),
    ]
    if facts.front:
        body += ["<h2>The front, fastest first</h2>", _table(facts), _bits_key()]
        body += [
            "<h2>Hypervolume after each trial, as a share of what it is now</h2>",
            _panel(history_figure(facts), 260),
        ]
    return _page(f"{facts.name}: front", body)


def comparison_page(comparison: Comparison) -> str:
    """Return a page with several fronts in one picture and their hypervolumes on one reference point."""
    names = " against ".join(facts.name for facts in comparison.studies)
    body = [
        f'<header class="top"><h1>{_safe(names)}</h1></header>',
        f'<p class="note">{_safe(comparison_words(comparison))}</p>',
        _panel(compare_figure(comparison), 600),
        "<h2>Hypervolume</h2>",
        _comparison_table(comparison),
    ]
    return _page(f"{names}: fronts", body)


def _table(facts: StudyFacts) -> str:
    heads, rows = front_heads(facts), front_rows(facts)
    head = "".join(f'<th class="{kind}">{_safe(name)}</th>' for name, kind in heads)
    body = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table class="front"><tr>{head}</tr>{body}</table></div>'


def _cell(cell: Cell) -> str:
    content = cell.drawing or "<br>".join(_safe(line) for line in cell.lines)
    return f'<td class="{cell.kind}">{content}</td>'


def _tiles(facts: StudyFacts) -> str:
    cards = [
        f'<div class="tile"><div class="what">{_safe(tile.what)}</div><div class="big">{_safe(tile.figure)}</div>'
        f'<div class="more">{_safe(tile.more)}</div></div>'
        for tile in tiles(facts)
    ]
    return f'<div class="tiles">{"".join(cards)}</div>' if cards else '<p class="note">Nothing on the front yet.</p>'


def _bits_key() -> str:
    keys = [
        f'<span class="key"><span class="swatch" style="background:{colour}"></span>{_safe(name)}</span>'
        for name, colour in bits_key().items()
    ]
    return f'<p class="note below">{_safe(BITS_WORDS)} {"".join(keys)}</p>'


def _comparison_table(comparison: Comparison) -> str:
    rows = [
        f'<tr><td>{_safe(facts.name)}</td><td class="number">{volume:.6g}</td><td class="number">{share:.1%}</td>'
        f'<td class="number">{len(facts.front)}</td><td class="number">{len(facts.trials)}</td>'
        f'<td class="small">{_safe(headline(facts))}</td></tr>'
        for facts, volume, share in zip(comparison.studies, comparison.hypervolumes, comparison.shares, strict=True)
    ]
    heads = ["Hypervolume", "Share of the box", "On the front", "Trials"]
    head = "<th>Study</th>" + "".join(f'<th class="number">{name}</th>' for name in heads) + "<th></th>"
    return f'<div class="scroll"><table class="front"><tr>{head}</tr>{"".join(rows)}</table></div>'


def _panel(figure: go.Figure, height_px: int) -> str:
    drawing = to_html(
        untitled(figure), config=PLOT_CONFIG, include_plotlyjs=False, full_html=False,
        default_height=f"{height_px}px",
    )  # fmt: skip
    return f'<div class="panel">{drawing}</div>'


def _page(title: str, body: Sequence[str]) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_safe(title)}</title><style>{STYLE_SHEET}</style><script>{get_plotlyjs()}</script></head>"
        f"<body><main>{''.join(body)}</main></body></html>"
    )


def _safe(words: str) -> str:
    return html.escape(words)
