"""Opening what a study names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import util
from pathlib import Path
from typing import Any

import pytest

from automl.errors import InputError
from automl.tracking import Tracking, TrackingPlan, open_tracking, opening
from automl.tracking.privacy import report_nothing
from tests.tracking.made_up_trials import SPACE, trial


def opened(plan: TrackingPlan, faults: list[str] | None = None, trials: Any = ()) -> Tracking:
    kept: list[str] = [] if faults is None else faults
    return open_tracking(plan, "digits", SPACE, trials, kept.append)


def test_open_tracking_of_nothing_does_nothing() -> None:
    tracking = opened(TrackingPlan())
    tracking.tell(trial(0))
    tracking.note("started", "", None)
    tracking.gauge("queue", 1)
    tracking.observe("ask_seconds", 1)
    tracking.close()
    assert tracking.metrics_port is None


def test_open_tracking_of_nothing_loads_no_library() -> None:
    names = ["mlflow", "wandb", "tensorboard", "prometheus_client", "torch"]
    text = f"import sys, automl.tracking; print(sorted(set(sys.modules) & set({names!r})))"
    assert subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_open_tracking_tells_log_metrics_and_loggers(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    faults: list[str] = []
    plan = TrackingPlan(metrics_port=0, log=tmp_path / "log", tensorboard=tmp_path / "boards")
    tracking = opened(plan, faults, [trial(0)])
    assert tracking.metrics_port
    tracking.tell(trial(1))
    tracking.close()
    assert [json.loads(line)["trial"] for line in (tmp_path / "log").read_text().splitlines()] == [1]
    assert sorted(path.name for path in (tmp_path / "boards" / "digits").iterdir()) == ["trial-00000", "trial-00001"]
    assert faults == []


def test_open_tracking_names_every_missing_extra_and_bad_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(opening, "find_spec", lambda name: None if name == "wandb" else util.find_spec("json"))
    with pytest.raises(InputError) as caught:
        opened(TrackingPlan(wandb=tmp_path / "w", tensorboard=tmp_path / "file" / "t"))
    assert [fault.where for fault in caught.value.faults] == ["tracking.tensorboard", "tracking.wandb"]
    assert "Run: pip install 'automl[wandb]', or leave tracking.wandb out." in str(caught.value)


def test_open_tracking_takes_a_folder_in_the_current_one_for_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mlflow").mkdir()
    monkeypatch.setattr(opening, "find_spec", lambda name: util.spec_from_loader(name, None, is_package=True))
    with pytest.raises(InputError, match="no package mlflow"):
        opened(TrackingPlan(mlflow=tmp_path / "mlflow"))


def test_report_nothing_leaves_the_users_word_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "false")
    monkeypatch.delenv("WANDB_ERROR_REPORTING", raising=False)
    report_nothing()
    assert (os.environ["MLFLOW_DISABLE_TELEMETRY"], os.environ["WANDB_ERROR_REPORTING"]) == ("false", "false")


def test_tracking_drops_a_logger_that_fails_and_says_so_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("token=sesame was refused")

    monkeypatch.setattr(opening, "_open_logger", broken)
    faults: list[str] = []
    plan = TrackingPlan(log=tmp_path / "log", tensorboard=tmp_path)
    tracking = opened(plan, faults)
    tracking._followers[0]._thread.join()
    tracking.tell(trial(0))
    tracking.tell(trial(1))
    tracking.close()
    assert faults == ["tensorboard is no longer told: RuntimeError: token=*** was refused"]
    events = [json.loads(line)["event"] for line in (tmp_path / "log").read_text().splitlines()]
    assert events == ["trial", "tracking", "trial"]
