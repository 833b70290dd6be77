"""The report is one file that asks nothing of the network, and says what was not measured."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from automl.storage import Store
from automl.views.report import report_page
from automl.views.report_facts import Ablation, Report, is_better
from automl.views.report_figures import ablation_figure, importance_figure
from tests.views.made_up_report import made_up_report
from tests.views.test_page import LOADED, shell


@pytest.fixture(scope="module")
def report(store: Store) -> Report:
    return made_up_report(store)


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    return report_page(report)


def test_report_page_loads_nothing_and_holds_plotly_once(page: str) -> None:
    sources = re.findall(r"<(?:script|link|img|iframe)[^>]*\b(?:src|href)\s*=\s*\"([^\"]{5})", shell(page))
    assert set(sources) == {"data:"}
    assert len(LOADED.findall(shell(page))) == len(sources)
    assert page.count("plotly.js v") == 1
    assert "prefers-color-scheme: dark" in page


@pytest.mark.parametrize(
    "title", ["Before and after", "The front", "What each group contributes", "Sensitivity of each stage", "The cells",
              "How the compressed network differs from its twin"],
)  # fmt: skip
def test_report_page_has_every_section(page: str, title: str) -> None:
    assert f"<h2>{title}</h2>" in page


def test_report_page_says_where_figures_come_from(page: str, report: Report) -> None:
    assert report.model.outcome.artefact.sha256 in page
    assert "measured: fake-1, 24 samples" in page
    assert "head to head" in page


def test_report_page_shows_the_samples_as_pictures(page: str) -> None:
    assert shell(page).count('src="data:image/png;base64,') == 24
    assert "the first 24 of 40" in page


def test_report_page_says_what_was_not_run(report: Report) -> None:
    pending = Ablation("pruning", "without pruning", None, "not trained", pending=True)
    shown = replace(report, twin=None, ablations=(pending,), sensitivity=None, difference="The twin was not trained.")
    page = shell(report_page(shown))
    assert page.count("<code>automl report fake --ablate</code>") == 2
    assert "This was not run." in page
    assert "<code>automl sensitivity fake.yaml</code>" in page
    assert "The twin was not trained.</p>" in page


def test_report_page_says_when_there_are_too_few_trials(report: Report) -> None:
    assert "An importance needs at least 8 measured trials" in report_page(replace(report, importances=()))


def test_report_page_warns_of_few_trials(report: Report) -> None:
    few = tuple(replace(one, trials=12) for one in report.importances)
    assert "Read with care: only 12 trials." in report_page(replace(report, importances=few))


def test_report_page_escapes_names(report: Report) -> None:
    evil = "</script><script>alert(1)</script>"
    assert evil not in report_page(replace(report, facts=replace(report.facts, name=evil), ablate_command=evil))


def test_importance_figure_has_a_bar_a_group(report: Report) -> None:
    figure = importance_figure(report.importances)
    assert {trace.name: trace.x[0] for trace in figure.data} == dict(report.importances[0].shares)


def test_ablation_figure_is_the_change_against_the_chosen_one(report: Report) -> None:
    figure = ablation_figure(report.model, report.ablations, ["test_accuracy", "size_bytes"])
    done = [one.subject for one in report.ablations if one.subject is not None]
    wanted = [100 * (one.outcome.value("size_bytes") / report.model.outcome.value("size_bytes") - 1) for one in done]
    assert list(figure.data[1].x) == pytest.approx(wanted)
    points = [100 * (one.outcome.value("test_accuracy") - report.model.outcome.value("test_accuracy")) for one in done]
    assert list(figure.data[0].x) == pytest.approx(points)


@pytest.mark.parametrize(
    ("name", "better"), [("test_accuracy", False), ("accuracy", False), ("latency_ms", True), ("size_bytes", True)]
)
def test_is_better_knows_the_direction(name: str, better: bool) -> None:
    assert is_better(name, 0.5, 0.6) is better
    assert is_better(name, 0.5, 0.5) is None
