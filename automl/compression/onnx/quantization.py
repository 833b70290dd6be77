"""Quantize an ONNX graph that our own writer did not write, stage by stage, as a plan says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from automl.candidate import QuantizationPlan
from automl.compression.onnx.dynamic import DynamicQuantizer
from automl.compression.onnx.graph import GraphEditor
from automl.compression.onnx.optimisation import parse_model
from automl.compression.onnx.passes import known_types
from automl.compression.onnx.rewriting import (
    at_least_opset,
    gemms_to_matmuls,
    means_to_pools,
    plain_gemms,
)
from automl.compression.onnx.static import StaticQuantizer, site_names
from automl.compression.onnx.weights import WEIGHTS, WeightStore, multiply_in_blocks, weight_inputs
from automl.errors import Fault, InputError, input_error
from automl.models.number_formats import Codes

if TYPE_CHECKING:
    import onnx

WEIGHT_BITS, ACTIVATION_BITS = (4, 8, 16, 32), (8, 32)
OPSET = 13  # the first with a scale a channel
INT4_OPSET, INT4_IR_VERSION = 21, 10  # the first with 4-bit integers
SMALLEST_BLOCK = 16  # weights, of the runtime's kernel

StageOf = Callable[[str], int]


@dataclass(frozen=True)
class _Request:
    plan: QuantizationPlan
    codes: Codes | None
    stage_of: StageOf
    largest_code: int

    def pair(self, node: onnx.NodeProto) -> tuple[int, int]:
        """Return the (weight bits, activation bits) of a node's stage."""
        return self.plan.pairs()[self.stage_of(node.name)]


def quantize_onnx(
    content: bytes, plan: QuantizationPlan, *, codes: Codes | None, stage_of: StageOf, largest_code: int
) -> bytes:
    """Return the ONNX file with the weights and activations of each stage as the plan says.

    (w, 8) computes in integers: static with calibrated ranges, or "dynamic" for matrix products and LSTM, where all
    other weights are stored in w bits. (16, 32), (8, 32) and (4, 32) store weights that the runtime restores at load;
    with a block, linear layers get the runtime's block-wise kernel instead.

    Args:
        content: a floating-point file, cleaned by `automl.compression.onnx.optimisation`.
        plan: bits by stage and how weights are coded.
        codes: calibrated on the sites of `observed_file`; None writes nominal ranges: the same graph.
        stage_of: the stage of a node, by its name.
        largest_code: of 8-bit weights that compute in integers: 127, or 64 where the target's kernels saturate.

    Raises:
        InputError: where the plan asks for what no graph of this kind can hold, the model has no layer to quantize,
            or the calibration is another graph's.
    """
    check_plan(plan)
    request = _Request(plan, codes, stage_of, largest_code)
    if all(pair == (32, 32) for pair in plan.pairs()):
        return content
    has_int4 = 4 in plan.weight_bits
    model = prepared(parse_model(content), INT4_OPSET if has_int4 else OPSET)
    if plan.activations == "dynamic" or plan.block:
        model = _gemms_as_matmuls(model, request)
    editor = GraphEditor(model)
    changed = _quantize_integers(editor, model, request) + _store_weights(editor, request)
    if not changed:
        kinds = sorted({node.op_type for node in editor.nodes()})
        raise input_error(
            "the model to quantize", f"one with a layer for it ({', '.join(WEIGHTS)}) in a quantized stage",
            f"one of {', '.join(kinds)}",
        )  # fmt: skip
    finished = editor.finish()
    if has_int4:
        finished.ir_version = max(finished.ir_version, INT4_IR_VERSION)
    return finished.SerializeToString(deterministic=True)  # type: ignore[no-any-return]


def observed_file(content: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Return the file that shows every site as an output, and their names: what `Codes` are calibrated on."""
    from onnx import helper

    model = prepared(parse_model(content))
    names = site_names(GraphEditor(model), float_values(model))
    shown = type(model)()
    shown.CopyFrom(model)
    present = {value.name for value in model.graph.output}
    shown.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names if name not in present)
    return shown.SerializeToString(deterministic=True), names


def prepared(model: onnx.ModelProto, version: int = OPSET) -> onnx.ModelProto:
    """Return the model as quantization reads it: operators of this version, plain Gemm, pools for spatial means."""
    return plain_gemms(means_to_pools(at_least_opset(model, version)))


def check_plan(plan: QuantizationPlan) -> None:
    """Refuse what cannot be done to a graph that our own writer did not write.

    Raises:
        InputError: with all faults.
    """
    faults = []
    if plan.weights != "uniform":
        remedy = "The levels of other codes are written by our own graph writer only."
        faults.append(Fault("quantization.weights", '"uniform" for this model', f'"{plan.weights}"', remedy))
    if plan.training != "none":
        remedy = "What the exported graph rounds is not known while it trains."
        faults.append(Fault("quantization.training", '"none" for this model', f'"{plan.training}"', remedy))
    for weight, activation in dict.fromkeys(plan.pairs()):
        if weight not in WEIGHT_BITS or activation not in ACTIVATION_BITS or (activation == 8 and weight > 8):
            got = f"({weight}, {activation})"
            expected = "(32, 32), (16, 32), (8, 32), (4, 32), (8, 8) or (4, 8) in every stage"
            faults.append(Fault("the (weight, activation) bits", expected, got))
    if plan.block and (plan.block < SMALLEST_BLOCK or plan.block & (plan.block - 1)):
        expected = f"0 or a power of two from {SMALLEST_BLOCK} up"
        faults.append(Fault("quantization.block", expected, str(plan.block)))
    if plan.activations == "dynamic" and any(pair == (4, 8) for pair in plan.pairs()):
        faults.append(Fault("weight bits of a dynamic stage", "8", "4", "The dynamic kernels take 8-bit weights."))
    if faults:
        raise InputError(faults)


def float_values(model: onnx.ModelProto) -> set[str]:
    """Return the names of the values in single precision."""
    from onnx import TensorProto

    return {value.name for value in known_types(model) if value.type.tensor_type.elem_type == TensorProto.FLOAT}


def _gemms_as_matmuls(model: onnx.ModelProto, request: _Request) -> onnx.ModelProto:
    """Rewrite the Gemm nodes of the stages whose kernels take MatMul."""
    dynamic, block = request.plan.activations == "dynamic", request.plan.block

    def wanted(node: onnx.NodeProto) -> bool:
        weight, activation = request.pair(node)
        return (dynamic and activation == 8) or (bool(block) and activation == 32 and weight < 16)

    return gemms_to_matmuls(model, wanted)


def _quantize_integers(editor: GraphEditor, model: onnx.ModelProto, request: _Request) -> int:
    """Rewrite what computes in integers and return how many kernels that are."""
    if request.plan.activations == "dynamic":
        return _quantize_dynamically(editor, request)

    pairs = {id(node): request.pair(node) for node in editor.nodes()}

    def bits(node: onnx.NodeProto) -> int | None:
        weight, activation = pairs.get(id(node), (32, 32))
        return weight if activation == 8 else None

    quantizer = StaticQuantizer(
        editor, float_values(model), bits, request.codes, request.largest_code, request.plan.scales
    )
    return quantizer.rewrite()


def _quantize_dynamically(editor: GraphEditor, request: _Request) -> int:
    quantizer = DynamicQuantizer(editor, request.largest_code, request.plan.scales)
    layers = [
        node for node in editor.nodes("MatMul", "LSTM") if request.pair(node)[1] == 8 and weight_inputs(editor, node)
    ]
    for node in layers:
        if node.op_type == "MatMul":
            quantizer.multiply(node)
        else:
            quantizer.recur(node)
    if not layers and 8 in request.plan.activation_bits:
        raise input_error(
            "the model to quantize", "one with a MatMul, Gemm or LSTM in a stage of dynamic int8", "one without",
            "The runtime has dynamic kernels for these only.",
        )  # fmt: skip
    return len(layers)


def _store_weights(editor: GraphEditor, request: _Request) -> int:
    """Store the weights that stay in floating point in fewer bits; return how many layers that are."""
    store, changed = WeightStore(editor, request.plan.scales), 0
    for node in editor.nodes(*WEIGHTS):
        weight_bits, activation_bits = request.pair(node)
        if weight_bits == 32:
            continue
        in_blocks = request.plan.block and activation_bits == 32 and weight_bits < 16 and node.op_type == "MatMul"
        if in_blocks and _is_matrix(editor, node):
            multiply_in_blocks(editor, node, weight_bits, request.plan.block)
            changed += 1
        else:
            changed += store.store(node, weight_bits)
    return changed


def _is_matrix(editor: GraphEditor, node: onnx.NodeProto) -> bool:
    weight = editor.constant(node.input[1])
    return weight is not None and weight.ndim == 2 and weight.dtype == np.float32 and bool(weight_inputs(editor, node))
