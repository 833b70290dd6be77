"""The front of a study, and the fronts of several, as pages of their own."""

from __future__ import annotations

from automl.views.comparison import Comparison
from automl.views.document import panel, safe, table, whole_page
from automl.views.facts import StudyFacts
from automl.views.figures import compare_figure, comparison_words, front_figure, history_figure
from automl.views.glyph import BITS_WORDS, bits_key
from automl.views.rows import Cell, counts_words, front_heads, front_rows, headline, tiles


def front_page(facts: StudyFacts) -> str:
    """Return a page with the study's front: picture, the best points, a row for each, and how it came about."""
    body = [
        f'<header class="top"><h1>{safe(facts.name)}</h1><p class="facts">{safe(counts_words(facts))}<br>'
        f"{safe(headline(facts))}</p></header>",
        tiles_strip(facts),
        panel(front_figure(facts), 660),
    ]
    if facts.front:
        body += ["<h2>The front, fastest first</h2>", front_table(facts), bits_note()]
        body += [
            "<h2>Hypervolume after each trial, as a share of what it is now</h2>",
            panel(history_figure(facts), 260),
        ]
    return whole_page(f"{facts.name}: front", body)


def comparison_page(comparison: Comparison) -> str:
    """Return a page with several fronts in one picture and their hypervolumes on one reference point."""
    names = " against ".join(facts.name for facts in comparison.studies)
    body = [
        f'<header class="top"><h1>{safe(names)}</h1></header>',
        f'<p class="note">{safe(comparison_words(comparison))}</p>',
        panel(compare_figure(comparison), 600),
        "<h2>Hypervolume</h2>",
        _comparison_table(comparison),
    ]
    return whole_page(f"{names}: fronts", body)


def front_table(facts: StudyFacts) -> str:
    """Return the front as a table, the fastest first."""
    heads = [(safe(name), kind) for name, kind in front_heads(facts)]
    return table(heads, [[(_content(cell), cell.kind) for cell in row] for row in front_rows(facts)])


def _content(cell: Cell) -> str:
    return cell.drawing or "<br>".join(safe(line) for line in cell.lines)


def tiles_strip(facts: StudyFacts) -> str:
    """Return the landmarks of the front as a row of cards."""
    cards = [
        f'<div class="tile"><div class="what">{safe(tile.what)}</div><div class="big">{safe(tile.figure)}</div>'
        f'<div class="more">{safe(tile.more)}</div></div>'
        for tile in tiles(facts)
    ]
    return f'<div class="tiles">{"".join(cards)}</div>' if cards else '<p class="note">Nothing on the front yet.</p>'


def bits_note() -> str:
    """Return what the colours of the stages mean."""
    keys = [
        f'<span class="key"><span class="swatch" style="background:{colour}"></span>{safe(name)}</span>'
        for name, colour in bits_key().items()
    ]
    return f'<p class="note below">{safe(BITS_WORDS)} {"".join(keys)}</p>'


def _comparison_table(comparison: Comparison) -> str:
    rows = [
        [
            (safe(facts.name), ""), (f"{volume:.6g}", "number"), (f"{share:.1%}", "number"),
            (str(len(facts.front)), "number"), (str(len(facts.trials)), "number"), (safe(headline(facts)), "small"),
        ]
        for facts, volume, share in zip(comparison.studies, comparison.hypervolumes, comparison.shares, strict=True)
    ]  # fmt: skip
    heads = ["Hypervolume", "Share of the box", "On the front", "Trials"]
    return table([("Study", ""), *((name, "number") for name in heads), ("", "")], rows)
