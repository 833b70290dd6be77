"""The fingerprint: the same on equal machines, another where speed may differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnxruntime
import pytest

from automl.targets.fingerprint import Device, describe_cpu
from automl.targets.lanes import timing_lane

CPUINFO = """processor\t: 0
cpu family\t: 25
model\t\t: 1
model name\t: AMD EPYC
cpu MHz\t\t: {mhz}
flags\t\t: fpu vme avx2 fma rdpid {flags}

processor\t: 1
model name\t: something else
"""


def device(folder: Path, mhz: str = "2445.1", flags: str = "") -> Device:
    path = folder / "cpuinfo"
    path.write_text(CPUINFO.format(mhz=mhz, flags=flags))
    return describe_cpu(path)


def test_describe_cpu_reads_the_processor(tmp_path: Path) -> None:
    found = device(tmp_path)
    assert (found.model, found.isa) == ("AMD EPYC (family 25, model 1)", ("avx2", "fma"))
    assert found.runtime == f"onnxruntime {onnxruntime.__version__}"


def test_fingerprint_ignores_the_clock_of_the_moment(tmp_path: Path) -> None:
    assert device(tmp_path, mhz="1").fingerprint() == device(tmp_path, mhz="2").fingerprint()


def test_fingerprint_tells_instruction_sets_apart(tmp_path: Path) -> None:
    assert device(tmp_path).fingerprint() != device(tmp_path, flags="avx512_vnni").fingerprint()


@pytest.mark.parametrize(
    "change", [{"model": "x"}, {"cores": 99}, {"runtime": "onnxruntime 0"}, {"system": "x"}, {"machine": "x"}]
)
def test_fingerprint_changes_with_every_fact(tmp_path: Path, change: dict[str, object]) -> None:
    found = device(tmp_path)
    assert replace(found, **change).fingerprint() != found.fingerprint()  # type: ignore[arg-type]


def test_fingerprint_is_the_same_inside_a_lane(tmp_path: Path) -> None:
    with timing_lane(tmp_path):
        inside = describe_cpu().fingerprint()
    assert inside == describe_cpu().fingerprint()


def test_describe_cpu_without_cpuinfo_still_answers(tmp_path: Path) -> None:
    found = describe_cpu(tmp_path / "absent")
    assert found.isa == ()
    assert "no known vector instructions" in found.fingerprint()


def test_describe_cpu_names_each_runtime_that_serves() -> None:
    both = describe_cpu(runtimes=("onnxruntime", "nosuchruntime"))
    assert both.runtime == f"onnxruntime {onnxruntime.__version__}, nosuchruntime not installed"
    assert describe_cpu().runtime == f"onnxruntime {onnxruntime.__version__}"
