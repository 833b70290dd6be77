"""Small networks written directly as ONNX, for the probe, for `doctor` and for tests of what the runtime does.

Each is a chain of equal convolutions with ReLU, in one of the formats of the CPU target.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

OPSET, IR_VERSION = 21, 10
ACTIVATION_SCALE = np.float32(0.02)


@dataclass(frozen=True)
class Kernel:
    """A chain of `layers` convolutions of `channels` x `size` x `size` in the format (weight, activation) bits.

    `operation` is "conv_3x3", "depthwise_3x3", "conv_1x1" or "linear".
    """

    operation: str
    channels: int
    size: int
    layers: int
    weight_bits: int
    activation_bits: int


@dataclass(frozen=True)
class Part:
    """The nodes and initializers of a piece of a graph, and the name of the value that it computes."""

    nodes: tuple[onnx.NodeProto, ...]
    values: tuple[onnx.TensorProto, ...]
    output: str


def write_kernel(kernel: Kernel, path: Path) -> Path:
    """Write the kernel's ONNX file with random weights and return its path."""
    import onnx

    onnx.save(kernel_model(kernel), str(path))
    return path


def kernel_model(kernel: Kernel) -> onnx.ModelProto:
    """Return the kernel as an ONNX model from "x" to "y", both float32."""
    integer = kernel.activation_bits == 8
    rng = np.random.default_rng(0)
    parts = [_quantized("x", "input")] if integer else []
    value = parts[0].output if parts else "x"
    for layer in range(kernel.layers):
        parts.append(_layer(kernel, value, layer, rng))
        value = parts[-1].output
    size = 1 if kernel.operation == "linear" else kernel.size
    return _model(parts, value, [1, kernel.channels, size, size])


def saturation_model(channels: int, weight: int) -> onnx.ModelProto:
    """Return a 1x1 int8 convolution whose weights are all `weight`: "x" (1 x channels x 4 x 4) -> "y"."""
    from onnx import helper, numpy_helper

    constants: dict[str, Any] = {
        "one": np.float32(1), "zero": np.uint8(0), "w": np.full((channels, channels, 1, 1), weight, np.int8),
        "y_scale": np.float32(255 * weight * channels / 200),
    }  # fmt: skip
    nodes = (
        helper.make_node("QuantizeLinear", ["x", "one", "zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "one", "zero"], ["xr"]),
        helper.make_node("DequantizeLinear", ["w", "one"], ["wr"]),
        helper.make_node("Conv", ["xr", "wr"], ["sum"]),
        helper.make_node("QuantizeLinear", ["sum", "y_scale", "zero"], ["yq"]),
        helper.make_node("DequantizeLinear", ["yq", "y_scale", "zero"], ["y"]),
    )
    values = tuple(numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items())
    return _model([Part(nodes, values, "y")], "y", [1, channels, 4, 4])


def int4_tensor(name: str, values: NDArray[np.int64]) -> onnx.TensorProto:
    """Return integers from -8 to 7 as an INT4 tensor, two in a byte (`helper.make_tensor` alone takes up to four)."""
    from onnx import TensorProto, helper

    assert values.min() >= -8 and values.max() <= 7, "int4 holds -8 to 7"
    nibbles = np.append(values.ravel() & 0xF, [0] * (values.size % 2)).astype(np.uint8)
    packed: bytes = (nibbles[0::2] | (nibbles[1::2] << 4)).tobytes()
    return helper.make_tensor(name, TensorProto.INT4, values.shape, packed, raw=True)


def _layer(kernel: Kernel, source: str, layer: int, rng: np.random.Generator) -> Part:
    from onnx import helper, numpy_helper

    prefix, integer = f"l{layer}", kernel.activation_bits == 8
    limit = 7 if kernel.weight_bits == 4 else 63
    weight = _weight(kernel, prefix, rng.integers(-limit, limit + 1, _weight_shape(kernel)), integer)
    bias = f"{prefix}.bias"
    nodes, values = list(weight.nodes), list(weight.values)
    if integer:
        dequantized = _dequantized(bias, np.zeros(kernel.channels, np.int32), np.float32(0.004) * ACTIVATION_SCALE)
        nodes, values, bias = nodes + list(dequantized.nodes), values + list(dequantized.values), dequantized.output
    else:
        values.append(numpy_helper.from_array(np.zeros(kernel.channels, np.float32), bias))
    group = kernel.channels if kernel.operation == "depthwise_3x3" else 1
    pads = [1] * 4 if kernel.operation.endswith("3x3") else [0] * 4
    nodes.append(helper.make_node("Conv", [source, weight.output, bias], [f"{prefix}.conv"], pads=pads, group=group))
    nodes.append(helper.make_node("Relu", [f"{prefix}.conv"], [f"{prefix}.relu"]))
    if integer:
        after = _quantized(f"{prefix}.relu", prefix)
        return Part((*nodes, *after.nodes), (*values, *after.values), after.output)
    return Part(tuple(nodes), tuple(values), f"{prefix}.relu")


def _weight_shape(kernel: Kernel) -> tuple[int, int, int, int]:
    side = 3 if kernel.operation.endswith("3x3") else 1
    return (kernel.channels, 1 if kernel.operation == "depthwise_3x3" else kernel.channels, side, side)


def _weight(kernel: Kernel, prefix: str, integers: NDArray[np.int64], integer: bool) -> Part:
    """Return the weights as the format stores them; what widens them is folded when the session is made."""
    from onnx import TensorProto, helper, numpy_helper

    name, scale = f"{prefix}.weight", np.float32(0.004)
    floats = integers.astype(np.float32) * scale
    if kernel.weight_bits == 32:
        return Part((), (numpy_helper.from_array(floats, name),), name)
    if kernel.weight_bits == 16:
        cast = helper.make_node("Cast", [f"{name}.stored"], [name], to=TensorProto.FLOAT)
        return Part((cast,), (numpy_helper.from_array(floats.astype(np.float16), f"{name}.stored"),), name)
    if integer and kernel.weight_bits == 8:
        return _dequantized(name, integers.astype(np.int8), scale)
    stored = f"{name}.stored"
    tensor = (
        int4_tensor(stored, integers)
        if kernel.weight_bits == 4
        else numpy_helper.from_array(integers.astype(np.int8), stored)
    )
    if integer:
        rest = _dequantized(name, None, scale)
        cast = helper.make_node("Cast", [stored], [name], to=TensorProto.INT8)
        return Part((cast, *rest.nodes), (tensor, *rest.values), rest.output)
    nodes = (
        helper.make_node("Cast", [stored], [f"{name}.float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{name}.float", f"{name}.scale"], [name]),
    )
    return Part(nodes, (tensor, numpy_helper.from_array(np.asarray(scale), f"{name}.scale")), name)


def _dequantized(name: str, integers: NDArray[Any] | None, scale: np.float32) -> Part:
    """Return the node that dequantizes `name`, given here or, where `integers` is None, computed before."""
    from onnx import helper, numpy_helper

    values = [numpy_helper.from_array(np.asarray(scale, np.float32), f"{name}.scale")]
    if integers is not None:
        values.append(numpy_helper.from_array(integers, name))
    node = helper.make_node("DequantizeLinear", [name, f"{name}.scale"], [f"{name}.real"])
    return Part((node,), tuple(values), f"{name}.real")


def _quantized(source: str, prefix: str) -> Part:
    """Return the pair of nodes that takes a value to uint8 and back."""
    from onnx import helper, numpy_helper

    scale, zero = f"{prefix}.scale", f"{prefix}.zero"
    values = (
        numpy_helper.from_array(np.asarray(ACTIVATION_SCALE), scale),
        numpy_helper.from_array(np.asarray(np.uint8(0)), zero),
    )
    nodes = (
        helper.make_node("QuantizeLinear", [source, scale, zero], [f"{prefix}.uint8"]),
        helper.make_node("DequantizeLinear", [f"{prefix}.uint8", scale, zero], [f"{prefix}.real"]),
    )
    return Part(nodes, values, f"{prefix}.real")


def _model(parts: list[Part], output: str, shape: list[int]) -> onnx.ModelProto:
    from onnx import TensorProto, helper

    nodes = [node for part in parts for node in part.nodes]
    if output != "y":
        nodes.append(helper.make_node("Identity", [output], ["y"]))
    graph = helper.make_graph(
        nodes,
        "kernel",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [value for part in parts for value in part.values],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
