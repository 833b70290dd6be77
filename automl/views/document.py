"""Body and figures -> one HTML file that needs nothing beside it: no server, no network, light and dark."""

from __future__ import annotations

import html
from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.io import to_html
from plotly.offline import get_plotlyjs

from automl.views.figures import untitled
from automl.views.style_sheet import STYLE_SHEET

# plotly.js 4 has a button that uploads the picture to its maker's cloud: nothing leaves this machine.
PLOT_CONFIG = {
    "responsive": True,
    "displaylogo": False,
    "modeBarButtonsToRemove": ["sendChartToCloud", "select2d", "lasso2d", "autoScale2d"],
    "toImageButtonOptions": {"format": "svg", "filename": "front"},
}


def whole_page(title: str, body: Sequence[str]) -> str:
    """Return the page; Plotly's script is in it once."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{safe(title)}</title><style>{STYLE_SHEET}</style><script>{get_plotlyjs()}</script></head>"
        f"<body><main>{''.join(body)}</main></body></html>"
    )


def panel(figure: go.Figure, height_px: int, *, top_px: int = 44, narrow: bool = False) -> str:
    """Return a figure in its frame, without its title, `top_px` of room above it.

    A figure that is not `narrow` keeps a least width and scrolls in its frame on a small screen.
    """
    shown = untitled(figure).update_layout(margin={"t": top_px})
    drawing = to_html(
        shown, config=PLOT_CONFIG, include_plotlyjs=False, full_html=False, default_height=f"{height_px}px"
    )
    return f'<div class="{"panel narrow" if narrow else "panel"}">{drawing}</div>'


def table(heads: Sequence[tuple[str, str]], rows: Sequence[Sequence[tuple[str, str]]]) -> str:
    """Return a table in a frame that scrolls; heads and cells are (HTML, class in the style sheet)."""
    head = "".join(_cell("th", content, kind) for content, kind in heads)
    body = "".join(f"<tr>{''.join(_cell('td', content, kind) for content, kind in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table class="front"><tr>{head}</tr>{body}</table></div>'


def _cell(tag: str, content: str, kind: str) -> str:
    return f'<{tag} class="{kind}">{content}</{tag}>' if kind else f"<{tag}>{content}</{tag}>"


def safe(words: str) -> str:
    """Return plain text as HTML."""
    return html.escape(words)
