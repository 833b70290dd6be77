"""Passes that clean a graph: identities, constants, duplicates, what is dead. Each takes a model and returns one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from automl.compression.onnx.graph import GraphEditor, attribute, has_nested_graph, tensor_bytes

if TYPE_CHECKING:
    import onnx

RANDOM = frozenset(
    ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli")
)
STORED = frozenset(("DequantizeLinear", "QuantizeLinear"))  # folding would undo a quantized format
SMALL_BYTES = 128  # a constant of this size may be stored, whatever it is computed from


def remove_identities(model: onnx.ModelProto) -> onnx.ModelProto:
    """Take out nodes that return their first input: Identity, Dropout in inference, concatenations of one value."""
    editor = GraphEditor(model)
    for node in editor.nodes("Identity", "Dropout", "Concat", "Sum", "Max", "Min", "Transpose"):
        if not _returns_its_input(editor, node):
            continue
        source, output = node.input[0], node.output[0]
        if output not in editor.pinned:
            editor.rename(output, source)
            editor.remove(node)
        elif source not in editor.pinned and editor.producer(source) is not None:
            editor.remove(node)
            editor.rename_output(source, output)
    return editor.finish()


def _returns_its_input(editor: GraphEditor, node: onnx.NodeProto) -> bool:
    if node.op_type == "Identity":
        return True
    if node.op_type == "Dropout":
        mask_is_read = len(node.output) > 1 and bool(editor.readers(node.output[1]))
        training = editor.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        computed = len(node.input) > 2 and bool(node.input[2]) and training is None
        return not mask_is_read and not computed and not bool(training)
    if node.op_type == "Transpose":
        order = attribute(node, "perm")
        return order is not None and list(order) == sorted(order)
    return len(node.input) == 1


def fold_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """Compute once what depends on constants only, shapes that are known included.

    A result is stored only where it takes no more bytes than what it is computed from (or very few): weights that
    are stored in few bits and widened at load stay as they are, and so do integer codes.
    """
    while True:
        editor = GraphEditor(model)
        changed = _fold_shapes(editor, model)
        changed |= _fold_values(editor, model)
        model = editor.finish()
        if not changed:
            return model


def _fold_shapes(editor: GraphEditor, model: onnx.ModelProto) -> bool:
    nodes = editor.nodes("Shape")
    shapes = known_shapes(model) if nodes else {}
    folded = False
    for node in nodes:
        shape = shapes.get(node.input[0])
        if shape is not None and node.output[0] not in editor.pinned:
            part = slice(attribute(node, "start", 0), attribute(node, "end"))
            _replace(editor, node, np.array(shape[part], np.int64))
            folded = True
    return folded


def _fold_values(editor: GraphEditor, model: onnx.ModelProto) -> bool:
    nodes = [node for node in _constant_nodes(editor) if node.output[0] not in editor.pinned]
    values = _computed(model, nodes, editor) if nodes else {}
    stored = {name: tensor_bytes(tensor) for name, tensor in editor.initializers().items()}
    folded = False
    for node in nodes:
        name = node.output[0]
        source = sum(stored.get(one, 0) for one in set(node.input))
        value = values[name]
        if node.op_type == "Constant" or value.nbytes <= max(source, SMALL_BYTES):
            _replace(editor, node, value)
            stored[name], folded = value.nbytes, True
        else:
            stored[name] = source
    return folded


def _constant_nodes(editor: GraphEditor) -> list[onnx.NodeProto]:
    """Return the nodes that depend on constants only, each after what it reads."""
    known, found = set(editor.initializers()), []
    for node in editor.sorted_nodes():
        constant = all(name in known for name in node.input if name) and len(node.output) == 1
        if constant and node.op_type not in RANDOM | STORED and not node.domain and not has_nested_graph(node):
            known.add(node.output[0])
            found.append(node)
    return found


def _computed(model: onnx.ModelProto, nodes: list[onnx.NodeProto], editor: GraphEditor) -> dict[str, np.ndarray]:
    """Return what these nodes compute, from one run of the runtime."""
    from onnx import helper

    read = {name for node in nodes for name in node.input if name}
    part = type(model)()
    part.ir_version = model.ir_version
    part.opset_import.extend(model.opset_import)
    outputs = [helper.make_empty_tensor_value_info(node.output[0]) for node in nodes]
    given = [tensor for name, tensor in editor.initializers().items() if name in read]
    part.graph.CopyFrom(helper.make_graph(nodes, "constants", [], outputs, given))
    names = [node.output[0] for node in nodes]
    return dict(zip(names, run_once(part.SerializeToString(), {}, names), strict=True))


def _replace(editor: GraphEditor, node: onnx.NodeProto, value: np.ndarray) -> None:
    name = editor.add_constant(value, node.output[0])
    editor.rename(node.output[0], name)
    editor.remove(node)


def merge_duplicate_nodes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Compute once what several nodes compute: equal kind, inputs and attributes."""
    editor = GraphEditor(model)
    first: dict[tuple[Any, ...], onnx.NodeProto] = {}
    for node in editor.sorted_nodes():
        if node.op_type in RANDOM or has_nested_graph(node):
            continue
        attributes = tuple(sorted(entry.SerializeToString(deterministic=True) for entry in node.attribute))
        shown = tuple(bool(name) for name in node.output)
        same = first.setdefault((node.domain, node.op_type, tuple(node.input), attributes, shown), node)
        if same is not node and not editor.pinned & set(node.output):
            for own, other in zip(node.output, same.output, strict=True):
                editor.rename(own, other)
            editor.remove(node)
    return editor.finish()


def merge_duplicate_initializers(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store equal constants once."""
    editor = GraphEditor(model)
    first: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    for name, tensor in editor.initializers().items():
        same = first.setdefault((tensor.data_type, tuple(tensor.dims), _content(tensor)), name)
        if same != name:
            editor.rename(name, same)
    return editor.finish()


def _content(tensor: onnx.TensorProto) -> bytes:
    """Return the tensor without its name, as bytes; raw storage and typed fields give the same."""
    from onnx import TensorProto, numpy_helper

    if tensor.data_type == TensorProto.STRING:
        text: bytes = tensor.SerializeToString(deterministic=True)
        return text
    content: bytes = tensor.raw_data if tensor.HasField("raw_data") else numpy_helper.to_array(tensor).tobytes()
    return content


def remove_dead(model: onnx.ModelProto) -> onnx.ModelProto:
    """Take out nodes whose results nobody reads, and constants that nobody uses."""
    editor = GraphEditor(model)
    for node in reversed(editor.sorted_nodes()):
        if not any(editor.readers(name) or name in editor.pinned for name in node.output if name):
            editor.remove(node)
    editor.drop_unread_initializers()
    return editor.finish()


def known_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Return the static shape of every value for which ONNX's own inference finds one."""
    shapes: dict[str, tuple[int, ...]] = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    for value in known_types(model):
        kind = value.type.tensor_type
        if kind.HasField("shape") and all(size.HasField("dim_value") for size in kind.shape.dim):
            shapes[value.name] = tuple(size.dim_value for size in kind.shape.dim)
    return shapes


def known_types(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Return what ONNX's own inference finds of every value; large constants take part by type and shape alone."""
    from onnx import helper, shape_inference

    light = type(model)()
    light.ir_version = model.ir_version
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    light.graph.name = model.graph.name
    for field in ("node", "input", "output"):
        getattr(light.graph, field).extend(getattr(model.graph, field))
    given = {value.name for value in model.graph.input}
    for tensor in model.graph.initializer:
        if tensor_bytes(tensor) <= SMALL_BYTES:
            light.graph.initializer.append(tensor)
        elif tensor.name not in given:
            light.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    graph = shape_inference.infer_shapes(light, data_prop=True).graph
    return [*graph.input, *graph.value_info, *graph.output]


def run_once(content: bytes, feeds: dict[str, np.ndarray], names: list[str]) -> list[np.ndarray]:
    """Return the named outputs of a model that ONNX Runtime runs as it is, without optimising it.

    Raises:
        onnxruntime's errors: where it cannot run the model.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return list(session.run(names, feeds))
