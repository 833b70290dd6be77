"""Passes that fold arithmetic by constants into convolutions and linear layers.

y = W x + b, then a y + s, is (a W) x + (a b + s). Batch normalisation in inference is such an a and s for each
channel (Jacob et al., 2018, section 3.2). Before a layer, a x + s folds as W (a x + s) = (W a) x + W s, unless the
layer pads its input: the padding stays 0, which is right for the scale only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from automl.compression.onnx.graph import GraphEditor, attribute, set_attribute
from automl.compression.onnx.passes import known_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

LAYERS = ("Conv", "ConvTranspose", "Gemm")
ARITHMETIC = ("Add", "Sub", "Mul", "Div")


def fold_batch_normalisation(model: onnx.ModelProto) -> onnx.ModelProto:
    """Fold each batch normalisation into the layer before it, or else into the layer behind it."""
    editor = GraphEditor(model)
    for node in editor.nodes("BatchNormalization"):
        affine = _normalisation(editor, node)
        if affine is None:
            continue
        if _folds_before(editor, node, *affine) or _folds_behind(editor, node, *affine):
            _bypass(editor, node, node.input[0])
    return editor.finish()


def _folds_before(editor: GraphEditor, node: onnx.NodeProto, factor: np.ndarray, shift: np.ndarray) -> bool:
    layer = editor.producer(node.input[0])
    return layer is not None and editor.only_reader(node.input[0]) is node and _rescale(editor, layer, factor, shift)


def _folds_behind(editor: GraphEditor, node: onnx.NodeProto, factor: np.ndarray, shift: np.ndarray) -> bool:
    layer = editor.only_reader(node.output[0])
    return layer is not None and layer.input[0] == node.output[0] and _absorb(editor, layer, factor, shift)


def fuse_constant_arithmetic(model: onnx.ModelProto) -> onnx.ModelProto:
    """Fold additions and multiplications by constants into the layer before them."""
    editor = GraphEditor(model)
    shapes = known_shapes(model)
    for node in editor.sorted_nodes():
        if node.op_type not in ARITHMETIC or not editor.holds(node):
            continue
        for side in (0, 1):
            value = node.input[side]
            layer, constant = editor.producer(value), editor.constant(node.input[1 - side])
            if layer is None or constant is None or editor.only_reader(value) is not node:
                continue
            affine = _affine_of(editor, node, layer, constant, shapes, constant_first=side == 1)
            if affine is not None and _rescale(editor, layer, *affine):
                _bypass(editor, node, value)
                break
    return editor.finish()


def _bypass(editor: GraphEditor, node: onnx.NodeProto, source: str) -> None:
    """Take a node out; what it computed is now what `source`, computed by a layer or given, is."""
    output = node.output[0]
    editor.remove(node)
    if output in editor.pinned:
        editor.rename_output(source, output)
    else:
        editor.rename(output, source)


def _normalisation(editor: GraphEditor, node: onnx.NodeProto) -> tuple[np.ndarray, np.ndarray] | None:
    """Return factor and shift of each channel; None in training mode or where they are computed."""
    values = [editor.constant(name) for name in node.input[1:5]]
    trains = attribute(node, "training_mode", 0) or any(editor.readers(name) for name in node.output[1:])
    if trains or any(value is None for value in values):
        return None
    scale, bias, mean, variance = (np.asarray(value, np.float64) for value in values)
    factor = scale / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
    return factor, bias - mean * factor


def _affine_of(
    editor: GraphEditor, node: onnx.NodeProto, layer: onnx.NodeProto, constant: np.ndarray,
    shapes: Mapping[str, tuple[int, ...]], *, constant_first: bool,
) -> tuple[np.ndarray, np.ndarray] | None:  # fmt: skip
    """Return factor and shift of each output channel of `layer` that equal the node; None where it has none."""
    channels = _outputs(editor, layer)
    rank = len(shapes.get(layer.output[0], ()))
    if channels is None or rank < 2 or constant.ndim > rank or constant.dtype != np.float32:
        return None
    axis = 1 if layer.op_type in ("Conv", "ConvTranspose") else rank - 1
    shape = (1,) * (rank - constant.ndim) + constant.shape
    if any(size != 1 for at, size in enumerate(shape) if at != axis) or shape[axis] not in (1, channels):
        return None
    values = np.broadcast_to(constant.astype(np.float64).ravel(), (channels,))
    ones, zeros = np.ones(channels), np.zeros(channels)
    if node.op_type == "Add":
        return ones, values
    if node.op_type == "Mul":
        return values, zeros
    if node.op_type == "Sub":
        return (-ones, values) if constant_first else (ones, -values)
    return None if constant_first or not values.all() else (1 / values, zeros)


def _outputs(editor: GraphEditor, layer: onnx.NodeProto) -> int | None:
    """Return the number of output channels of a layer with constant weights."""
    weight = editor.constant(layer.input[1]) if layer.op_type in (*LAYERS, "MatMul") and not layer.domain else None
    if weight is None or weight.dtype != np.float32 or weight.ndim < 2:
        return None
    if layer.op_type == "Conv":
        return int(weight.shape[0])
    if layer.op_type == "ConvTranspose":
        return int(weight.shape[1]) if attribute(layer, "group", 1) == 1 else None
    if layer.op_type == "Gemm":
        return int(weight.shape[0 if attribute(layer, "transB", 0) else 1])
    return int(weight.shape[1]) if weight.ndim == 2 else None


def _rescale(editor: GraphEditor, layer: onnx.NodeProto, factor: np.ndarray, shift: np.ndarray) -> bool:
    """Let the layer return factor x output + shift for each output channel; False where it cannot."""
    channels = _outputs(editor, layer)
    bias = _bias(editor, layer, channels) if channels == len(factor) else None
    if bias is None:
        return False
    if layer.op_type == "MatMul" and shift.any():
        return False
    weight = np.asarray(editor.constant(layer.input[1]), np.float64)
    alpha = attribute(layer, "alpha", 1.0) if layer.op_type == "Gemm" else 1.0
    axis = {"Conv": 0, "Gemm": 0 if attribute(layer, "transB", 0) else 1}.get(layer.op_type, 1)
    shape = [-1 if at == axis else 1 for at in range(weight.ndim)]
    _store(editor, layer, 1, weight * alpha * factor.reshape(shape))
    if layer.op_type != "MatMul":
        _store(editor, layer, 2, bias * factor + shift)
    if layer.op_type == "Gemm":
        set_attribute(layer, "alpha", None)
        set_attribute(layer, "beta", None)
    return True


def _bias(editor: GraphEditor, layer: onnx.NodeProto, channels: int | None) -> np.ndarray | None:
    """Return the layer's bias, one value an output channel; None where it is computed or not of that shape."""
    if channels is None:
        return None
    if len(layer.input) < 3 or not layer.input[2]:
        return np.zeros(channels)
    stored = editor.constant(layer.input[2])
    beta = attribute(layer, "beta", 1.0) if layer.op_type == "Gemm" else 1.0
    if stored is None or stored.size not in (1, channels) or stored.shape[-1:] not in ((), (1,), (channels,)):
        return None
    return np.broadcast_to(stored.astype(np.float64).ravel() * beta, (channels,))


def _absorb(editor: GraphEditor, layer: onnx.NodeProto, factor: np.ndarray, shift: np.ndarray) -> bool:
    """Let the layer take x where it took factor x x + shift of each input channel; False where that is not sound."""
    channels = _outputs(editor, layer) if layer.op_type in ("Conv", "Gemm") else None
    bias = _bias(editor, layer, channels)
    if bias is None or attribute(layer, "transA", 0) or (shift.any() and _pads(layer)):
        return False
    weight = np.asarray(editor.constant(layer.input[1]), np.float64)
    alpha = attribute(layer, "alpha", 1.0) if layer.op_type == "Gemm" else 1.0
    if layer.op_type == "Gemm" and not attribute(layer, "transB", 0):
        if weight.shape[0] != len(factor):
            return False
        added, scaled = shift @ weight, weight * factor[:, None]
    else:
        groups = attribute(layer, "group", 1)
        if weight.shape[1] * groups != len(factor):
            return False
        rows = np.arange(len(weight)) // (len(weight) // groups)  # the group of each output channel
        shape = (len(weight), weight.shape[1], *[1] * (weight.ndim - 2))
        scaled = weight * factor.reshape(groups, -1)[rows].reshape(shape)
        added = (weight * shift.reshape(groups, -1)[rows].reshape(shape)).reshape(len(weight), -1).sum(axis=1)
    _store(editor, layer, 1, scaled * alpha)
    _store(editor, layer, 2, bias + alpha * added)
    if layer.op_type == "Gemm":
        set_attribute(layer, "alpha", None)
        set_attribute(layer, "beta", None)
    return True


def _pads(layer: onnx.NodeProto) -> bool:
    return any(attribute(layer, "pads", [])) or attribute(layer, "auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID")


def _store(editor: GraphEditor, layer: onnx.NodeProto, index: int, value: np.ndarray) -> None:
    """Give the layer a constant of its own: another layer may read the one that it had."""
    editor.give_constant(layer, index, value.astype(np.float32), f"{layer.output[0]}.bias")
