"""Rewrites that compute the same in another form: what a quantizer or a static session needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from automl.compression.onnx.graph import GraphEditor, attribute, opset_of, set_attribute
from automl.compression.onnx.passes import known_shapes
from automl.errors import input_error

if TYPE_CHECKING:
    import onnx


def plain_gemms(model: onnx.ModelProto) -> onnx.ModelProto:
    """Write every Gemm with constant weights and bias as x W^T + b, `out x in` weights, factors multiplied in."""
    editor = GraphEditor(model)
    for node in editor.nodes("Gemm"):
        weight = editor.constant(node.input[1])
        biased = len(node.input) > 2 and bool(node.input[2])
        bias = editor.constant(node.input[2]) if biased else None
        factors = (attribute(node, "alpha", 1.0), attribute(node, "beta", 1.0))
        plain = attribute(node, "transB", 0) and factors == (1.0, 1.0)
        if plain or weight is None or attribute(node, "transA", 0) or (biased and bias is None):
            continue
        rows = weight if attribute(node, "transB", 0) else weight.T
        editor.give_constant(node, 1, (rows * np.float32(factors[0])).astype(weight.dtype), "weight")
        if bias is not None:
            editor.give_constant(node, 2, (bias * np.float32(factors[1])).astype(bias.dtype), "bias")
        for name, value in (("transB", 1), ("alpha", None), ("beta", None)):
            set_attribute(node, name, value)
    return editor.finish()


def gemms_to_matmuls(
    model: onnx.ModelProto, wanted: Callable[[onnx.NodeProto], bool] = lambda _: True
) -> onnx.ModelProto:
    """Write each plain Gemm with constant weights as MatMul, and Add where it has a bias.

    Dynamic and block-wise kernels take MatMul. `wanted` tells which ones.
    """
    editor = GraphEditor(model)
    for node in editor.nodes("Gemm"):
        weight = editor.constant(node.input[1])
        plain = attribute(node, "transB", 0) and attribute(node, "alpha", 1.0) == attribute(node, "beta", 1.0) == 1.0
        if weight is None or attribute(node, "transA", 0) or not plain or not wanted(node):
            continue
        source, output = node.input[0], node.output[0]
        bias = node.input[2] if len(node.input) > 2 else ""
        columns = editor.add_constant(np.ascontiguousarray(weight.T), node.input[1])
        product = editor.add_node("MatMul", [source, columns], f"{output}.product", name=node.name)
        if bias:
            result = editor.add_node("Add", [product, bias], f"{output}.sum", name=f"{node.name}.bias")
        editor.remove(node)
        editor.rename_output(result if bias else product, output)
    return editor.finish()


def matmuls_to_gemms(model: onnx.ModelProto) -> onnx.ModelProto:
    """Write every product of a matrix by a constant one, and the bias that is added to it, as one Gemm."""
    editor, shapes = GraphEditor(model), known_shapes(model)
    for node in editor.nodes("MatMul"):
        weight = editor.constant(node.input[1])
        if weight is None or weight.ndim != 2 or len(shapes.get(node.input[0], ())) != 2:
            continue
        last, bias = _added_bias(editor, node, weight.shape[1])
        output = node.output[0] if last is None else last.output[0]
        inputs = [node.input[0], editor.add_constant(np.ascontiguousarray(weight.T), node.input[1])]
        if last is not None and bias is not None:
            inputs.append(editor.add_constant(bias, f"{output}.bias"))
            editor.remove(last)
        editor.remove(node)
        editor.add_node("Gemm", inputs, output, output=output, name=node.name, transB=1)
    return editor.finish()


def _added_bias(
    editor: GraphEditor, node: onnx.NodeProto, columns: int
) -> tuple[onnx.NodeProto, np.ndarray] | tuple[None, None]:
    """Return the Add that alone reads a product and its constant, where that is one value a column."""
    last = editor.only_reader(node.output[0])
    if last is None or last.op_type != "Add":
        return None, None
    bias = editor.constant(next(name for name in last.input if name != node.output[0]))
    return (last, bias) if bias is not None and bias.shape == (columns,) else (None, None)


def means_to_pools(model: onnx.ModelProto) -> onnx.ModelProto:
    """Write a mean over height and width as a global average pool, for which there is an integer kernel."""
    editor, shapes = GraphEditor(model), known_shapes(model)
    for node in editor.nodes("ReduceMean"):
        given = editor.constant(node.input[1]) if len(node.input) > 1 else attribute(node, "axes")
        shape = shapes.get(node.input[0], ())
        if given is None or len(shape) != 4 or sorted(int(axis) % 4 for axis in given) != [2, 3]:
            continue
        source, output = node.input[0], node.output[0]
        keeps = attribute(node, "keepdims", 1)
        editor.remove(node)
        if keeps:
            editor.add_node("GlobalAveragePool", [source], output, output=output, name=node.name)
        else:
            pooled = editor.add_node("GlobalAveragePool", [source], f"{output}.pooled", name=node.name)
            editor.add_node("Flatten", [pooled], output, output=output, name=f"{node.name}.flat", axis=1)
    return editor.finish()


def at_least_opset(model: onnx.ModelProto, version: int) -> onnx.ModelProto:
    """Return the model with ONNX's operators in this version, converted where it uses an older one.

    Raises:
        InputError: where an operator cannot be converted.
    """
    from onnx import version_converter

    if opset_of(model) >= version:
        return model
    try:
        return version_converter.convert_version(model, version)
    except Exception as error:
        got = f"opset {opset_of(model)}, whose conversion fails: {error}"
        raise input_error("the ONNX file", f"of opset {version} or convertible to it", got) from error


def _size(size: onnx.TensorShapeProto.Dimension) -> str:
    return str(size.dim_value) if size.HasField("dim_value") else size.dim_param or "?"
