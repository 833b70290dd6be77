"""Weights of layers in fewer bits: stored ones that the runtime restores at load, and blocks with their own kernel."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from automl.compression.onnx.graph import GraphEditor
from automl.models.number_formats import weight_code
from automl.models.onnx_file import packed_nibbles

if TYPE_CHECKING:
    import onnx

MICROSOFT = "com.microsoft"
# Which inputs of a kind are weights, and the axis of their output channels (Gemm as rewritten: transB = 1).
WEIGHTS: Mapping[str, tuple[tuple[int, int], ...]] = {
    "Conv": ((1, 0),), "ConvTranspose": ((1, 1),), "Gemm": ((1, 0),), "MatMul": ((1, -1),), "Gather": ((0, 0),),
    "LSTM": ((1, 1), (2, 1)), "GRU": ((1, 1), (2, 1)), "RNN": ((1, 1), (2, 1)),
}  # fmt: skip
INT8_COMPUTE = 4  # accuracy_level of MatMulNBits: activations as 8-bit integers


@dataclass(frozen=True)
class LayerCode:
    """Signed codes in the layout of the weight, and scales that spread over them (1 x out x 1, or no axes)."""

    codes: np.ndarray
    scales: np.ndarray


def weight_inputs(editor: GraphEditor, node: onnx.NodeProto) -> list[tuple[int, int]]:
    """Return (index, axis of the output channels) of each stored floating-point weight of a node."""
    found = []
    for index, axis in WEIGHTS.get(node.op_type, ()):
        name = node.input[index]
        weight = editor.constant(name) if name in editor.initializers() and not node.domain else None
        if weight is not None and weight.dtype == np.float32 and weight.ndim >= 2:
            found.append((index, axis % weight.ndim))
    return found


def layer_code(
    weight: np.ndarray, axis: int, bits: int, largest: int, scales: str, smallest: np.ndarray | float = 0.0
) -> LayerCode:
    """Return the symmetric code of a weight whose output channels lie along `axis`.

    A recurrent weight (directions x gates x in) has a scale for each gate's row of each direction.
    """
    if weight.ndim == 3 and axis == 1:
        rows = weight.reshape(-1, weight.shape[2])
        code = weight_code(rows, bits, largest, smallest, scales=scales)
        spread = code.scales if scales == "tensor" else code.scales.reshape(*weight.shape[:2], 1)
        return LayerCode(code.codes.reshape(weight.shape), spread)
    moved = np.moveaxis(weight, axis, 0)
    code = weight_code(np.ascontiguousarray(moved), bits, largest, smallest, scales=scales)
    shape = [-1 if at == axis else 1 for at in range(weight.ndim)]
    spread = code.scales if scales == "tensor" else code.scales.reshape(shape)
    return LayerCode(np.ascontiguousarray(np.moveaxis(code.codes, 0, axis)), spread)


class WeightStore:
    """Lets nodes read weights that the file stores in fewer bits; a weight that several nodes read is stored once."""

    def __init__(self, editor: GraphEditor, scales: str) -> None:
        self._editor, self._scales = editor, scales
        self._restored: dict[tuple[str, int, int], str] = {}

    def store(self, node: onnx.NodeProto, bits: int) -> bool:
        """Store the weights of a node in 16, 8 or 4 bits; tell whether it has any.

        The runtime widens them once, when the session is made: Cast and Mul are folded, DequantizeLinear is not.
        """
        inputs = weight_inputs(self._editor, node)
        for index, axis in inputs:
            key = (node.input[index], axis, bits)
            if key not in self._restored:
                self._restored[key] = self._restore(node.input[index], axis, bits)
            self._editor.set_input(node, index, self._restored[key])
        return bool(inputs)

    def _restore(self, name: str, axis: int, bits: int) -> str:
        from onnx import TensorProto

        editor, weight = self._editor, self._editor.constant(name)
        assert weight is not None, "what is stored is a constant"
        if bits == 16:
            stored = editor.add_constant(weight.astype(np.float16), f"{name}.float16")
            return editor.add_node("Cast", [stored], f"{name}.restored", to=TensorProto.FLOAT)
        code = layer_code(weight, axis, bits, 127, self._scales)
        stored = add_codes(editor, code.codes, bits, name)
        widened = editor.add_node("Cast", [stored], f"{name}.widened", to=TensorProto.FLOAT)
        scales = editor.add_constant(code.scales, f"{name}.scales")
        return editor.add_node("Mul", [widened, scales], f"{name}.restored")


def add_codes(editor: GraphEditor, codes: np.ndarray, bits: int, name: str) -> str:
    """Store signed codes as INT8 or, at 4 bits, INT4, and return their name."""
    from onnx import TensorProto, helper

    if bits == 8:
        return editor.add_constant(codes, f"{name}.codes")
    tensor = helper.make_tensor(name, TensorProto.INT4, codes.shape, packed_nibbles(codes), raw=True)
    return editor.add_tensor(tensor, f"{name}.codes")


def multiply_in_blocks(editor: GraphEditor, node: onnx.NodeProto, bits: int, block: int) -> None:
    """Turn a MatMul by a constant into MatMulNBits: each run of `block` weights of a column has its own scale.

    Args:
        editor: holds the node.
        node: a MatMul whose second input is a constant `in x out` matrix.
        bits: 4 or 8.
        block: a power of two, at least 16.
    """
    weight = editor.constant(node.input[1])
    assert weight is not None and weight.ndim == 2, "blocks are for matrices"
    inputs, outputs = weight.shape
    blocks = math.ceil(inputs / block)
    rows = np.zeros((outputs, blocks * block), np.float32)
    rows[:, :inputs] = weight.T
    code = weight_code(rows.reshape(outputs * blocks, block), bits, 127)
    unsigned = (code.codes.astype(np.int16) + 2 ** (bits - 1)).astype(np.uint8)
    packed = unsigned if bits == 8 else unsigned[:, 0::2] | (unsigned[:, 1::2] << 4)
    stored = editor.add_constant(packed.reshape(outputs, blocks, -1), f"{node.input[1]}.blocks")
    scales = editor.add_constant(code.scales, f"{node.input[1]}.scales")
    source, output, name = node.input[0], node.output[0], node.name
    editor.remove(node)
    editor.add_node(
        "MatMulNBits", [source, stored, scales], output, output=output, name=name, domain=MICROSOFT,
        K=inputs, N=outputs, bits=bits, block_size=block, accuracy_level=INT8_COMPUTE,
    )  # fmt: skip
