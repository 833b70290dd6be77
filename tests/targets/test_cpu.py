"""The CPU target on real files in real sessions; nothing here depends on how fast they are."""

from __future__ import annotations

import hashlib
import itertools
import pickle
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from automl.errors import TargetError
from automl.models.packing import SUFFIX, pack
from automl.targets import Contestant, Control, Target, open_target, runtime_obstacles
from automl.targets.cpu import CpuTarget
from automl.targets.kernels import Kernel, write_kernel
from automl.targets.timing import time_contestants

needs_openvino = pytest.mark.skipif(
    runtime_obstacles()["openvino"] is not None, reason=f"openvino: {runtime_obstacles()['openvino']}"
)


@pytest.fixture
def classifier(tmp_path: Path) -> Callable[..., Path]:
    """Return a writer of files from raw pixels to the mean of the pixels times 1, 2 and 3."""

    def write(batch: int | str = 1, name: str = "net.onnx") -> Path:
        nodes = [
            helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("Reshape", ["float", "shape"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weight"], ["logits"]),
        ]
        weight = np.outer(np.full(12, 1 / 12), [1, 2, 3]).astype(np.float32)
        values = [
            numpy_helper.from_array(np.array([-1, 12], np.int64), "shape"),
            numpy_helper.from_array(weight, "weight"),
        ]
        inputs = [helper.make_tensor_value_info("pixels", TensorProto.UINT8, [batch, 3, 4])]
        outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 3])]
        graph = helper.make_graph(nodes, "net", inputs, outputs, values)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), tmp_path / name)
        return tmp_path / name

    return write


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that ONNX Runtime opens during the test, in order."""
    paths: list[str] = []
    real = onnxruntime.InferenceSession

    def watch(path: str, *args: object, **options: object) -> object:
        paths.append(path)
        return real(path, *args, **options)

    monkeypatch.setattr(onnxruntime, "InferenceSession", watch)
    return paths


def contestant(path: Path, shape_key: str = "shape") -> Contestant:
    return Contestant(path, hashlib.sha256(path.read_bytes()).hexdigest(), shape_key)


def control(path: Path, reference_ms: float = 2.0) -> Control:
    return Control("fp32", path, hashlib.sha256(path.read_bytes()).hexdigest(), reference_ms)


def kernel_file(folder: Path, layers: int) -> Path:
    return write_kernel(Kernel("conv_3x3", 16, 14, layers, 32, 32), folder / f"{layers}.onnx")


def test_compare_returns_a_timing_of_the_file(target: CpuTarget, tmp_path: Path) -> None:
    subject, held_against = contestant(kernel_file(tmp_path, 8)), control(kernel_file(tmp_path, 1))
    timing = target.compare(subject, held_against, contestant(kernel_file(tmp_path, 2)), "untrained")
    assert (timing.kind, timing.moment, timing.control) == ("measured", "untrained", "fp32")
    assert (timing.artefact, timing.device) == (subject.sha256, target.fingerprint)
    assert set(timing.samples_ms) == {"candidate", "control", "control_again", "twin"}
    assert {len(samples) for samples in timing.samples_ms.values()} == {6}
    assert timing.latency_ms == timing.control_ratio.value * 2.0


def test_compare_without_a_twin_has_no_twin_ratio(target: CpuTarget, tmp_path: Path) -> None:
    path = kernel_file(tmp_path, 1)
    timing = target.compare(contestant(path), control(path), None, "trained")
    assert timing.twin_ratio is None
    assert timing.aa_ratio is not None


def test_compare_opens_the_very_files_and_the_control_twice(
    target: CpuTarget, tmp_path: Path, opened: list[str]
) -> None:
    subject, held_against = kernel_file(tmp_path, 2), kernel_file(tmp_path, 1)
    target.compare(contestant(subject), control(held_against), None, "untrained")
    one_sitting = [str(subject), str(held_against), str(held_against)]
    sittings = len(opened) // len(one_sitting)  # a session whose A/A pair differs is held again
    assert opened == one_sitting * sittings and sittings % target.rules.max_sittings == 0 < sittings


def test_compare_refuses_a_file_that_is_not_the_one_named(target: CpuTarget, tmp_path: Path) -> None:
    path = kernel_file(tmp_path, 1)
    with pytest.raises(TargetError, match="SHA-256 0000, but it has"):
        target.compare(Contestant(path, "0000", "shape"), control(path), None, "untrained")


def test_compare_refuses_a_missing_control(target: CpuTarget, tmp_path: Path) -> None:
    path = kernel_file(tmp_path, 1)
    with pytest.raises(TargetError, match=r"gone\.onnx must be the file to time"):
        target.compare(contestant(path), Control("fp32", tmp_path / "gone.onnx", "0", 1.0), None, "untrained")


def test_compare_refuses_a_file_that_is_not_onnx(target: CpuTarget, tmp_path: Path) -> None:
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    with pytest.raises(TargetError, match=r"junk\.onnx must be a file that ONNX Runtime can run"):
        target.compare(contestant(tmp_path / "junk.onnx"), control(tmp_path / "junk.onnx"), None, "untrained")


def test_compare_refuses_an_open_batch(target: CpuTarget, classifier: Callable[..., Path]) -> None:
    path = classifier("n")
    with pytest.raises(TargetError, match="static input shape"):
        target.compare(contestant(path), control(path), None, "untrained")


def test_compare_leaves_no_lane_taken_after_a_refusal(target: CpuTarget, classifier: Callable[..., Path]) -> None:
    path, fine = classifier("n"), classifier(1, "fine.onnx")
    with pytest.raises(TargetError):
        target.compare(contestant(path), control(path), None, "untrained")
    assert target.compare(contestant(fine), control(fine), None, "untrained").samples_ms


@needs_openvino
def test_compare_runs_each_contestant_in_its_own_runtime(target: CpuTarget, tmp_path: Path, opened: list[str]) -> None:
    """The candidate and the control in OpenVINO, the twin in ONNX Runtime: one session holds them all."""
    subject, held_against, twin = (kernel_file(tmp_path, layers) for layers in (3, 1, 2))
    timing = target.compare(
        replace(contestant(subject), runtime="openvino"),
        replace(control(held_against), kind="openvino fp32", runtime="openvino"),
        contestant(twin),
        "untrained",
    )
    assert timing.control == "openvino fp32"
    assert opened == [str(twin)] * target.rules.max_sittings
    assert {len(samples) for samples in timing.samples_ms.values()} == {6}


@needs_openvino
def test_compare_in_openvino_refuses_a_changed_file_too(target: CpuTarget, tmp_path: Path) -> None:
    path = kernel_file(tmp_path, 1)
    with pytest.raises(TargetError, match="SHA-256 0000, but it has"):
        target.compare(Contestant(path, "0000", "shape", "openvino"), control(path), None, "untrained")


def test_compare_times_a_packed_file(target: CpuTarget, tmp_path: Path) -> None:
    plain, packed = kernel_file(tmp_path, 2), tmp_path / f"packed{SUFFIX}"
    packed.write_bytes(pack(plain.read_bytes()))
    timing = target.compare(contestant(packed), control(plain), None, "trained")
    assert timing.artefact == hashlib.sha256(packed.read_bytes()).hexdigest()
    assert timing.samples_ms["candidate"]


def test_reference_ms_beside_another_control_is_the_ratio_times_its_reference(
    target: CpuTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file against itself is as fast as itself: a clock that ticks once a reading makes that exact."""
    ticks = itertools.count()
    monkeypatch.setattr("automl.targets.cpu.time_contestants", partial(time_contestants, clock=lambda: next(ticks)))
    path = kernel_file(tmp_path, 1)
    assert target.reference_ms(path, "fp32", control(path, reference_ms=7.0)) == 7.0


def test_reference_ms_opens_the_very_file_in_each_sitting(target: CpuTarget, tmp_path: Path, opened: list[str]) -> None:
    path = kernel_file(tmp_path, 1)
    assert target.reference_ms(path, "fp32") > 0
    assert opened == [str(path)] * target.rules.max_sittings


@pytest.mark.parametrize(("batch", "images"), [(1, 5), (4, 5), (4, 8), (4, 0)])
def test_load_runs_any_number_of_images_at_the_static_batch(
    target: CpuTarget, classifier: Callable[..., Path], batch: int, images: int
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (images, 3, 4)).astype(np.uint8)
    logits = target.load(classifier(batch))(pixels)
    assert (logits.shape, logits.dtype) == ((images, 3), np.float32)
    np.testing.assert_allclose(logits, pixels.mean((1, 2))[:, None] * [1, 2, 3], rtol=1e-5)


@pytest.mark.parametrize("pixels", [np.zeros((2, 3, 4), np.float32), np.zeros((2, 4, 3), np.uint8)])
def test_load_refuses_pixels_of_another_type_or_shape(
    target: CpuTarget, classifier: Callable[..., Path], pixels: np.ndarray
) -> None:
    with pytest.raises(TargetError, match=r"pixels must be uint8 n x \(3, 4\), but got"):
        target.load(classifier())(pixels)


def test_load_refuses_a_missing_file(target: CpuTarget, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="no such file"):
        target.load(tmp_path / "gone.onnx")


@needs_openvino
def test_load_answers_alike_in_both_runtimes(target: CpuTarget, classifier: Callable[..., Path]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, 4)).astype(np.uint8)
    path = classifier(4)
    np.testing.assert_allclose(target.load(path)(pixels), target.load(path, "openvino")(pixels), rtol=1e-5)


@needs_openvino
def test_formats_are_those_of_the_targets_runtimes(target: CpuTarget) -> None:
    both = replace(target, served_by=("onnxruntime", "openvino"))
    assert {form.runtime for form in target.formats()} == {"onnxruntime"}
    assert [form.runtime for form in both.formats()] == ["onnxruntime"] * 16 + ["openvino"] * 16


def test_open_target_returns_a_cpu_target_that_travels_between_processes(tmp_path: Path) -> None:
    target: Target = open_target("cpu", batch=1, channel_multiple=16, lane_folder=tmp_path)
    assert pickle.loads(pickle.dumps(target)) == target
    assert (target.name, target.kind, target.channel_multiple) == ("cpu", "measured", 16)
