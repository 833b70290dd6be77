"""Dynamic int8: the range of an activation is found at every call, its layer multiplies integers.

What suits linear and recurrent layers, whose activations vary from sample to sample: no calibration is needed, and
ONNX Runtime fuses the nodes into one kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from automl.compression.onnx.graph import GraphEditor
from automl.compression.onnx.weights import MICROSOFT, LayerCode, layer_code

if TYPE_CHECKING:
    import onnx

LAYERS = ("MatMul", "LSTM")


class DynamicQuantizer:
    """Turns layers into their dynamic integer form; an activation that several layers read is quantized once."""

    def __init__(self, editor: GraphEditor, largest_code: int, scales: str) -> None:
        self._editor, self._largest, self._scales = editor, largest_code, scales
        self._quantized: dict[str, Sequence[str]] = {}

    def multiply(self, node: onnx.NodeProto) -> None:
        """Turn a MatMul by a constant `in x out` matrix into integer products, scaled back to floating point."""
        from onnx import TensorProto

        editor, (source, weight_name), output, name = self._editor, node.input, node.output[0], node.name
        weight = editor.constant(weight_name)
        assert weight is not None, "only products with constants are dynamic"
        code = layer_code(weight, weight.ndim - 1, 8, self._largest, self._scales)
        codes, scale, zero, source_zero = self._parameters(weight_name, code.codes, code.scales.reshape(-1), source)
        editor.remove(node)
        product = editor.add_node(
            "MatMulInteger", [self._quantized[source][0], codes, source_zero, zero], f"{output}.integer", name=name
        )
        real = editor.add_node("Cast", [product], f"{output}.real", to=TensorProto.FLOAT)
        scales = editor.add_node("Mul", [self._quantized[source][1], scale], f"{output}.scales")
        editor.add_node("Mul", [real, scales], output, output=output)

    def recur(self, node: onnx.NodeProto) -> None:
        """Turn an LSTM with constant weights into DynamicQuantizeLSTM."""
        from onnx import helper

        editor, inputs = self._editor, [*node.input, *[""] * (8 - len(node.input))]
        for index in (1, 2):
            weight = editor.constant(inputs[index])
            assert weight is not None, "only constant weights are dynamic"
            code = layer_code(weight, 1, 8, self._largest, self._scales)
            stored = np.ascontiguousarray(code.codes.transpose(0, 2, 1))
            scales = _by_direction(code, weight.shape[0])
            name = inputs[index]
            inputs[index] = editor.add_constant(stored, f"{name}.codes")
            inputs.append(editor.add_constant(scales, f"{name}.scales"))
            inputs.append(editor.add_constant(np.zeros(scales.shape, np.int8), f"{name}.zeros"))
        attributes = {
            entry.name: helper.get_attribute_value(entry) for entry in node.attribute if entry.name != "layout"
        }
        outputs, name = list(node.output), node.name
        editor.add(helper.make_node("DynamicQuantizeLSTM", inputs, outputs, name, domain=MICROSOFT, **attributes))
        editor.remove(node)
        editor.need_domain(MICROSOFT)

    def _parameters(self, name: str, codes: np.ndarray, scales: np.ndarray, source: str) -> tuple[str, str, str, str]:
        """Return the names of codes, scales, zero point, and of the zero point of the quantized source."""
        from onnx import helper

        editor = self._editor
        if source not in self._quantized:
            outputs = [editor.fresh(f"{source}.{part}") for part in ("dynamic", "scale", "zero")]
            editor.add(helper.make_node("DynamicQuantizeLinear", [source], outputs, f"{source}.dynamic"))
            self._quantized[source] = outputs
        scales = scales.reshape(()) if len(scales) == 1 else scales
        return (
            editor.add_constant(codes, f"{name}.codes"),
            editor.add_constant(scales, f"{name}.scales"),
            editor.add_constant(np.zeros(scales.shape, np.int8), f"{name}.zeros"),
            self._quantized[source][2],
        )


def _by_direction(code: LayerCode, directions: int) -> np.ndarray:
    """Return the scales as directions x gates x hidden units, or one for each direction."""
    return np.full(directions, code.scales, np.float32) if not code.scales.ndim else code.scales[:, :, 0]
