"""The structured log."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from automl.errors import InputError
from automl.tracking import log as log_module
from automl.tracking.log import Log
from tests.tracking.made_up_trials import open_trial, trial


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_log_writes_a_finished_trial_as_one_line(tmp_path: Path) -> None:
    log = Log(tmp_path / "new" / "study.jsonl", "digits")
    log.tell(trial(3))
    log.close()
    (line,) = lines(tmp_path / "new" / "study.jsonl")
    assert datetime.fromisoformat(line["time"]).utcoffset() is not None
    assert (line["level"], line["event"], line["study"], line["trial"]) == ("info", "trial", "digits", 3)
    assert line["figures"] == {"accuracy": 0.75, "latency_ms": 3.0, "size_bytes": "inf"}
    assert line["seconds"]["train"] == 4.0 and "reason" not in line


def test_log_warns_of_a_failed_trial_and_hides_the_password(tmp_path: Path) -> None:
    log = Log(tmp_path / "log", "digits")
    log.tell(trial(0, "failed"))
    log.close()
    (line,) = lines(tmp_path / "log")
    assert line["level"] == "warning"
    assert line["reason"] == "lost postgresql://ann:***@host/db"


def test_log_passes_over_an_open_trial(tmp_path: Path) -> None:
    log = Log(tmp_path / "log", "digits")
    log.tell(open_trial(0))
    log.close()
    assert lines(tmp_path / "log") == []


def test_log_of_a_second_session_goes_on(tmp_path: Path) -> None:
    for kind in ("started", "resumed"):
        log = Log(tmp_path / "log", "digits")
        log.note(kind, "with\na new line", trial=7)
        log.close()
    assert [(line["event"], line["trial"], line["text"]) for line in lines(tmp_path / "log")] == [
        ("started", 7, "with\na new line"),
        ("resumed", 7, "with\na new line"),
    ]


def test_log_is_rotated_by_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "LARGEST_BYTES", 200)
    log = Log(tmp_path / "log", "digits")
    for number in range(4):
        log.note("waiting", "x" * 100, number)
    log.close()
    assert [(tmp_path / name).exists() for name in ("log", "log.1", "log.3", "log.5")] == [True, True, True, False]
    assert all((tmp_path / name).stat().st_size <= 250 for name in ("log", "log.1"))


def test_log_refuses_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"tracking\.log must be a file that can be written, but got .*directory"):
        Log(tmp_path, "digits")


def test_log_keeps_the_fault_of_a_full_disk_and_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log(Path("/dev/full"), "digits")
    log.note("started", "")
    log.note("stopped", "")
    assert log.fault is not None and "No space left" in log.fault
    assert capsys.readouterr().err == ""
