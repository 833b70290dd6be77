"""The text of a hover: the whole candidate in a dozen short lines, in the small subset of HTML that Plotly draws."""

from __future__ import annotations

import html
import textwrap

from automl.candidate import Candidate, Genotype
from automl.export.methods import (
    architecture_words,
    distillation_words,
    pruning_words,
    quantization_words,
    runtime_words,
)
from automl.views.facts import AnyReading, PointFacts
from automl.views.style import STANDINGS
from automl.views.wording import cell_words, speed_words, stage_words, title_words, value_words

LABEL = "<span style='color:#93a0b3'>{}</span>"
WIDTH = 62  # characters of a line
SHOWN = ("accuracy", "test_accuracy", "balanced_accuracy", "test_balanced_accuracy", "latency_ms", "size_bytes")
WORDS = {
    "accuracy": "accuracy, validation",
    "test_accuracy": "accuracy, test",
    "balanced_accuracy": "balanced, validation",
    "test_balanced_accuracy": "balanced, test",
    "latency_ms": "latency",
    "size_bytes": "size",
}


def hover_text(point: PointFacts, study: str = "") -> str:
    """Return the hover of a point: what it is, its figures with their spread and kind, and its whole candidate."""
    title = f"{study}, {title_words(point)}" if study else title_words(point)
    lines = [f"<b>{_safe(title)}</b>  {_safe(_standing_words(point))}"]
    lines += [_row(WORDS[name], reading_words(name, point.readings[name])) for name in SHOWN if name in point.readings]
    if point.described is None:
        return "<br>".join([*lines, _row("candidate", f"automl trial {point.number}")])
    if speed_words(point):
        lines.append(_row("compression", speed_words(point)))
    return "<br>".join([*lines, "", *candidate_lines(point)])


def candidate_lines(point: PointFacts) -> list[str]:
    """Return the candidate, one labelled line each for its cells, stages, methods, distillation, training and key."""
    candidate, genotype = point.candidate, point.candidate.genotype
    lines = [_row("architecture", architecture_words(candidate))]
    if isinstance(genotype, Genotype):
        cells = (("normal cell", genotype.normal), ("reduction cell", genotype.reduction))
        lines += [_row(label, cell_words(cell)) for label, cell in cells]
    lines += [_row(f"stage {index}", words) for index, words in enumerate(stage_words(candidate))]
    lines += _method_rows(candidate)
    lines.append(_row("teacher", distillation_words(candidate)))
    training = candidate.training
    lines.append(_row("training", f"{training.optimizer}, rate {training.learning_rate:.3g}, {training.epochs} epochs"))
    lines.append(_row("hash", point.candidate_hash))
    if point.protocol:
        lines.append(_row("protocol", point.protocol))
    if point.reused_from is not None:
        lines.append(_row("outcome of", f"trial {point.reused_from}, the same candidate"))
    return lines


def _method_rows(candidate: Candidate) -> list[str]:
    """Return a line for each kind of method that is not the plain one."""
    said = {
        "pruning": ", ".join(pruning_words(candidate)),
        "quantization": ", ".join(quantization_words(candidate.quantization)),
        "runtime": runtime_words(candidate),
    }
    return [_row(label, words) for label, words in said.items() if words]


def reading_words(name: str, reading: AnyReading) -> str:
    """Return a value with its interval, and for a latency its kind: "0.312 ms (0.309 to 0.316), measured"."""
    words = value_words(name, reading.value)
    if reading.high > reading.low:
        low, high = value_words(name, reading.low), value_words(name, reading.high)
        words += f" ({low.removesuffix(' ms').removesuffix('%')} to {high})"
    kind = f", {reading.kind}" if name == "latency_ms" else ""
    return words + kind


def _standing_words(point: PointFacts) -> str:
    if point.role != "trial":
        return ""
    words = STANDINGS[point.standing].label if point.standing in STANDINGS else point.standing
    return f"{words}: {point.reason}" if point.reason and point.standing != "not paying" else words


def _row(label: str, words: str) -> str:
    lines = [words] if len(words) <= WIDTH else textwrap.wrap(words, WIDTH)
    return f"{LABEL.format(label)}  {'<br>      '.join(map(_safe, lines))}"


def _safe(words: str) -> str:
    return html.escape(words, quote=False)
