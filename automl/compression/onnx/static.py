"""Static int8 for graphs of any origin: quantize/dequantize pairs where ONNX Runtime has integer kernels.

Activations are unsigned 8-bit and weights signed (Jacob et al., 2018). ReLU and ReLU6 behind a kernel are not written
at all: a code that starts at zero saturates there, so no float island can stay around them. A *site* is a value that
is stored as a code; it has the name that the value has in the floating-point graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from automl.compression.onnx.graph import GraphEditor, attribute
from automl.compression.onnx.weights import add_codes, layer_code, weight_inputs
from automl.errors import input_error
from automl.models.number_formats import (
    ActivationCode,
    Codes,
    Range,
    activation_code,
    bias_code,
    largest_code_of_layer,
    smallest_weight_scale,
)
from automl.models.onnx_graph import NOMINAL_LINEAR, NOMINAL_RECTIFIED

if TYPE_CHECKING:
    import onnx

LAYERS = ("Conv", "Gemm", "MatMul")
COMPUTING = ("Add", "Mul", "Concat", "AveragePool", "GlobalAveragePool", "Sigmoid", "LeakyRelu")
CARRYING = ("MaxPool", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose")  # codes pass through as they are
FLOAT_RESULT = ("Gemm", "MatMul")  # whose integer kernels can return floating point


def is_layer(editor: GraphEditor, node: onnx.NodeProto) -> bool:
    """Tell whether a node is a layer with stored weights for which there is a static integer kernel."""
    if node.op_type not in LAYERS or not weight_inputs(editor, node):
        return False
    biased = len(node.input) > 2 and bool(node.input[2])
    bias = editor.constant(node.input[2]) if biased else None
    flat = bias is None or bias.ndim == 1
    return flat and (not biased or bias is not None) and not attribute(node, "transA", 0)


def integer_kernels(editor: GraphEditor, floats: set[str]) -> dict[int, list[str]]:
    """Return, by the id of each node that has a static integer kernel, the activations that it reads.

    `floats` names the values in single precision.
    """
    kernels = {}
    for node in editor.nodes(*LAYERS, *COMPUTING):
        if is_layer(editor, node):
            kernels[id(node)] = [node.input[0]]
        elif node.op_type in COMPUTING or (node.op_type == "MatMul" and not node.domain):
            given = [name for name in node.input if name]
            if all(name in floats and editor.constant(name) is None for name in given):
                kernels[id(node)] = given
    return kernels


def rectifier(editor: GraphEditor, node: onnx.NodeProto) -> tuple[onnx.NodeProto, float] | None:
    """Return the ReLU or ReLU6 that alone reads a kernel's result and the highest value it lets pass; None if none."""
    reader = editor.only_reader(node.output[0])
    if reader is None or reader.output[0] in editor.pinned:
        return None
    if reader.op_type == "Relu":
        return reader, float("inf")
    if reader.op_type == "Clip" and len(reader.input) == 3:
        low, high = editor.constant(reader.input[1]), editor.constant(reader.input[2])
        if low is not None and high is not None and float(low) == 0 < float(high):
            return reader, float(high)
    return None


def site_names(editor: GraphEditor, floats: set[str]) -> tuple[str, ...]:
    """Return every value that some plan may store as a code, in the order of the graph."""
    kernels = integer_kernels(editor, floats)
    found: dict[str, None] = {}
    for node in editor.sorted_nodes():
        if id(node) in kernels:
            behind = rectifier(editor, node)
            for name in (*kernels[id(node)], node.output[0] if behind is None else behind[0].output[0]):
                found[name] = None
    return tuple(found)


class StaticQuantizer:
    """Rewrites the kernels of chosen nodes to integers.

    Args:
        editor: the floating-point graph, to be rewritten.
        floats: the values in single precision.
        bits: weight bits of a node that shall compute in integers, None of one that shall not.
        codes: the range at each site; None means nominal ones: the same graph.
        largest_code: of 8-bit weights.
        scales: "channel" or "tensor".
    """

    def __init__(
        self, editor: GraphEditor, floats: set[str], bits: Callable[[onnx.NodeProto], int | None],
        codes: Codes | None, largest_code: int, scales: str,
    ) -> None:  # fmt: skip
        self._editor, self._bits, self._codes = editor, bits, codes
        self._largest, self._scales = largest_code, scales
        chosen = {id(node) for node in editor.nodes() if bits(node) is not None}
        self._kernels = {key: names for key, names in integer_kernels(editor, floats).items() if key in chosen}
        self._carriers = {id(node) for node in editor.nodes(*CARRYING) if id(node) in chosen}
        self._bounds: dict[str, float] = {}  # highest value of the sites behind a rectifier
        self._coded: dict[str, ActivationCode] = {}
        self._pairs: dict[str, str] = {}
        self._sites: dict[str, str] = {}  # of what is read in its place

    def rewrite(self) -> int:
        """Rewrite the graph and return the number of kernels that now compute in integers."""
        nodes = self._editor.sorted_nodes()
        for node in nodes:
            if id(node) in self._kernels:
                self._absorb_rectifier(node)
        for node in nodes:
            if id(node) in self._kernels:
                self._rewrite_kernel(node)
            elif id(node) in self._carriers and self._editor.holds(node):
                self._carry(node)
        return len(self._kernels)

    def _absorb_rectifier(self, node: onnx.NodeProto) -> None:
        behind = rectifier(self._editor, node)
        if behind is not None:
            reader, bound = behind
            output = reader.output[0]
            self._editor.remove(reader)
            self._editor.rename_output(node.output[0], output)
            self._bounds[output] = bound

    def _rewrite_kernel(self, node: onnx.NodeProto) -> None:
        for name in dict.fromkeys(self._given(node)):
            self._quantize(name)
        bits = self._bits(node)
        if bits is not None and is_layer(self._editor, node):
            self._code_weights(node, bits)
        if self._returns_codes(node):
            self._quantize(node.output[0])

    def _given(self, node: onnx.NodeProto) -> list[str]:
        """Return the activations that a kernel reads, as they were named before they were quantized."""
        return self._kernels[id(node)]

    def _returns_codes(self, node: onnx.NodeProto) -> bool:
        output = node.output[0]
        readers = self._editor.readers(output)
        if output in self._bounds:
            return True
        if output in self._editor.pinned:
            return node.op_type == "Conv"  # there is no integer convolution that returns floating point
        counted = any(id(reader) in self._kernels or id(reader) in self._carriers for reader in readers)
        return counted or node.op_type not in FLOAT_RESULT

    def _carry(self, node: onnx.NodeProto) -> None:
        """Give the result of a node that moves values about the code of what it reads, where that has one."""
        source = self._sites.get(node.input[0])
        if source is None or node.output[0] in self._editor.pinned:
            return
        self._coded[node.output[0]] = self._coded[source]
        self._quantize(node.output[0])

    def _quantize(self, name: str) -> None:
        """Let the readers of a value read it through its code: all if a kernel made it, else the kernels only."""
        editor = self._editor
        if name in self._pairs:
            return
        if name not in self._coded:
            self._coded[name] = self._code(name)
        code, value = self._coded[name], name
        producer = editor.producer(name)
        made = producer is not None and self._takes_codes(producer)
        readers = [one for one in editor.readers(name) if made or self._takes_codes(one)]
        if name in editor.pinned and producer is not None and producer.op_type == "Conv" and made:
            value = editor.fresh(f"{name}.value")
            editor.rename_output(name, value)
            readers = []
        parameters = [
            editor.add_constant(np.asarray(part), f"{name}.{suffix}")
            for suffix, part in (("scale", code.scale), ("zero", code.zero_point))
        ]
        coded = editor.add_node("QuantizeLinear", [value, *parameters], f"{name}.code")
        shown = name if value != name else ""
        self._pairs[name] = editor.add_node("DequantizeLinear", [coded, *parameters], f"{name}.read", output=shown)
        self._sites[self._pairs[name]] = name
        for reader in readers:
            for index in [at for at, one in enumerate(reader.input) if one == name]:
                editor.set_input(reader, index, self._pairs[name])

    def _takes_codes(self, node: onnx.NodeProto) -> bool:
        return id(node) in self._kernels or id(node) in self._carriers

    def _code(self, name: str) -> ActivationCode:
        bound = self._bounds.get(name)
        if self._codes is None:
            return activation_code(NOMINAL_LINEAR if bound is None else NOMINAL_RECTIFIED)
        if name not in self._codes.ranges:
            raise input_error("the calibration", f"of this graph, whose site {name!r} needs a range", "none for it")
        seen = self._codes.ranges[name]
        return activation_code(seen if bound is None else Range(0.0, min(max(seen.high, 0.0), bound)))

    def _code_weights(self, node: onnx.NodeProto, bits: int) -> None:
        """Store the weights as codes and the bias as 32-bit codes at the scale of their products."""
        from onnx import TensorProto

        editor, scale = self._editor, self._coded[self._given(node)[0]].scale
        ((index, axis),) = weight_inputs(editor, node)
        name, weight = node.input[index], editor.constant(node.input[index])
        assert weight is not None, "a layer has constant weights"
        bias = editor.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        smallest = 0.0 if bias is None else smallest_weight_scale(bias, scale)
        largest = self._largest
        if node.op_type == "Conv":
            largest = largest_code_of_layer(weight.shape, attribute(node, "group", 1), largest)
        code = layer_code(weight, axis, bits, largest, self._scales, smallest)
        stored = add_codes(editor, code.codes, bits, name)
        if bits == 4:
            stored = editor.add_node("Cast", [stored], f"{name}.widened", to=TensorProto.INT8)
        scales = code.scales.reshape(-1) if code.scales.ndim else code.scales
        editor.set_input(node, index, self._dequantized(name, stored, scales, np.int8, axis))
        if bias is not None:
            codes, bias_scales = bias_code(bias, scale, scales)
            stored = editor.add_constant(codes, f"{node.input[2]}.codes")
            editor.set_input(node, 2, self._dequantized(node.input[2], stored, bias_scales, np.int32, 0))

    def _dequantized(self, name: str, stored: str, scales: np.ndarray, kind: type[np.signedinteger], axis: int) -> str:
        editor = self._editor
        parameters = [
            editor.add_constant(scales, f"{name}.scales"),
            editor.add_constant(np.zeros(scales.shape, kind), f"{name}.zeros"),
        ]
        return editor.add_node("DequantizeLinear", [stored, *parameters], f"{name}.read", axis=axis)
