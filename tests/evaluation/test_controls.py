"""The controls of one runtime and of two, with a target that answers what it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from automl.data.dataset import Dataset
from automl.evaluation.controls import fastest_float_runtime, prepare_controls
from automl.targets import Control

BOTH = ("onnxruntime", "openvino")


class Stopwatch:
    """Answers by kind, and remembers what each was held against."""

    def __init__(self, **ms: float) -> None:
        self.ms = {kind.replace("_", " "): value for kind, value in ms.items()}
        self.beside: dict[str, str | None] = {}

    def reference_ms(self, control: Path, kind: str, beside: Control | None = None) -> float:
        assert control.is_file()
        self.beside[kind] = None if beside is None else beside.kind
        return self.ms[kind]


@pytest.fixture
def clock() -> Stopwatch:
    return Stopwatch(fp32=2.0, int8=1.0, openvino_fp32=1.5, openvino_int8=1.2)


def test_prepare_controls_of_one_runtime_are_two(clock: Stopwatch, digits: Dataset, tmp_path: Path) -> None:
    controls = prepare_controls(clock, digits, tmp_path, 1, {})
    assert {kind: control.reference_ms for kind, control in controls.items()} == {"fp32": 2.0, "int8": 1.0}
    assert {control.runtime for control in controls.values()} == {"onnxruntime"}
    assert clock.beside == {"fp32": None, "int8": None}


def test_prepare_controls_of_a_second_runtime_are_the_same_files(
    clock: Stopwatch, digits: Dataset, tmp_path: Path
) -> None:
    controls = prepare_controls(clock, digits, tmp_path, 1, {}, BOTH)
    assert list(controls) == ["fp32", "openvino fp32", "int8", "openvino int8"]
    assert controls["openvino int8"].sha256 == controls["int8"].sha256 != controls["fp32"].sha256
    assert controls["openvino fp32"].runtime == "openvino"
    assert clock.beside["openvino fp32"] == "fp32"  # not the time of day, but the ratio orders the runtimes
    assert clock.beside["openvino int8"] == "int8"


def test_prepare_controls_measures_only_what_the_record_lacks(
    clock: Stopwatch, digits: Dataset, tmp_path: Path
) -> None:
    known = {"fp32": 9.0, "int8": 8.0, "openvino fp32": 7.0}
    controls = prepare_controls(clock, digits, tmp_path, 1, known, BOTH)
    assert [control.reference_ms for control in controls.values()] == [9.0, 7.0, 8.0, 1.2]
    assert clock.beside == {"openvino int8": "int8"}


@pytest.mark.parametrize(("openvino_ms", "expected"), [(1.5, "openvino"), (2.5, "onnxruntime"), (2.0, "onnxruntime")])
def test_fastest_float_runtime_is_that_of_the_fastest_float_control(
    digits: Dataset, tmp_path: Path, openvino_ms: float, expected: str
) -> None:
    clock = Stopwatch(fp32=2.0, int8=1.9, openvino_fp32=openvino_ms, openvino_int8=0.1)
    assert fastest_float_runtime(prepare_controls(clock, digits, tmp_path, 1, {}, BOTH)) == expected


def test_fastest_float_runtime_without_controls_is_onnxruntime() -> None:
    assert fastest_float_runtime({}) == "onnxruntime"
