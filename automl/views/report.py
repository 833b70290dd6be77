"""The report of a study as one self-contained page: before and after, what each group brings, what has changed."""

from __future__ import annotations

import base64

from automl.candidate import Genotype
from automl.export.drawing import draw_cells
from automl.export.methods import method_words
from automl.views.before_after import Subject
from automl.views.curves import curves_figure
from automl.views.document import panel, safe, whole_page
from automl.views.facts import StudyFacts
from automl.views.figures import front_figure
from automl.views.page import bits_note, front_table, tiles_strip
from automl.views.report_comparison import before_and_after
from automl.views.report_difference import difference_section
from automl.views.report_facts import Report
from automl.views.report_groups import groups_section
from automl.views.rows import counts_words, headline
from automl.views.sensitivity import sensitivity_section
from automl.views.wording import stage_words


def report_page(report: Report) -> str:
    """Return the whole page."""
    facts = report.facts
    body = [
        f'<header class="top"><h1>{safe(facts.name)}: report</h1><p class="facts">{safe(counts_words(facts))}<br>'
        f"{safe(headline(facts))}</p></header>",
        *(f'<p class="lead">{safe(note)}</p>' for note in report.notes),
        *before_and_after(report),
        *_front(facts),
        *groups_section(report),
        *_curves(report),
        *_sensitivity(report),
        *_network(report.model),
        *difference_section(report.difference),
    ]
    return whole_page(f"{facts.name}: report", body)


def _front(facts: StudyFacts) -> list[str]:
    parts = ["<h2>The front</h2>", tiles_strip(facts), panel(front_figure(facts), 640)]
    return [*parts, front_table(facts), bits_note()] if facts.front else parts


def _curves(report: Report) -> list[str]:
    return ["<h2>Learning curves</h2>", panel(curves_figure(report.curves), 420)] if report.curves else []


def _sensitivity(report: Report) -> list[str]:
    title = "<h2>Sensitivity of each stage</h2>"
    if report.sensitivity is None:
        words = "No scan lies in the study's folder. Make one with:"
        return [title, f'<p class="lead">{words} <code>{safe(report.sensitivity_command)}</code></p>']
    return [title, *sensitivity_section(report.sensitivity)]


def _network(model: Subject) -> list[str]:
    """Return the cells drawn, or the widths of a user's model, and what was done to each stage."""
    candidate = model.candidate
    title = "The cells" if isinstance(candidate.genotype, Genotype) else "The groups of channels"
    drawing = base64.b64encode(draw_cells(candidate).encode()).decode()
    stages = "".join(f"<li>Stage {index}: {safe(words)}</li>" for index, words in enumerate(stage_words(candidate)))
    methods = "".join(f"<li>{safe(words[0].upper() + words[1:])}</li>" for words in method_words(candidate))
    return [
        f"<h2>{title}</h2>",
        f'<div class="panel"><img class="drawing" alt="{title}" src="data:image/svg+xml;base64,{drawing}"></div>',
        f'<ul class="plain">{stages}{methods}</ul>',
    ]
