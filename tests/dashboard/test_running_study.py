"""The dashboard opened on a study that a real search is running in another process."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from automl.storage import Store, open_store
from dashboard.wiring import address_of, build_server
from tests.dashboard.test_wiring import ask

LOOKS = 400
PAUSE_S = 0.2
STUDY = """
name: running
data: {source: digits, train_limit: 100, validation_limit: 60}
space: {widths: [16, 32], cells: [2, 3]}
training: {epochs: 1}
distillation: {alphas: [0.5], temperatures: [2.0, 4.0]}
teacher: {source: space, epochs: 1}
objectives: [accuracy, latency_ms]
budget: {trials: 500}
finalists: {count: 1, epochs: 1}
search: {executor: inline, method: random}
"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Store]:
    """A study that a search in another process is working on; far from its end."""
    (tmp_path / "running.yaml").write_text(STUDY)
    url = f"sqlite:///{tmp_path}/automl.db"
    command = [sys.executable, "-m", "automl", "search", "running.yaml", "--quiet", "--storage", url]
    process = subprocess.Popen(command, cwd=tmp_path)
    try:
        with open_store(url) as store:
            yield store
        assert process.poll() is None, "the search ended before the test did"
    finally:
        process.kill()
        process.wait()


def first_mirrored_trial(address: str) -> dict[str, str]:
    """Return the user attributes of the first measured trial that optuna-dashboard shows: words, or JSON."""
    for _ in range(LOOKS):
        studies = json.loads(ask(address, "GET", "/api/studies")[2])["study_summaries"]
        for study in studies:
            detail = json.loads(ask(address, "GET", f"/api/studies/{study['study_id']}")[2])
            for trial in detail["trials"]:
                found = {entry["key"]: entry["value"] for entry in trial["user_attrs"]}
                if found.get("state") == "measured":
                    return found
        threading.Event().wait(PAUSE_S)
    raise AssertionError("no measured trial appeared")


def test_dashboard_shows_the_trials_of_a_running_study(running: Store) -> None:
    server = build_server(running, "127.0.0.1", 0, every_ms=200)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        shown = first_mirrored_trial(address_of(server))
    finally:
        server.shutdown()
        server.server_close()
    study = running.find_study("running")
    assert study is not None
    trial = running.trial(study.id, int(shown["number"]))
    assert trial is not None
    ratios = trial.candidate.pruning.ratios(trial.candidate.genotype)
    assert json.loads(shown["weight_bits"]) == list(trial.candidate.quantization.weight_bits)
    assert json.loads(shown["pruning_ratios"]) == [round(ratio, 4) for ratio in ratios]
    assert json.loads(shown["temperature"]) in (2.0, 4.0)
    assert shown["latency_kind"] == "measured"
