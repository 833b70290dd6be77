"""Our live page: the front of one study, drawn anew as trials finish, without a reload."""

from __future__ import annotations

import base64
import time
from typing import Any, cast
from urllib.parse import parse_qs

from dash import Dash, Input, Output, State, dcc, html, no_update

from automl.storage import Store
from automl.views.document import PLOT_CONFIG
from automl.views.facts import StudyFacts, study_facts
from automl.views.figures import front_figure, history_figure, untitled
from automl.views.glyph import BITS_WORDS, bits_key
from automl.views.rows import Cell, counts_words, front_heads, front_rows, headline, tiles
from automl.views.style_sheet import STYLE_SHEET
from dashboard.queries import Pulse, read_pulse, study_names

EVERY_MS = 2000
REST = 10  # times as long as an answer took: an open page costs a search a tenth of a core at most
PAGE = (
    '<!doctype html><html lang="en"><head>{%metas%}<title>{%title%}</title>{%css%}<style>'
    + STYLE_SHEET
    + "</style></head><body>{%app_entry%}<footer>{%config%}{%scripts%}{%renderer%}</footer></body></html>"
)
EMPTY = "No study yet. Start one in another terminal: automl search digits"


def build_pages(store: Store, every_ms: int = EVERY_MS) -> Dash:
    """Return the Dash application over `store`; each open page asks anew every `every_ms` milliseconds."""
    app = Dash(
        __name__, title="Fronts", update_title="", serve_locally=True, index_string=PAGE,
        meta_tags=[{"name": "viewport", "content": "width=device-width, initial-scale=1"}],
    )  # fmt: skip
    app.layout = lambda: _layout(store, every_ms)
    outputs = [
        Output("study", "options"), Output("study", "value"), Output("revision", "data"),
        Output("headline", "children"),
        Output("tiles", "children"), Output("front", "figure"), Output("table", "children"),
        Output("history", "figure"), Output("tick", "interval"),
    ]  # fmt: skip
    inputs = [Input("tick", "n_intervals"), Input("study", "value"), Input("address", "search")]

    def answer(_: int | None, name: str | None, search: str | None, revision: str | None) -> tuple[Any, ...]:
        began = time.perf_counter()
        parts = _redraw(store, name, search, revision)
        return (*parts, max(every_ms, round((time.perf_counter() - began) * 1e3 * REST)))

    # Dash drops an answer that the next tick overtakes, so the clock stands still while one is under way, and is
    # set going again should that one never come (a server that was restarted).
    app.callback(outputs, inputs, State("revision", "data"), running=[(Output("tick", "disabled"), True, False)])(
        answer
    )
    app.clientside_callback(  # type: ignore[no-untyped-call]
        "() => false", Output("tick", "disabled"), Input("watch", "n_intervals"), prevent_initial_call=True
    )
    return app


def _layout(store: Store, every_ms: int) -> html.Main:
    top = [
        dcc.Dropdown(id="study", options=study_names(store), clearable=False, className="chooser"),
        html.P(id="headline", className="facts"),
        html.A("All parameters in optuna-dashboard", href="/optuna", className="aside"),
    ]
    return html.Main([
        dcc.Location(id="address", refresh=False),
        dcc.Interval(id="tick", interval=every_ms),
        dcc.Interval(id="watch", interval=10 * every_ms),
        dcc.Store(id="revision"),
        html.Header(top, className="top"),
        html.Div(id="tiles", className="tiles"),
        html.Div(_graph("front", 640), className="panel"),
        html.Div(id="table"),
        html.H2("Hypervolume after each trial, as a share of what it is now"),
        html.Div(
            _graph("history", 240), className="panel"
        ),
    ])  # fmt: skip


def _graph(name: str, height_px: int) -> dcc.Graph:
    return dcc.Graph(id=name, config=cast(Any, PLOT_CONFIG), style={"height": f"{height_px}px"})


def _chosen(names: list[str], name: str | None, search: str | None) -> str | None:
    """Return the study to show: the chosen one, else the address's (`?study=`), else the newest."""
    asked = parse_qs("" if search is None else search.removeprefix("?")).get("study", [])
    return next((one for one in (name, *asked, *names) if one in names), None)


def _redraw(store: Store, chosen: str | None, search: str | None, revision: str | None) -> tuple[Any, ...]:
    names = study_names(store)
    name = _chosen(names, chosen, search)
    if name is None:
        return (names, no_update, no_update, EMPTY, *[no_update] * 4)
    pulse = read_pulse(store, name)
    if pulse.revision == revision:
        return (names, *[no_update] * 7)
    facts = study_facts(store, name)  # read after the pulse: what comes in between is drawn, and once more next time
    return (
        names, name, pulse.revision, _headline(facts, pulse), _tiles(facts), untitled(front_figure(facts)),
        _table(facts) if facts.front else [], untitled(history_figure(facts)),
    )  # fmt: skip


def _headline(facts: StudyFacts, pulse: Pulse) -> list[Any]:
    words = headline(facts).replace("not finished", "running now" if pulse.running else "not finished")
    dot = [html.Span(className="live")] if pulse.running else []
    return [*dot, counts_words(facts), html.Br(), words]


def _tiles(facts: StudyFacts) -> list[html.Div]:
    found = [(tile.what, tile.figure, tile.more) for tile in tiles(facts)]
    rows = found if found else [("The front", "empty so far", "the first measured trial will stand here")]
    return [
        html.Div(
            [html.Div(what, className="what"), html.Div(figure, className="big"), html.Div(more, className="more")],
            className="tile",
        )
        for what, figure, more in rows
    ]


def _table(facts: StudyFacts) -> list[Any]:
    head = html.Tr([html.Th(name, className=kind) for name, kind in front_heads(facts)])
    rows = [html.Tr([_cell(cell) for cell in row]) for row in front_rows(facts)]
    keys = [
        html.Span([html.Span(className="swatch", style={"background": colour}), name], className="key")
        for name, colour in bits_key().items()
    ]
    table = html.Table([html.Thead(head), html.Tbody(rows)], className="front")
    return [
        html.H2("The front, fastest first"),
        html.Div(table, className="scroll"),
        html.P([f"{BITS_WORDS} ", *keys], className="note below"),
    ]


def _cell(cell: Cell) -> html.Td:
    if cell.drawing:
        drawing = base64.b64encode(cell.drawing.encode()).decode()
        return html.Td(html.Img(src=f"data:image/svg+xml;base64,{drawing}"), className=cell.kind)
    lines = [part for line in cell.lines for part in (html.Br(), line)]
    return html.Td(lines[1:], className=cell.kind)
