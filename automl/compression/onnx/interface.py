"""Give a user's ONNX file the input and output that every file of the platform has, and a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from automl.compression.onnx.graph import GraphEditor
from automl.compression.onnx.optimisation import largest_difference, random_feeds
from automl.compression.onnx.passes import run_once
from automl.compression.onnx.rewriting import at_least_opset
from automl.errors import Fault, InputError, input_error
from automl.models.deployable import INPUT, OUTPUT, Task

if TYPE_CHECKING:
    import onnx

WHERE = "the ONNX file"
OPSET = 13  # what is put in front of a model is written in
SAME = 1e-4  # how far the answers for one sample may move with the batch, of max(1, the largest)


def with_interface(model: onnx.ModelProto, task: Task) -> onnx.ModelProto:
    """Return the model from raw samples, "pixels", to "logits", every node with a name of its own.

    Raises:
        InputError: where it has several inputs or outputs, or its input is not that of the task.
    """
    model = at_least_opset(model, OPSET)
    editor = GraphEditor(model)
    given = [value for value in model.graph.input if value.name in editor.inputs]
    faults = []
    if len(given) != 1:
        faults.append(Fault(WHERE, "a model with one input", str([value.name for value in given])))
    shown = [value.name for value in model.graph.output]
    if len(shown) != 1 and OUTPUT not in shown:
        faults.append(Fault(WHERE, f'a model with one output, or one called "{OUTPUT}"', str(shown)))
    if faults:
        raise InputError(faults)
    named = _named_nodes(model)
    output = shown[0] if len(shown) == 1 else OUTPUT
    return _with_output(_with_input(named, given[0], task), output)


def is_dynamic(model: onnx.ModelProto) -> bool:
    """Tell whether the batch of a model's input is not fixed."""
    sizes = model.graph.input[0].type.tensor_type.shape.dim
    return bool(sizes) and not sizes[0].HasField("dim_value")


def rebatched(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """Return the model at this static batch, checked against the one that it had where that was static.

    Raises:
        InputError: where the model has another static batch that its nodes depend on.
    """
    first = model.graph.input[0].type.tensor_type.shape.dim[0]
    had = first.dim_value if first.HasField("dim_value") else 0
    changed = type(model)()
    changed.CopyFrom(model)
    changed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    changed.graph.ClearField("value_info")
    for value in changed.graph.output:
        value.type.tensor_type.ClearField("shape")
    if had in (0, batch):
        return changed
    try:
        difference = _moved(model, changed, had, batch)
    except Exception as error:
        raise _static(had, batch, str(error)) from error
    if not difference <= SAME:
        raise _static(had, batch, f"its answers move by {difference:.2g}")
    return changed


def _static(had: int, batch: int, reason: str) -> InputError:
    reason = " ".join(reason.split())[:200]
    return input_error(
        WHERE, f"usable at batch {batch}", f"one of static batch {had} ({reason})",
        f"Export it with a dynamic batch, or set target.batch to {had}.",
    )  # fmt: skip


def _moved(model: onnx.ModelProto, changed: onnx.ModelProto, had: int, batch: int) -> float:
    """Return how far the first answer moves when the batch changes."""
    names, feeds = [value.name for value in model.graph.output], random_feeds(model)
    ((name, samples),) = feeds.items()
    more = np.concatenate([samples] * (batch // had + 1))[:batch]
    before = run_once(model.SerializeToString(), feeds, names)
    after = run_once(changed.SerializeToString(), {name: more}, names)
    if any(len(value) != batch for value in after):
        return float("inf")
    return largest_difference([value[:1] for value in before], [value[:1] for value in after])


def _named_nodes(model: onnx.ModelProto) -> onnx.ModelProto:
    editor, seen = GraphEditor(model), set()
    for at, node in enumerate(editor.nodes()):
        if not node.name or node.name in seen:
            node.name = f"{node.name or node.op_type}_{at}"
        seen.add(node.name)
    return editor.finish()


def _with_input(model: onnx.ModelProto, value: onnx.ValueInfoProto, task: Task) -> onnx.ModelProto:
    """Return the model over raw samples; float images are normalised in front of it."""
    from onnx import TensorProto, helper

    kind = value.type.tensor_type
    element = np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type)) if kind.elem_type else np.dtype(np.float32)
    sizes = [size.dim_value if size.HasField("dim_value") else 0 for size in kind.shape.dim]
    raw = element == np.dtype(task.element) and _fits(sizes, task.input_shape)
    image = len(task.input_shape) > 1 and element == np.float32 and task.element == "uint8"
    if not raw and not (image and _fits(sizes, (task.channels, *task.input_shape[:2]))):
        floats = f", or float32 n x {(task.channels, *task.input_shape[:2])}" if len(task.input_shape) > 1 else ""
        raise input_error(
            f"input {value.name!r} of {WHERE}", f"{task.element} n x {task.input_shape}{floats}",
            f"{element} of shape {[size or '?' for size in sizes]}",
        )  # fmt: skip
    editor = GraphEditor(model)
    taken = editor.producer(INPUT) is not None or INPUT in editor.initializers()
    if taken:
        editor.rename_output(INPUT, editor.fresh(f"{INPUT}_inside"))
    if raw:
        editor.rename(value.name, INPUT)
    else:
        _normalise(editor, value.name, task)
    editor.inputs = set()
    finished = editor.finish()
    shape = [sizes[0] or "batch", *task.input_shape]
    kind_of = helper.np_dtype_to_tensor_dtype(np.dtype(task.element))
    finished.graph.input.append(helper.make_tensor_value_info(INPUT, kind_of or TensorProto.UINT8, shape))
    return finished


def _fits(sizes: Sequence[int], shape: Sequence[int]) -> bool:
    """Tell whether an input of these sizes (0: dynamic), batch first, takes samples of this shape."""
    pairs = zip(sizes[1:], shape, strict=False)
    return len(sizes) == len(shape) + 1 and all(size in (0, wanted) for size, wanted in pairs)


def _normalise(editor: GraphEditor, name: str, task: Task) -> None:
    """Put (pixels - mean) / deviation, `n x channels x h x w`, in front of what reads the input `name`."""
    from onnx import TensorProto

    readers = editor.readers(name)
    if len(task.input_shape) == 2:
        axes = editor.add_constant(np.array([1], np.int64), "channel_axis")
        raw = editor.add_node("Unsqueeze", [INPUT, axes], "image")
    else:
        raw = editor.add_node("Transpose", [INPUT], "image", perm=[0, 3, 1, 2])
    x = editor.add_node("Cast", [raw], "image_float", to=TensorProto.FLOAT)
    mean, deviation = (np.array(values, np.float32)[:, None, None] for values in (task.mean, task.deviation))
    x = editor.add_node("Sub", [x, editor.add_constant(mean, "image_mean")], "image_centred")
    x = editor.add_node("Div", [x, editor.add_constant(deviation, "image_deviation")], "image_normalised")
    for reader in readers:
        for index in [at for at, one in enumerate(reader.input) if one == name]:
            editor.set_input(reader, index, x)


def _with_output(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Return the model whose one output is called "logits"."""
    from onnx import TensorProto, helper

    editor = GraphEditor(model)
    if name != OUTPUT:
        if editor.producer(OUTPUT) is not None:
            editor.rename_output(OUTPUT, editor.fresh(f"{OUTPUT}_inside"))
        editor.pinned.discard(name)
        editor.rename_output(name, OUTPUT)
    finished = editor.finish()
    finished.graph.ClearField("output")
    finished.graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None, None]))
    return finished
