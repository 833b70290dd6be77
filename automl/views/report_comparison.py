"""Before and after on the report's page: the change at a glance, then every figure with its origin."""

from __future__ import annotations

from automl.outcome import Gain
from automl.views.before_after import (
    Subject,
    change_words,
    device_words,
    figure_rows,
    figure_words,
    measurement_of,
)
from automl.views.document import safe
from automl.views.report_facts import Report
from automl.views.wording import TIMES

Tile = tuple[str, str, str]  # what it is, the figure, what else is worth knowing


def before_and_after(report: Report) -> list[str]:
    """Return the section."""
    model, twin = report.model, report.twin
    parts = ["<h2>Before and after</h2>", f'<p class="lead">{_subject_words(report)}</p>']
    if model.candidate.is_compressed():
        parts.append(_tiles([*_gain_tiles(model.outcome.gain), *_accuracy_tiles(model, twin)]))
    return [*parts, _figure_table(model, twin), f'<p class="note below">{safe(_files_words(model, twin))}</p>']


def _subject_words(report: Report) -> str:
    model = report.model
    source = "retrained on all training data" if model.split == "test" else "as the search left it"
    words = safe(f"The network of trial {model.trial}, {source}. Against its uncompressed twin: ")
    if not model.candidate.is_compressed():
        return safe(f"The network of trial {model.trial}, {source}. It is not compressed, so it is its own twin.")
    words += safe(f"{model.outcome.gain.verdict}. ")
    if report.twin is not None:
        return words + "The twin was trained alike, exported, scored and timed."
    return (
        f"{words}The twin was not trained, so latency and size, which do not depend on the weights, are held against "
        f"the untrained twin, and nothing else is. Train it with: <code>{safe(report.ablate_command)}</code>"
    )


def _gain_tiles(gain: Gain) -> list[Tile]:
    tiles = []
    if gain.twin_ratio is not None:
        ratio = gain.twin_ratio
        factor, word = (1 / ratio.value, "faster") if ratio.value < 1 else (ratio.value, "slower")
        spread = f"{ratio.low:.3f} to {ratio.high:.3f} of its twin's time, 95 % interval"
        tiles.append(("Latency", f"{factor:.2f}{TIMES} {word}", spread))
    if gain.size_ratio is not None:
        factor, word = (1 / gain.size_ratio, "smaller") if gain.size_ratio < 1 else (gain.size_ratio, "larger")
        tiles.append(("File", f"{factor:.2f}{TIMES} {word}", "bytes of what is deployed"))
    return tiles


def _accuracy_tiles(model: Subject, twin: Subject | None) -> list[Tile]:
    name = model.accuracy_name
    own = measurement_of(model.outcome, name)
    other = None if twin is None else measurement_of(twin.outcome, name)
    if own is None or other is None:
        return []
    now = f"now {figure_words(name, own)}"
    return [(f"Accuracy, {model.split} set", change_words(name, own.value, other.value), now)]


def _tiles(tiles: list[Tile]) -> str:
    cards = [
        f'<div class="tile"><div class="what">{safe(what)}</div><div class="big">{safe(figure)}</div>'
        f'<div class="more">{safe(more)}</div></div>'
        for what, figure, more in tiles
    ]
    return f'<div class="tiles">{"".join(cards)}</div>'


def _figure_table(model: Subject, twin: Subject | None) -> str:
    """Return every figure as a table that a narrow page shows as one block a quantity."""
    compressed = model.candidate.is_compressed()
    heads = ("Twin", "Compressed", "Change") if compressed else ("Value",)
    body = [f"<tr><th>Quantity</th>{''.join(f'<th class=number>{head}</th>' for head in heads)}</tr>"]
    for row in figure_rows(model, twin):
        cells = (row.twin, row.model, row.change) if compressed else (row.model,)
        figures = "".join(
            f'<td class="number" data-head="{head}">{safe(cell)}</td>' for head, cell in zip(heads, cells, strict=True)
        )
        body.append(f'<tr><td>{safe(row.label)}<span class="how">{safe(row.origin)}</span></td>{figures}</tr>')
    return f'<div class="scroll"><table class="front stack">{"".join(body)}</table></div>'


def _files_words(model: Subject, twin: Subject | None) -> str:
    subjects = [model] if twin is None else [model, twin]
    names = ["The file" if twin is None else "The compressed file", "The twin's"]
    files = [
        f"{name} has the SHA-256 {one.outcome.artefact.sha256}." for name, one in zip(names, subjects, strict=False)
    ]
    return f"Measured on {device_words(subjects)}. {' '.join(files)}"
