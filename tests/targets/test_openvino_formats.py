"""What the formats claim of OpenVINO, held against the graph that it really runs and against ONNX Runtime's answers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from automl.targets.formats import cpu_formats, sixteen_bit_format
from automl.targets.kernels import Kernel, write_kernel
from automl.targets.openvino_session import capabilities, compile_model, inference_settings
from automl.targets.session import find_runtime

openvino = pytest.importorskip("openvino", reason="OpenVINO, an optional extra, is not installed")

FORMATS = {(form.weight_bits, form.activation_bits): form for form in cpu_formats("openvino")}
EXECUTABLE = [pair for pair, form in FORMATS.items() if form.executable and pair != (16, 16)]
OPERATIONS = ["conv_3x3", "depthwise_3x3", "conv_1x1"]
LAYERS = 3


def kernel_file(pair: tuple[int, int], operation: str, folder: Path) -> Path:
    return write_kernel(Kernel(operation, 16, 14, LAYERS, *pair), folder / f"{operation}{pair}.onnx")


def compiled_layers(path: Path) -> Counter[tuple[str, str]]:
    """Return (layer, precision it is computed in) of the compiled model."""
    found = (one.get_rt_info() for one in compile_model(path).get_runtime_model().get_ordered_ops())
    return Counter((info["layerType"].astype(str), info["runtimePrecision"].astype(str)) for info in found)


def executed_types(path: Path) -> set[str]:
    """Return the types of the nodes that compute something at every call."""
    settings = inference_settings("f32") | {"PERF_COUNT": True}
    request = openvino.Core().compile_model(str(path), "CPU", settings).create_infer_request()
    for _ in range(2):
        request.infer()
    executed = openvino.ProfilingInfo.Status.EXECUTED
    return {info.node_type for info in request.profiling_info if info.status == executed}


def answers(runtime: str, path: Path) -> np.ndarray:
    opened = find_runtime(runtime).open(path)
    return opened.run(5 * np.random.default_rng(0).random(opened.shape, np.float32))


def test_formats_cover_every_pair_and_say_why() -> None:
    assert len(FORMATS) == 16
    assert all(form.reason and form.runtime == "openvino" for form in FORMATS.values())
    assert {form.benefit for form in FORMATS.values() if not form.executable} == {"none"}


def test_formats_hold_what_the_second_runtime_must_have() -> None:
    assert {(32, 32), (8, 8)} <= set(EXECUTABLE)
    assert FORMATS[(16, 16)] == sixteen_bit_format(capabilities())


def test_sixteen_bits_are_refused_with_what_the_chip_has() -> None:
    refused = sixteen_bit_format(("FP32", "INT8"))
    assert (refused.executable, refused.benefit) == (False, "none")
    assert refused.reason == "no native 16-bit arithmetic on this chip: OpenVINO finds FP32, INT8"
    assert sixteen_bit_format(("FP32", "BF16")).executable


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("pair", [pair for pair in EXECUTABLE if pair[1] == 8])
def test_integer_formats_run_integer_convolutions(pair: tuple[int, int], operation: str, tmp_path: Path) -> None:
    layers = compiled_layers(kernel_file(pair, operation, tmp_path))
    assert layers["Convolution", "u8"] == LAYERS
    assert layers["Convolution", "f32"] == 0


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("pair", [pair for pair in EXECUTABLE if pair[1] == 32])
def test_stored_weights_are_restored_once_and_run_in_float32(
    pair: tuple[int, int], operation: str, tmp_path: Path
) -> None:
    path = kernel_file(pair, operation, tmp_path)
    assert compiled_layers(path)["Convolution", "f32"] == LAYERS
    assert executed_types(path) <= {"Convolution", "GroupConvolution", "Reorder", "Relu"}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("pair", EXECUTABLE)
def test_both_runtimes_answer_alike(pair: tuple[int, int], operation: str, tmp_path: Path) -> None:
    path = write_kernel(Kernel(operation, 16, 14, 1, *pair), tmp_path / "kernel.onnx")  # codes of more fade to 0
    first, second = answers("onnxruntime", path), answers("openvino", path)
    assert first.any()
    step = 0.02 if pair[1] == 8 else 0.0  # of the activations' code
    np.testing.assert_allclose(second, first, rtol=1e-4, atol=1e-5 + step)


def test_dynamic_quantization_is_no_integer_kernel_here(tmp_path: Path) -> None:
    """Why dynamic int8 is for ONNX Runtime alone: OpenVINO computes the very file in float32."""
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["codes", "scale", "zero"]),
        helper.make_node("MatMulInteger", ["codes", "w", "zero"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["y"]),
    ]
    weight = numpy_helper.from_array(np.ones((64, 8), np.int8), "w")
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8])]
    graph = helper.make_graph(nodes, "dynamic", inputs, outputs, [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(model, tmp_path / "dynamic.onnx")
    layers = compiled_layers(tmp_path / "dynamic.onnx")
    assert layers["FullyConnected", "f32"] == 1
    assert not {precision for layer, precision in layers if layer == "FullyConnected"} & {"u8", "i8"}


def test_cpu_formats_without_openvino_refuse_every_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("automl.targets.formats.obstacle", lambda: "not installed")
    formats = cpu_formats("openvino")
    assert [form.executable for form in formats] == [False] * 16
    assert {form.reason for form in formats} == {"not installed"}


def test_a_chip_without_integer_dot_products_saturates_alike(tmp_path: Path) -> None:
    """What decides the largest weight code for ONNX Runtime decides it for OpenVINO as well."""
    from automl.targets.probe import saturation_share

    shares = [saturation_share(127, runtime=runtime) for runtime in ("onnxruntime", "openvino")]
    assert shares[0] == pytest.approx(shares[1], abs=0.02)
    assert saturation_share(64, runtime="openvino") == pytest.approx(1.0, abs=0.005)
