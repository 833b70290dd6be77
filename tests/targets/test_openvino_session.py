"""OpenVINO as the platform uses it, on real files; skipped where it is not installed."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from automl.errors import TargetError
from automl.models.packing import SUFFIX, pack
from automl.targets.kernels import Kernel, kernel_model, write_kernel
from automl.targets.opened import OpenedFile
from automl.targets.openvino_session import (
    ask_for_sixteen_bits,
    capabilities,
    compile_model,
    open_file,
    prepare,
    require_settings,
    sixteen_bit_type,
)

openvino = pytest.importorskip("openvino", reason="OpenVINO, an optional extra, is not installed")

NATIVE = sixteen_bit_type(capabilities())
CHAIN = Kernel("conv_3x3", 16, 14, 3, 32, 32)


def input_of(opened: OpenedFile) -> np.ndarray:
    return 5 * np.random.default_rng(1).random(opened.shape, np.float32)


def linear_file(path: Path, element: int, batch: int | str = 1) -> Path:
    """Write a network from 4 numbers to their sum, and twice that."""
    nodes = [
        helper.make_node("Cast", ["x"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["float", "w"], ["y"]),
    ]
    weight = numpy_helper.from_array(np.outer(np.ones(4), [1, 2]).astype(np.float32), "w")
    inputs = [helper.make_tensor_value_info("x", element, [batch, 4])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 2])]
    graph = helper.make_graph(nodes, "sum", inputs, outputs, [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return path


def test_prepare_opens_the_same_network_again_and_again(tmp_path: Path) -> None:
    path = write_kernel(CHAIN, tmp_path / "net.onnx")
    fresh, open_again = open_file(path), prepare(path)
    first, second = open_again(), open_again()
    expected = fresh.run(input_of(fresh))
    assert expected.any()
    np.testing.assert_array_equal(first.run(input_of(first)), expected)
    np.testing.assert_array_equal(second.run(input_of(second)), expected)


def test_compile_model_computes_in_float32_on_one_thread(tmp_path: Path) -> None:
    compiled = compile_model(write_kernel(CHAIN, tmp_path / "net.onnx"))
    assert compiled.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert compiled.get_property("NUM_STREAMS") == 1
    assert compiled.get_property("ENABLE_CPU_PINNING") is False


def test_require_settings_refuses_what_openvino_did_not_take(tmp_path: Path) -> None:
    path = write_kernel(CHAIN, tmp_path / "net.onnx")
    settings = {"INFERENCE_NUM_THREADS": 2, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    bare = openvino.Core().compile_model(str(path), "CPU", settings)
    with pytest.raises(TargetError, match=r"on one thread, but OpenVINO took INFERENCE_NUM_THREADS 2"):
        require_settings(path, bare, "f32")
    with pytest.raises(TargetError, match=r"in bf16 on one thread, but OpenVINO took INFERENCE_PRECISION_HINT"):
        require_settings(path, compile_model(path), "bf16")


def test_open_file_computes_on_the_calling_thread(tmp_path: Path) -> None:
    """The lane pins the calling thread: what another one computes would escape it."""
    opened = open_file(write_kernel(CHAIN, tmp_path / "net.onnx"))
    batch = input_of(opened)
    thread, process = time.thread_time(), time.process_time()
    for _ in range(1000):
        opened.run(batch)
    assert time.thread_time() - thread > 0.9 * (time.process_time() - process)


@pytest.mark.parametrize(("element", "kind"), [(TensorProto.INT64, np.int64), (TensorProto.UINT8, np.uint8)])
def test_open_file_takes_ids_and_pixels(tmp_path: Path, element: int, kind: type) -> None:
    opened = open_file(linear_file(tmp_path / "net.onnx", element))
    assert (opened.shape, opened.element, opened.classes) == ((1, 4), kind, 2)
    assert opened.run(np.array([[1, 2, 3, 4]], kind)).tolist() == [[10.0, 20.0]]


def test_open_file_restores_a_packed_file(tmp_path: Path) -> None:
    plain = write_kernel(CHAIN, tmp_path / "net.onnx")
    packed = tmp_path / f"net{SUFFIX}"
    packed.write_bytes(pack(plain.read_bytes()))
    first, second = open_file(plain), open_file(packed)
    np.testing.assert_array_equal(first.run(input_of(first)), second.run(input_of(first)))


def test_open_file_refuses_an_open_batch(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="static input shape"):
        open_file(linear_file(tmp_path / "net.onnx", TensorProto.UINT8, "n"))


def test_open_file_refuses_a_type_that_nothing_here_has(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"one of \['uint8', 'float32', 'int64'\], but got float64"):
        open_file(linear_file(tmp_path / "net.onnx", TensorProto.DOUBLE))


def test_prepare_names_the_file_that_openvino_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    with pytest.raises(TargetError, match=r"junk\.onnx must be a file that OpenVINO can run, but it says"):
        prepare(tmp_path / "junk.onnx")
    with pytest.raises(TargetError, match="no such file"):
        prepare(tmp_path / "gone.onnx")


@pytest.mark.skipif(NATIVE is not None, reason="this chip runs 16 bits natively")
def test_a_file_of_sixteen_bits_is_refused_where_the_chip_has_none(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(ask_for_sixteen_bits(kernel_model(Kernel("conv_3x3", 16, 14, 1, 16, 32)).SerializeToString()))
    with pytest.raises(TargetError, match=r"needs a CPU with native 16-bit arithmetic, but OpenVINO finds FP32"):
        prepare(path)


@pytest.mark.skipif(NATIVE is None, reason="this chip has no native 16-bit arithmetic")
def test_a_file_of_sixteen_bits_runs_sixteen_bit_convolutions(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(ask_for_sixteen_bits(kernel_model(Kernel("conv_3x3", 16, 14, 3, 16, 32)).SerializeToString()))
    operations = [one.get_rt_info() for one in compile_model(path).get_runtime_model().get_ordered_ops()]
    convolutions = [one for one in operations if one["layerType"].astype(str) == "Convolution"]
    assert {one["runtimePrecision"].astype(str) for one in convolutions} == {NATIVE}


@pytest.mark.parametrize(
    ("native", "found"), [((), None), (("FP32", "INT8"), None), (("FP32", "FP16"), "f16"), (("FP16", "BF16"), "bf16")]
)
def test_sixteen_bit_type_is_the_one_that_the_chip_has(native: tuple[str, ...], found: str | None) -> None:
    assert sixteen_bit_type(native) == found
