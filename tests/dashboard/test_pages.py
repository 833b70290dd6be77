"""The live page in a real browser: it draws, follows the record without a reload, and asks only this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest

from automl.storage import Store
from dashboard.queries import read_pulse, study_names
from tests.fake_study import FakeTrial, fake_candidate, fake_measured, record_trial

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None)
browser_test = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path (Debian: apt install chromium)")
DRAWN = "document.querySelectorAll('#front .scatterlayer .point').length"


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser.new_page()
        browser.close()


def test_study_names_are_newest_first(store: Store) -> None:
    assert study_names(store) == ["fake"]


def test_read_pulse_changes_with_the_record(store: Store) -> None:
    before = read_pulse(store, "fake")
    assert read_pulse(store, "fake") == before
    _finish_one_more(store)
    assert read_pulse(store, "fake").revision != before.revision


def test_read_pulse_reads_no_trial(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "trials", None)
    monkeypatch.setattr(Store, "points", None)
    assert not read_pulse(store, "fake").running


@pytest.mark.browser
@browser_test
def test_page_draws_the_front_and_follows_it_without_a_reload(page: Page, address: str, store: Store) -> None:
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.goto(address)
    page.wait_for_function(f"{DRAWN} > 5")
    buttons = page.evaluate("[...document.querySelectorAll('.modebar-btn')].map(one => one.dataset.title)")
    assert "Download plot" in buttons
    assert not [title for title in buttons if "share" in title.lower() or "cloud" in title.lower()]
    page.evaluate("window.loadedOnce = true")
    before = page.evaluate(DRAWN)
    _finish_one_more(store)
    page.wait_for_function(f"{DRAWN} > {before}")
    assert page.evaluate("window.loadedOnce")
    assert "measured" in page.inner_text("#headline")
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    assert said == []


@pytest.mark.browser
@browser_test
def test_page_beside_it_shows_optuna_dashboard(page: Page, address: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}optuna")
    page.get_by_text("fake").first.wait_for()
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []


def _finish_one_more(store: Store) -> None:
    rng = np.random.default_rng(11)
    candidate = fake_candidate(rng)
    number = 1 + max(trial.number for trial in store.trials(1))
    record_trial(store, 1, FakeTrial(number, candidate, fake_measured(candidate, rng)))
