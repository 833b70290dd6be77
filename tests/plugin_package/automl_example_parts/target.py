"""This machine's CPU, timed in one short sitting: for looking at a study, not for its last word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from automl.targets import Target, open_target
from automl.targets.cpu import CpuTarget
from automl.targets.timing import TimingRules


def quick_cpu(
    argument: str, *, batch: int, channel_multiple: int, lane_folder: Path, runtimes: Sequence[str]
) -> Target:
    """Return the target; `argument`, as in `quick_cpu:0.05`, is the seconds of a sitting."""
    cpu = open_target("cpu", batch=batch, channel_multiple=channel_multiple, lane_folder=lane_folder, runtimes=runtimes)
    assert isinstance(cpu, CpuTarget)
    seconds = float(argument) if argument else 0.1
    rules = TimingRules(min_sittings=1, max_sittings=1, min_rounds=3, max_rounds=6, sitting_seconds=seconds)
    name = f"quick_cpu:{argument}" if argument else "quick_cpu"
    return replace(cpu, name=name, rules=rules, fingerprint=f"{cpu.fingerprint}, one sitting of {seconds:g} s")
