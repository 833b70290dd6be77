"""A page is one file that asks nothing of the network, and says nothing unescaped."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from automl.storage import Store
from automl.views.comparison import compare_facts
from automl.views.facts import StudyFacts, study_facts
from automl.views.page import comparison_page, front_page

LOADED = re.compile(r"<(?:script|link|img|iframe)[^>]*\b(?:src|href)\s*=", re.IGNORECASE)


def shell(page: str) -> str:
    """Return the page without its scripts: plotly.js itself holds the addresses of map servers it is not asked for."""
    return re.sub(r"<script\b[^>]*>.*?</script>", "<script></script>", page, flags=re.DOTALL)


@pytest.fixture(scope="module")
def page(facts: StudyFacts) -> str:
    return front_page(facts)


def test_front_page_loads_nothing(page: str) -> None:
    assert LOADED.findall(shell(page)) == []
    assert re.search(r"<script[^>]+src=", page) is None
    assert "plotly.js v" in page


def test_front_page_offers_no_upload_to_a_cloud(page: str) -> None:
    assert '"sendChartToCloud", "select2d"' in page


def test_front_page_has_a_row_for_each_point_of_the_front(page: str, facts: StudyFacts) -> None:
    assert shell(page).count("<tr>") == 1 + len(facts.front)


def test_front_page_is_light_and_dark(page: str) -> None:
    assert "prefers-color-scheme: dark" in page


def test_front_page_escapes_the_name_of_the_study(facts: StudyFacts) -> None:
    evil = "</script><script>alert(1)</script>"
    assert evil not in front_page(replace(facts, name=evil))


def test_front_page_of_an_empty_study_says_so(store: Store) -> None:
    assert "Nothing on the front yet" in front_page(study_facts(store, "empty"))


def test_comparison_page_lists_every_study(store: Store, facts: StudyFacts) -> None:
    page = shell(comparison_page(compare_facts([facts, study_facts(store, "other")])))
    assert "<td>fake</td>" in page
    assert "<td>other</td>" in page
