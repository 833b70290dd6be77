"""What a page says in words and rows: a headline, the landmarks of the front, and one row for each of its points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from automl.candidate import Candidate, Genotype
from automl.export.methods import architecture_words, distillation_words, method_words, stage_summaries
from automl.views.facts import PointFacts, StudyFacts
from automl.views.glyph import stage_glyph
from automl.views.landmarks import landmarks, line_points
from automl.views.wording import cell_words, speed_words, value_words


@dataclass(frozen=True)
class Cell:
    """One cell of a table: lines of plain text, or a `drawing` as SVG. `kind` is its class in the style sheet."""

    kind: str
    lines: tuple[str, ...]
    drawing: str = ""


@dataclass(frozen=True)
class Tile:
    """A landmark of the front: what it is, its figures, and what else is worth knowing."""

    what: str
    figure: str
    more: str


def headline(facts: StudyFacts) -> str:
    """Return where and how the study was measured, in one line."""
    state = "finished" if facts.finished_at is not None else "not finished"
    return f"{facts.latency_kind} on {facts.device} · seed {facts.seed} · {state}"


def counts_words(facts: StudyFacts) -> str:
    """Return how many trials ended how: "9 on the front · 36 measured · 20 infeasible"."""
    words = [f"{len(facts.front)} on the front", f"{facts.counts.get('measured', 0)} measured"]
    others = ("infeasible", "failed", "stopped", "open", "reused")
    return " · ".join(words + [f"{facts.counts[state]} {state}" for state in others if facts.counts.get(state, 0)])


def tiles(facts: StudyFacts) -> list[Tile]:
    """Return the points that a reader looks for first; none without a front."""
    line = line_points(facts.front, "latency_ms", "accuracy")
    found = []
    for word, point in landmarks(line, "latency_ms", "accuracy").items():
        figure = f"{_words(point, 'accuracy')} · {_words(point, 'latency_ms')}"
        more = [f"trial {point.number}", _words(point, "size_bytes"), point.compression, speed_words(point)]
        found.append(Tile(f"{word[0].upper()}{word[1:]}", figure, " · ".join(part for part in more if part)))
    return found


def front_heads(facts: StudyFacts) -> list[tuple[str, str]]:
    """Return the heads of `front_rows` with their classes."""
    numbers = ["Trial", "Accuracy", *(["Test"] if _tested(facts) else []), "Latency", "Size"]
    words = ["Against its twin", "Stages", "Architecture", "Methods"]
    return [(name, "number") for name in numbers] + [(name, "") for name in words]


def front_rows(facts: StudyFacts) -> list[list[Cell]]:
    """Return one row a point of the front, the fastest first."""
    tested = _tested(facts)
    widest = max((stage.full for point in facts.front for stage in stage_summaries(point.candidate)), default=1)
    return [_row(point, tested, widest) for point in facts.front]


def _row(point: PointFacts, tested: Mapping[int | None, PointFacts], widest: int) -> list[Cell]:
    against = speed_words(point).removesuffix(" than its twin")
    cells = [Cell("number", (str(point.number),)), Cell("number", (_words(point, "accuracy"),))]
    if tested:
        test = tested.get(point.number)
        cells.append(Cell("number", ("" if test is None else _words(test, "test_accuracy"),)))
    return [
        *cells,
        Cell("number", (_words(point, "latency_ms"),)),
        Cell("number", (_words(point, "size_bytes"),)),
        Cell("pays" if "faster" in against else "small", (against or point.compression,)),
        Cell("", (), stage_glyph(point.candidate, widest)),
        Cell("small", _architecture_lines(point.candidate)),
        Cell("small", (distillation_words(point.candidate), *method_words(point.candidate))),
    ]


def _architecture_lines(candidate: Candidate) -> tuple[str, ...]:
    genotype = candidate.genotype
    cells = (cell_words(genotype.normal),) if isinstance(genotype, Genotype) else ()
    return (architecture_words(candidate), *cells)


def _tested(facts: StudyFacts) -> dict[int | None, PointFacts]:
    return {point.number: point for point in facts.points if point.role == "finalist"}


def _words(point: PointFacts, name: str) -> str:
    return value_words(name, point.value(name))
