"""What a graph holds, node by node: shapes, parameters, multiply-adds, bytes, in floating point and quantized."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from automl.compression.onnx.graph import GraphEditor, attribute
from automl.compression.onnx.optimisation import parse_model, random_feeds
from automl.compression.onnx.passes import known_shapes, run_once
from automl.targets.onnxruntime_session import runtime_errors

if TYPE_CHECKING:
    import onnx

Shapes = Mapping[str, tuple[int, ...]]

# Which inputs of a kind are learned; of every other kind none are.
LEARNED: Mapping[str, tuple[int, ...]] = {
    "Conv": (1, 2), "ConvTranspose": (1, 2), "FusedConv": (1, 2), "ConvInteger": (1,), "QLinearConv": (3, 8),
    "Gemm": (0, 1, 2), "QGemm": (3, 6), "MatMul": (0, 1), "FusedMatMul": (0, 1), "MatMulInteger": (0, 1),
    "QLinearMatMul": (0, 3), "DynamicQuantizeMatMul": (1, 4), "MatMulIntegerToFloat": (1, 6), "MatMulNBits": (1,),
    "LSTM": (1, 2, 3), "GRU": (1, 2, 3), "RNN": (1, 2, 3), "DynamicQuantizeLSTM": (1, 2, 3),
    "BatchNormalization": (1, 2), "InstanceNormalization": (1, 2), "LayerNormalization": (1, 2),
    "GroupNormalization": (1, 2), "SkipLayerNormalization": (2, 3, 4), "PRelu": (1,), "Gather": (0,),
    "Add": (0, 1), "Mul": (0, 1),
}  # fmt: skip
GATES: Mapping[str, int] = {"LSTM": 4, "DynamicQuantizeLSTM": 4, "GRU": 3, "RNN": 1}
PRODUCTS = frozenset(
    ("MatMul", "FusedMatMul", "MatMulInteger", "QLinearMatMul", "DynamicQuantizeMatMul", "MatMulIntegerToFloat")
)
CONVERSIONS = frozenset(("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"))


@dataclass(frozen=True)
class LayerFacts:
    """One node that computes activations.

    `name` is that of the node, or of its result where it has none; `shape` that of its first output, empty where it
    is not static. `parameters` counts learned numbers, however few bits they are stored in; batch statistics and
    the scales of integer codes are none. `size_bytes` is what the file stores for them, scales included; what
    several nodes share is counted at the first one.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    size_bytes: int


@dataclass(frozen=True)
class GraphFacts:
    """The totals of a file; `nodes` counts every node, those that only prepare constants included."""

    nodes: int
    parameters: int
    multiply_adds: int
    size_bytes: int


def graph_facts(content: bytes) -> GraphFacts:
    """Return the totals of an ONNX file."""
    model = parse_model(content)
    layers = _layer_facts(model)
    parameters = sum(layer.parameters for layer in layers)
    return GraphFacts(len(model.graph.node), parameters, multiply_adds(layers), len(content))


def multiply_adds(layers: tuple[LayerFacts, ...]) -> int:
    """Return the multiply-adds of all layers."""
    return sum(layer.multiply_adds for layer in layers)


def layer_facts(content: bytes) -> tuple[LayerFacts, ...]:
    """Return one entry for each node that computes activations, in the order in which they run.

    Quantize and dequantize nodes and nodes that only prepare constants have none; what they store counts at the
    layer that reads it.

    Raises:
        InputError: where the bytes are no ONNX model.
    """
    return _layer_facts(parse_model(content))


def _layer_facts(model: onnx.ModelProto) -> tuple[LayerFacts, ...]:
    editor, shapes = GraphEditor(model), value_shapes(model)
    constant = _constant_names(editor)
    counted: set[str] = set()
    facts = []
    for node in editor.sorted_nodes():
        if node.output[0] in constant or node.op_type in CONVERSIONS:
            continue
        learned = list(_learned(editor, node, constant, shapes))
        stored = {source for name in learned for source in _sources(editor, name)} - counted
        counted |= stored
        facts.append(
            LayerFacts(
                node.name or node.output[0],
                node.op_type,
                shapes.get(node.output[0], ()),
                sum(_elements(node, name, shapes) for name in learned if name not in counted or name in stored),
                _multiply_adds(node, shapes),
                sum(editor.stored_bytes(name) for name in stored),
            )
        )
        counted |= set(learned)
    return tuple(facts)


def value_shapes(model: onnx.ModelProto) -> Shapes:
    """Return the static shape of every value: inferred, and where inference knows an operator not, from one run."""
    from onnx import helper

    shapes = known_shapes(model)
    missing = [name for node in model.graph.node for name in node.output if name and name not in shapes]
    if not missing:
        return shapes
    shown = type(model)()
    shown.CopyFrom(model)
    graph_outputs = {value.name for value in model.graph.output}
    shown.graph.output.extend(helper.make_empty_tensor_value_info(one) for one in missing if one not in graph_outputs)
    try:
        values = run_once(shown.SerializeToString(), random_feeds(model), missing)
    except runtime_errors():  # what cannot be run is shown without the shapes that only a run tells
        return shapes
    return {**shapes, **{name: tuple(value.shape) for name, value in zip(missing, values, strict=True)}}


def _constant_names(editor: GraphEditor) -> set[str]:
    """Return the names of what depends on constants only."""
    known = set(editor.initializers())
    for node in editor.sorted_nodes():
        if all(name in known for name in node.input if name) and not node.op_type.startswith("Random"):
            known |= {name for name in node.output if name}
    return known


def _learned(editor: GraphEditor, node: onnx.NodeProto, constant: set[str], shapes: Shapes) -> Iterator[str]:
    """Yield the names of the node's learned inputs; a single number, or what multiplies a dynamic scale, is none."""
    if node.op_type == "Mul" and any(_is_dynamic_scale(editor, name) for name in node.input):
        return
    for index in LEARNED.get(node.op_type, ()):
        name = node.input[index] if index < len(node.input) else ""
        alone = node.op_type in ("Add", "Mul") and math.prod(shapes.get(name, ())) == 1
        if name in constant and not alone and not (node.op_type == "Gather" and len(shapes.get(name, ())) < 2):
            yield name


def _is_dynamic_scale(editor: GraphEditor, name: str) -> bool:
    producer = editor.producer(name)
    return producer is not None and producer.op_type == "DynamicQuantizeLinear"


def _sources(editor: GraphEditor, name: str) -> Iterator[str]:
    """Yield the initializers that a constant is computed from."""
    node = editor.producer(name)
    if node is None or node.op_type == "Constant":
        yield name
        return
    for source in node.input:
        if source:
            yield from _sources(editor, source)


def _elements(node: onnx.NodeProto, name: str, shapes: Shapes) -> int:
    if node.op_type == "MatMulNBits":
        return int(attribute(node, "K") * attribute(node, "N"))
    return math.prod(shapes.get(name, (0,)))


def _multiply_adds(node: onnx.NodeProto, shapes: Shapes) -> int:
    """Return the multiply-adds of layers and matrix products; elementwise arithmetic has none."""
    kind, output = node.op_type, shapes.get(node.output[0], ())
    first = shapes.get(node.input[0], ()) if node.input else ()
    if kind in ("Conv", "FusedConv", "ConvInteger", "QLinearConv"):
        weight = shapes.get(node.input[3 if kind == "QLinearConv" else 1], ())
        return math.prod(output) * math.prod(weight[1:]) if output and weight else 0
    if kind == "ConvTranspose":
        return math.prod(first) * math.prod(shapes.get(node.input[1], ())[1:]) if first else 0
    if kind in ("Gemm", "QGemm"):
        inner = first[0 if attribute(node, "transA", 0) else 1] if len(first) == 2 else 0
        return math.prod(output) * inner if output else 0
    if kind in PRODUCTS and first and output:
        return math.prod(output) * first[-1]
    if kind == "MatMulNBits" and output:
        return math.prod(output) * int(attribute(node, "K"))
    if kind in GATES:
        return _recurrent_multiply_adds(node, first)
    return 0


def _recurrent_multiply_adds(node: onnx.NodeProto, sequence: tuple[int, ...]) -> int:
    if len(sequence) != 3:
        return 0
    (steps, batch, inputs), hidden = sequence, int(attribute(node, "hidden_size", 0))
    directions = 2 if attribute(node, "direction", b"forward") == b"bidirectional" else 1
    return steps * batch * directions * GATES[node.op_type] * hidden * (inputs + hidden)
