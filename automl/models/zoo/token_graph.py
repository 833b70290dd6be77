"""The ONNX file of a network over token ids, node by node, in floating point or in the formats of linear layers.

The formats, by (weight bits, activation bits):

- (32, 32) floating point; (16, 32) half-precision weights, cast when the session is made.
- (8, 8) and (4, 8), `activations` "dynamic": DynamicQuantizeLinear and MatMulInteger, which ONNX Runtime fuses into
  DynamicQuantizeMatMul; with a `block`, MatMulNBits whose inputs are rounded to eight bits.
- (8, 8) and (4, 8), "static": quantize/dequantize pairs with calibrated ranges, fused into QGemm.
- (8, 32) and (4, 32): without a `block` a scale a channel, restored to floating point when the session is made; with
  one MatMulNBits, which keeps the weights in blocks and restores them at every call.

An embedding is stored in the bits of the weights, a scale for each token, and only the rows that a text needs are
restored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from automl.candidate import QuantizationPlan
from automl.models.deployable import INPUT
from automl.models.number_formats import Codes, Range, activation_code, bias_code, smallest_weight_scale, weight_code
from automl.models.onnx_file import IR_VERSION, OPSET, packed_nibbles
from automl.models.onnx_graph import array

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

RUNTIME_DOMAIN = "com.microsoft"
NOMINAL = Range(-4.0, 4.0)
SMALLEST_BLOCK = 16
FLOAT_COMPUTE, INTEGER_COMPUTE = 1, 4  # levels of MatMulNBits: what it multiplies in
PAIRS = ((32, 32), (16, 32), (8, 32), (4, 32), (8, 8), (4, 8))


def check_plan(plan: QuantizationPlan, depth: int) -> None:
    """Refuse a plan that the file cannot keep.

    Raises:
        ValueError: saying what it may be.
    """
    if len(plan.weight_bits) != depth:
        raise ValueError(f"the plan must have bits for each of {depth} layers, but got {len(plan.weight_bits)}")
    strange = sorted(set(plan.pairs()) - set(PAIRS))
    if strange:
        raise ValueError(f"the bits of a layer must be among {PAIRS}, but got {strange}")
    if plan.weights != "uniform":
        raise ValueError(f"the weights of a network over tokens must be uniform codes, but got {plan.weights}")
    if plan.training != "none":
        raise ValueError(f"a network over tokens must be quantized after training, but got training {plan.training}")
    if plan.block and (plan.block < SMALLEST_BLOCK or plan.block & (plan.block - 1)):
        raise ValueError(f"a block must be a power of two of at least {SMALLEST_BLOCK} weights, but got {plan.block}")
    if plan.block and plan.activations == "static" and 8 in plan.activation_bits:
        raise ValueError("blocks of weights must be with dynamic or 32-bit activations, but got static 8-bit ones")


class TokenGraph:
    """Collects nodes and constants; set `precision` to the (weight bits, activation bits) of what comes next.

    `sites` names the input of each linear layer.

    Args:
        plan: how weights and activations are coded.
        codes: calibrated ranges for static formats; None means nominal ones: the same graph.
        largest_code: of 8-bit weights: 127, or 64 where the target's kernels saturate.
    """

    def __init__(self, plan: QuantizationPlan, codes: Codes | None, largest_code: int) -> None:
        self.precision: tuple[int, int] = (32, 32)
        self.sites: dict[str, str] = {}
        self._plan, self._codes, self._largest_code = plan, codes, largest_code
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []
        self._count = 0

    def node(self, kind: str, inputs: Sequence[str], *, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output and return its name."""
        return self.nodes(kind, inputs, 1, domain=domain, **attributes)[0]

    def nodes(
        self, kind: str, inputs: Sequence[str], outputs: int, *, domain: str = "", **attributes: Any
    ) -> list[str]:  # fmt: skip
        """Add a node and return the names of its outputs."""
        from onnx import TensorProto, helper

        if kind == "Cast":
            attributes["to"] = getattr(TensorProto, attributes["to"])
        names = [f"t{self._count + i}" for i in range(outputs)]  # short: names are part of the file's size
        self._count += outputs
        self._nodes.append(helper.make_node(kind, list(inputs), names, domain=domain, **attributes))
        return names

    def constant(self, value: np.ndarray | np.generic | Sequence[int]) -> str:
        """Add a constant and return its name; a plain sequence is one of int64."""
        from onnx import numpy_helper

        name = f"c{len(self._constants)}"
        kept = np.array(value, np.int64) if isinstance(value, list | tuple) else np.asarray(value)
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(kept).reshape(kept.shape), name))
        return name

    def integers(self, codes: np.ndarray, bits: int) -> str:
        """Add signed codes in 8 or 4 bits and return the name of an 8-bit tensor."""
        from onnx import TensorProto, helper

        if bits == 8:
            return self.constant(codes)
        name = f"c{len(self._constants)}"
        packed = helper.make_tensor(name, TensorProto.INT4, codes.shape, packed_nibbles(codes), raw=True)
        self._constants.append(packed)
        return self.node("Cast", [name], to="INT8")

    def linear(self, x: str, weight: torch.Tensor, bias: torch.Tensor | None, site: str) -> str:
        """Add a linear layer (`out x in` weights) over `rows x in` in the current precision."""
        self.sites[site] = x
        matrix = array(weight)
        weight_bits, activation_bits = self.precision
        if activation_bits == 32 and (weight_bits >= 16 or self._plan.block == 0):
            product = self.node("MatMul", [x, self._restored(matrix, weight_bits)])
        elif self._plan.block > 0:
            product = self._block_product(x, matrix)
        elif self._plan.activations == "dynamic":
            product = self._dynamic_product(x, matrix)
        else:
            return self._static_layer(x, matrix, np.zeros(len(matrix)) if bias is None else array(bias), site)
        return product if bias is None else self.node("Add", [product, self.constant(array(bias))])

    def embedding(self, ids: str, weight: torch.Tensor) -> str:
        """Add the look-up of rows of `vocabulary x width` for ids of any shape."""
        table, bits = array(weight), self.precision[0]
        if bits == 32:
            return self.node("Gather", [self.constant(table), ids])
        if bits == 16:
            return self.node("Cast", [self.node("Gather", [self.constant(table.astype(np.float16)), ids])], to="FLOAT")
        code = weight_code(table, bits, 127)
        rows = self.node("Cast", [self.node("Gather", [self.integers(code.codes, bits), ids])], to="FLOAT")
        return self.node("Mul", [rows, self.node("Gather", [self.constant(code.scales[:, None]), ids])])

    def norm(self, x: str, layer: nn.LayerNorm) -> str:
        """Add a layer normalisation."""
        parameters = [self.constant(array(value)) for value in (layer.weight, layer.bias)]
        return self.node("LayerNormalization", [x, *parameters], axis=-1, epsilon=layer.eps)

    def serialize(self, shape: Sequence[int], outputs: Mapping[str, str]) -> bytes:
        """Return the file: token ids of `shape` in, float outputs of these names; equal graphs give equal bytes."""
        from onnx import TensorProto, checker, helper

        shown = [helper.make_node("Identity", [name], [output]) for output, name in outputs.items()]
        graph = helper.make_graph(
            self._nodes + shown,
            "network",
            [helper.make_tensor_value_info(INPUT, TensorProto.INT64, list(shape))],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, [None, None]) for output in outputs],
            self._constants,
        )
        domains = [helper.make_opsetid("", OPSET)]
        if any(node.domain for node in self._nodes):
            domains.append(helper.make_opsetid(RUNTIME_DOMAIN, 1))
        model = helper.make_model(graph, opset_imports=domains, producer_name="automl", ir_version=IR_VERSION)
        checker.check_model(model)
        return model.SerializeToString(deterministic=True)  # type: ignore[no-any-return]

    def _restored(self, matrix: np.ndarray, bits: int) -> str:
        """Return a float weight, `in x out`, that the file stores in fewer bits and the runtime restores at load."""
        if bits == 32:
            return self.constant(matrix.T)
        if bits == 16:
            return self.node("Cast", [self.constant(matrix.T.astype(np.float16))], to="FLOAT")
        code = weight_code(matrix, bits, 127, scales=self._plan.scales)
        restored = self.node("Cast", [self.integers(code.codes.T, bits)], to="FLOAT")
        return self.node("Mul", [restored, self.constant(code.scales)])

    def _dynamic_product(self, x: str, matrix: np.ndarray) -> str:
        bits = self.precision[0]
        code = weight_code(matrix, bits, self._largest_code, scales=self._plan.scales)
        rounded, scale, zero = self.nodes("DynamicQuantizeLinear", [x], 3)
        zeros = self.constant(np.zeros(code.scales.shape, np.int8))
        product = self.node("MatMulInteger", [rounded, self.integers(code.codes.T, bits), zero, zeros])
        scales = self.node("Mul", [scale, self.constant(code.scales)])
        return self.node("Mul", [self.node("Cast", [product], to="FLOAT"), scales])

    def _static_layer(self, x: str, matrix: np.ndarray, bias: np.ndarray, site: str) -> str:
        """Add the whole layer, which becomes one QGemm: its bias has 32-bit codes at the scale of the products."""
        bits = self.precision[0]
        ranges = activation_code(NOMINAL if self._codes is None else self._codes.ranges[site])
        parameters = [self.constant(ranges.scale), self.constant(ranges.zero_point)]
        rounded = self.node("DequantizeLinear", [self.node("QuantizeLinear", [x, *parameters]), *parameters])
        smallest = smallest_weight_scale(bias, ranges.scale)
        code = weight_code(matrix, bits, self._largest_code, smallest, scales=self._plan.scales)
        zeros = [self.constant(np.zeros(code.scales.shape, kind)) for kind in (np.int8, np.int32)]
        scales = self.constant(code.scales)
        weight = self.node("DequantizeLinear", [self.integers(code.codes, bits), scales, zeros[0]], axis=0)
        bias_codes, bias_scales = bias_code(bias, ranges.scale, code.scales)
        terms = [self.constant(bias_codes), self.constant(bias_scales), zeros[1]]
        return self.node("Gemm", [rounded, weight, self.node("DequantizeLinear", terms, axis=0)], transB=1)

    def _block_product(self, x: str, matrix: np.ndarray) -> str:
        (outputs, inputs), block, (bits, activation_bits) = matrix.shape, self._plan.block, self.precision
        blocks = -(-inputs // block)
        padded = np.pad(matrix, ((0, 0), (0, blocks * block - inputs)))
        code = weight_code(padded.reshape(-1, block), bits, 127)
        unsigned = (code.codes.astype(np.int16) + 2 ** (bits - 1)).astype(np.uint8).reshape(outputs, blocks, block)
        packed = unsigned if bits == 8 else unsigned[..., 0::2] | (unsigned[..., 1::2] << 4)
        return self.node(
            "MatMulNBits", [x, self.constant(packed), self.constant(code.scales)], domain=RUNTIME_DOMAIN, K=inputs,
            N=outputs, bits=bits, block_size=block,
            accuracy_level=INTEGER_COMPUTE if activation_bits == 8 else FLOAT_COMPUTE,
        )  # fmt: skip
