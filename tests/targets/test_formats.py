"""What the formats claim of ONNX Runtime, held against the graph that it really runs."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from automl.targets.formats import cpu_formats
from automl.targets.kernels import Kernel, int4_tensor, write_kernel
from automl.targets.session import open_session

FORMATS = {(form.weight_bits, form.activation_bits): form for form in cpu_formats()}
EXECUTABLE = [pair for pair, form in FORMATS.items() if form.executable]
LAYERS = 3


def optimized_operations(kernel: Kernel, folder: Path) -> Counter[str]:
    open_session(write_kernel(kernel, folder / "kernel.onnx"), optimized=folder / "optimized.onnx")
    return Counter(node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node)


def kernel(pair: tuple[int, int], operation: str = "conv_3x3") -> Kernel:
    return Kernel(operation, 16, 14, LAYERS, *pair)


def test_formats_cover_every_pair_once() -> None:
    assert sorted(FORMATS) == sorted(itertools.product((4, 8, 16, 32), repeat=2))
    assert len(cpu_formats()) == 16


def test_formats_say_why() -> None:
    assert all(form.reason and form.benefit for form in FORMATS.values())
    assert {form.benefit for form in FORMATS.values() if not form.executable} == {"none"}


def test_formats_hold_what_the_cpu_target_must_have() -> None:
    assert {(32, 32), (8, 8), (4, 32)} <= set(EXECUTABLE)


@pytest.mark.parametrize("operation", ["conv_3x3", "depthwise_3x3", "conv_1x1"])
@pytest.mark.parametrize("pair", [pair for pair in EXECUTABLE if pair[1] == 32])
def test_stored_weights_are_folded_when_the_session_is_made(
    pair: tuple[int, int], operation: str, tmp_path: Path
) -> None:
    operations = optimized_operations(kernel(pair, operation), tmp_path)
    assert operations["Conv"] + operations["FusedConv"] == LAYERS
    assert not operations.keys() & {"Cast", "Mul", "DequantizeLinear"}


@pytest.mark.parametrize("operation", ["conv_3x3", "depthwise_3x3", "conv_1x1"])
@pytest.mark.parametrize("pair", [pair for pair in EXECUTABLE if pair[1] == 8])
def test_integer_formats_run_integer_convolutions(pair: tuple[int, int], operation: str, tmp_path: Path) -> None:
    operations = optimized_operations(kernel(pair, operation), tmp_path)
    assert operations["QLinearConv"] == LAYERS
    assert not operations.keys() & {"Cast", "Conv", "FusedConv", "Relu"}
    assert operations["QuantizeLinear"] == operations["DequantizeLinear"] == 1


@pytest.mark.parametrize(("pair", "at_most"), [((16, 32), 0.52), ((8, 32), 0.28), ((4, 32), 0.15), ((4, 8), 0.15)])
def test_stored_weights_make_the_file_smaller(pair: tuple[int, int], at_most: float, tmp_path: Path) -> None:
    small, plain = (
        write_kernel(Kernel("conv_3x3", 64, 14, LAYERS, *each), tmp_path / "kernel.onnx").stat().st_size
        for each in (pair, (32, 32))
    )
    assert small < at_most * plain


def test_int4_weights_compute_what_the_same_int8_weights_compute(tmp_path: Path) -> None:
    """The format (4, 8) is (8, 8) with fewer bytes: the same integers, widened, give the same outputs."""
    path = write_kernel(Kernel("conv_3x3", 16, 14, 1, 4, 8), tmp_path / "kernel.onnx")
    model = onnx.load(path)
    narrow, pixels = open_session(path), 5 * np.random.default_rng(0).random((1, 16, 14, 14), np.float32)
    for value in model.graph.initializer:
        if value.data_type == onnx.TensorProto.INT4:
            integers = onnx.numpy_helper.to_array(value).astype(np.int8)
            value.CopyFrom(onnx.numpy_helper.from_array(integers, value.name))
    onnx.save(model, tmp_path / "wide.onnx")
    outputs = [session.run(None, {"x": pixels})[0] for session in (narrow, open_session(tmp_path / "wide.onnx"))]
    np.testing.assert_array_equal(*outputs)
    assert outputs[0].any()


@pytest.mark.parametrize("count", [1, 2, 15, 16])
def test_int4_tensor_packs_two_values_in_a_byte(count: int) -> None:
    values = np.arange(count, dtype=np.int64) % 16 - 8
    tensor = int4_tensor("w", values)
    assert len(tensor.raw_data) == (count + 1) // 2
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor).astype(np.int64), values)
