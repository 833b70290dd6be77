"""A CPU target that samples as little as it can: these tests ask what it does, not how fast anything is."""

from __future__ import annotations

from pathlib import Path

import pytest

from automl.targets.cpu import CpuTarget
from automl.targets.fingerprint import describe_cpu
from automl.targets.lanes import core_plan
from automl.targets.timing import TimingRules


@pytest.fixture
def target(tmp_path: Path) -> CpuTarget:
    return CpuTarget(
        channel_multiple=16,
        batch=1,
        fingerprint=describe_cpu().fingerprint(),
        lane_folder=tmp_path / "lanes",
        plan=core_plan(),
        rules=TimingRules(min_sittings=2, max_sittings=2, min_rounds=2, max_rounds=3, repeats=1, sample_floor_ms=0),
    )
