"""The short form of benchmarks/chaos.py: a killed driver, a locked database, a stuck lane."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CHAOS = Path(__file__).parents[2] / "benchmarks" / "chaos.py"
KINDS = "driver,lane,database"


@pytest.mark.ray
@pytest.mark.timeout(240)
def test_chaos_loses_nothing_and_repeats_the_undisturbed_run(tmp_path: Path) -> None:
    arguments = ["--faults", "3", "--trials-a-fault", "6", "--databases", "sqlite", "--workers", "1", "--kinds", KINDS]
    result = subprocess.run(
        [sys.executable, str(CHAOS), *arguments, "--json", str(tmp_path / "chaos.json")],
        cwd=tmp_path, capture_output=True, text=True, timeout=220, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    judged = {goal["name"].split(": ")[1]: goal for goal in json.loads((tmp_path / "chaos.json").read_text())["goals"]}
    assert judged["faults that hit"]["got"] == "3"
    assert judged["trials unlike an undisturbed run's"]["met"] is True
