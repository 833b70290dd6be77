"""What each group of choices brings, on the report's page: from the record, and by setting each back to plain."""

from __future__ import annotations

from automl.views.before_after import Subject, change_words, figure_words, measurement_of
from automl.views.document import panel, safe, table
from automl.views.importance import FEWEST_TRIALS
from automl.views.report_facts import Ablation, Report, is_better, objective_names
from automl.views.report_figures import ablation_figure, importance_figure, short_name

KINDS = {True: "better", False: "worse", None: "small"}
Part = tuple[str, str]  # HTML, class


def groups_section(report: Report) -> list[str]:
    """Return the section."""
    return ["<h2>What each group contributes</h2>", *_importance(report), *_ablation(report)]


def _importance(report: Report) -> list[str]:
    title = "<h3>In the record of the search</h3>"
    if not report.importances:
        words = f"An importance needs at least {FEWEST_TRIALS} measured trials that differ; there are fewer."
        return [title, f'<p class="lead">{words}</p>']
    trials = max(one.trials for one in report.importances)
    words = (
        f"A random forest predicts each objective of unseen trials from their choices ({trials} trials). A group's "
        "share is its part of what the prediction loses when the choices of one group after the other are shuffled. "
        "It says what decides the objective among the trials that were made, not what is best."
    )
    cautions = [
        f'<p class="note">{safe(short_name(one.objective))}: {safe(one.caution())}</p>'
        for one in report.importances
        if one.caution()
    ]
    height = 110 + 46 * len(report.importances)
    return [
        title,
        f'<p class="lead">{words}</p>',
        panel(importance_figure(report.importances), height, top_px=16, narrow=True),
        *cautions,
    ]


def _ablation(report: Report) -> list[str]:
    title = "<h3>Each group set back to plain, the others as they are</h3>"
    parts, done = [title], [one for one in report.ablations if one.subject is not None]
    if any(one.pending for one in report.ablations):
        parts.append(
            f'<p class="lead">{"Not all of them were" if done else "This was not"} run. It trains, exports, scores and '
            f"times each network as a finalist, once: <code>{safe(report.ablate_command)}</code></p>"
        )
    names = objective_names(report.facts.objectives, report.model)
    if done:
        words = (
            "Each network below was trained, exported, scored and timed as the chosen one was. It is one training "
            "each: a change of accuracy within its interval may be chance."
        )
        parts += [f'<p class="lead">{words}</p>', _ablation_table(report, names)]
        parts.append(panel(ablation_figure(report.model, report.ablations, names), 70 + 48 * len(done)))
    elif not any(one.pending for one in report.ablations):
        parts.append(_ablation_table(report, names))
    return parts


def _ablation_table(report: Report, names: list[str]) -> str:
    heads: list[Part] = [("Network", ""), *((safe(short_name(name)), "number") for name in names)]
    chosen: list[Part] = [("the chosen one", ""), *((_figure(report.model, name), "number") for name in names)]
    shown = [one for one in report.ablations if not one.pending]
    return table(heads, [chosen, *(_ablation_row(report.model, one, names) for one in shown)])


def _ablation_row(model: Subject, ablation: Ablation, names: list[str]) -> list[Part]:
    subject = ablation.subject
    if subject is None:
        return [(safe(ablation.role), ""), (safe(ablation.reason), "small"), *([("", "")] * (len(names) - 1))]
    return [(safe(ablation.role), ""), *(_changed(model, subject, name) for name in names)]


def _changed(model: Subject, subject: Subject, name: str) -> Part:
    own, other = (measurement_of(one.outcome, name) for one in (model, subject))
    assert own is not None and other is not None, f"{name} was measured of both"
    kind = KINDS[is_better(name, other.value, own.value)]
    change = change_words(name, other.value, own.value)
    return f'{_figure(subject, name)}<br><span class="{kind}">{safe(change)}</span>', "number"


def _figure(subject: Subject, name: str) -> str:
    measurement = measurement_of(subject.outcome, name)
    return "" if measurement is None else safe(figure_words(name, measurement))
