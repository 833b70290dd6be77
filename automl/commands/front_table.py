"""A front as a table in the terminal, or as values for a program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from automl.candidate import Candidate, Genotype
from automl.commands.output import print_table, print_text

if TYPE_CHECKING:
    from automl.storage import Store, StudyRecord
    from automl.views.facts import PointFacts, StudyFacts

COLUMNS = ("trial", "accuracy", "test", "latency", "size", "twin", "network", "channels kept", "bits", "teacher")
METHODS = "methods"  # a last column, where any point of the front has something to say in it


def facts_of(study: StudyRecord, store: Store) -> StudyFacts:
    """Return the study's facts."""
    from automl.views.facts import study_facts

    return study_facts(store, study.name)


def print_front(facts: StudyFacts) -> None:
    """Print how the study stands, and its front, the fastest first."""
    from automl.views.rows import counts_words, headline

    print_text(f"{facts.name}: {counts_words(facts)}")
    print_text(headline(facts))
    if facts.front:
        print_table("", *front_table(facts))


def front_table(facts: StudyFacts) -> tuple[tuple[str, ...], list[list[str]]]:
    """Return the columns and the rows of the front; what is plain everywhere has no column."""
    from automl.export.methods import method_words

    rows = [front_row(point, facts) for point in facts.front]
    methods = ["; ".join(method_words(point.candidate)) for point in facts.front]
    if not any(methods):
        return COLUMNS, rows
    return (*COLUMNS, METHODS), [[*row, words] for row, words in zip(rows, methods, strict=True)]


def point_values(point: PointFacts) -> dict[str, Any]:
    """Return a point as values for a program."""
    return {
        "role": point.role,
        "trial": point.number,
        "readings": point.readings,
        "compression": point.compression,
        "verdict": point.verdict,
        "twin_ratio": point.twin_ratio,
        "candidate": point.candidate,
        "candidate_hash": point.candidate_hash,
    }


def front_row(point: PointFacts, facts: StudyFacts) -> list[str]:
    """Return the point's cells for `COLUMNS`; test accuracy where a finalist came from it."""
    from automl.views.wording import value_words

    finalists = {one.number: one for one in facts.points if one.role == "finalist"}
    tested = finalists.get(point.number)
    ratio = point.twin_ratio if point.candidate.is_compressed() else None
    return [
        str(point.number),
        value_words("accuracy", point.value("accuracy")),
        "" if tested is None else value_words("accuracy", tested.value("test_accuracy")),
        value_words("latency_ms", point.value("latency_ms")),
        value_words("size_bytes", point.value("size_bytes")),
        "" if ratio is None else f"×{ratio[0]:.2f}",
        _network(point.candidate),
        _widths(point.candidate),
        _bits(point.candidate),
        _teacher(point.candidate),
    ]


def _network(candidate: Candidate) -> str:
    genotype = candidate.genotype
    return f"{genotype.cells} cells" if isinstance(genotype, Genotype) else genotype.name


def _widths(candidate: Candidate) -> str:
    from automl.export.methods import stage_summaries

    stages = stage_summaries(candidate)
    return " ".join(str(one.kept) if one.kept == one.full else f"{one.kept}/{one.full}" for one in stages)


def _bits(candidate: Candidate) -> str:
    from automl.views.wording import pair_words

    words = [pair_words(pair).replace(" ", "") for pair in candidate.quantization.pairs()]
    return words[0] if len(set(words)) == 1 else " ".join(words)


def _teacher(candidate: Candidate) -> str:
    plan = candidate.distillation
    if plan.alpha == 1.0:
        return ""
    method = "" if plan.method == "response" else f" {plan.method}"
    return f"α{plan.alpha:g} T{plan.temperature:g}{method}"
