"""Optimise a graph step by step, and keep a step only where the network still answers the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from automl.compression.onnx.fusion import fold_batch_normalisation, fuse_constant_arithmetic
from automl.compression.onnx.graph import GraphEditor
from automl.compression.onnx.passes import (
    fold_constants,
    merge_duplicate_initializers,
    merge_duplicate_nodes,
    remove_dead,
    remove_identities,
    run_once,
)
from automl.errors import input_error
from automl.targets.onnxruntime_session import runtime_errors

if TYPE_CHECKING:
    import onnx

Pass = Callable[["onnx.ModelProto"], "onnx.ModelProto"]
PASSES: Mapping[str, Pass] = MappingProxyType({
    "identities removed": remove_identities,
    "constants folded": fold_constants,
    "batch normalisation folded": fold_batch_normalisation,
    "constant arithmetic fused": fuse_constant_arithmetic,
    "duplicate constants merged": merge_duplicate_initializers,
    "duplicate nodes merged": merge_duplicate_nodes,
    "dead nodes removed": remove_dead,
})  # fmt: skip
TOLERANCE = 1e-5  # of max(1, the largest magnitude of the outputs)
THROUGH = ("Cast", "Reshape", "Unsqueeze", "Squeeze", "Flatten", "Identity")


@dataclass(frozen=True)
class Step:
    """One pass: whether the graph changed, how far its outputs moved, and why it was undone if it was.

    `difference` is max |a - b| / max(1, max |a|) over all outputs on random inputs, 0 where nothing changed.
    """

    name: str
    changed: bool
    difference: float
    undone: str = ""


def optimise(content: bytes, passes: Mapping[str, Pass] = PASSES) -> tuple[bytes, tuple[Step, ...]]:
    """Return the ONNX file after all passes, and what each of them did.

    Raises:
        InputError: where the file is not a model that the runtime can run.
    """
    steps = []
    for step, after in optimisation_steps(content, passes):
        steps.append(step)
        content = after
    return content, tuple(steps)


def optimisation_steps(content: bytes, passes: Mapping[str, Pass] = PASSES) -> Iterator[tuple[Step, bytes]]:
    """Yield each step with the file after it; a step that changes the answers or fails is undone and says so.

    Raises:
        InputError: where the file is not a model that the runtime can run.
    """
    model = parse_model(content)
    feeds = random_feeds(model)
    names = [value.name for value in model.graph.output]
    try:
        expected = run_once(content, feeds, names)
    except runtime_errors() as error:
        raise input_error("the ONNX file", "one that ONNX Runtime can run", f"its error: {error}") from error
    for name, apply in passes.items():
        step, model = _stepped(name, apply, model, feeds, names, expected)
        content = model.SerializeToString(deterministic=True) if step.changed and not step.undone else content
        yield step, content


def optimised(content: bytes) -> bytes:
    """Return the ONNX file after all passes, compared once at the end; step by step where that does not hold.

    Raises:
        InputError: where the file is not a model that the runtime can run.
    """
    model = after = parse_model(content)
    feeds, names = random_feeds(model), [value.name for value in model.graph.output]
    try:
        for apply in PASSES.values():
            after = apply(after)
        cleaned: bytes = after.SerializeToString(deterministic=True)
        if largest_difference(run_once(content, feeds, names), run_once(cleaned, feeds, names)) <= TOLERANCE:
            return cleaned
    except Exception:  # noqa: BLE001 which pass fails is for the steps to find
        return optimise(content)[0]
    return optimise(content)[0]


def _stepped(
    name: str, apply: Pass, model: onnx.ModelProto, feeds: dict[str, np.ndarray], names: list[str],
    expected: list[np.ndarray],
) -> tuple[Step, onnx.ModelProto]:  # fmt: skip
    try:
        after = apply(model)
        if _same(model, after):
            return Step(name, False, 0.0), model
        difference = largest_difference(expected, run_once(after.SerializeToString(), feeds, names))
    except Exception as error:  # noqa: BLE001 a pass that fails on a user's graph must not end the study
        return Step(name, True, 0.0, f"it failed: {error}"), model
    if not difference <= TOLERANCE:
        return Step(name, True, difference, f"outputs moved by {difference:.2g}, over {TOLERANCE:g}"), model
    return Step(name, True, difference), after


def largest_difference(expected: list[np.ndarray], got: list[np.ndarray]) -> float:
    """Return the largest max |a - b| / max(1, max |a|) over pairs of outputs; infinite where shapes differ."""
    worst = 0.0
    for one, other in zip(expected, got, strict=True):
        if one.shape != other.shape:
            return float("inf")
        if one.size:
            a, b = one.astype(np.float64), other.astype(np.float64)
            worst = max(worst, float(np.abs(a - b).max() / max(1.0, np.abs(a).max())))
    return worst


def parse_model(content: bytes) -> onnx.ModelProto:
    """Return the model of an ONNX file.

    Raises:
        InputError: where the bytes are no ONNX model.
    """
    import onnx

    try:
        model = onnx.load_from_string(content)
    except Exception as error:  # protobuf's own, which is not this platform's dependency by name
        raise input_error("the ONNX file", "an ONNX model", "bytes that cannot be read as one") from error
    if not model.graph.node:
        raise input_error("the ONNX file", "a model with nodes", "none")
    return model


def random_feeds(model: onnx.ModelProto, seed: int = 0) -> dict[str, np.ndarray]:
    """Return random inputs: 0 to 255 for 8-bit pixels, indices that every embedding has, else a normal distribution.

    A dynamic axis gets one entry.
    """
    from onnx import helper

    editor, random = GraphEditor(model), np.random.default_rng(seed)
    feeds: dict[str, np.ndarray] = {}
    for value in model.graph.input:
        if value.name not in editor.inputs:
            continue
        kind = value.type.tensor_type
        shape = tuple(max(size.dim_value, 1) for size in kind.shape.dim)
        element: np.dtype[Any] = np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
        feeds[value.name] = _random(editor, value.name, shape, element, random)
    return feeds


def _random(
    editor: GraphEditor, name: str, shape: tuple[int, ...], element: np.dtype[Any], random: np.random.Generator
) -> np.ndarray:
    if element == np.bool_:
        return random.integers(0, 2, shape).astype(element)
    if element.kind in "iu":
        limit = 256 if element == np.uint8 else _vocabulary(editor, name)
        return random.integers(0, limit, shape).astype(element)
    return random.normal(size=shape).astype(element)


def _vocabulary(editor: GraphEditor, name: str) -> int:
    """Return the rows of the smallest table that is indexed by input `name`, 2 where it indexes none."""
    rows, waiting, seen = [], [name], set()
    while waiting:
        value = waiting.pop()
        seen.add(value)
        for node in editor.readers(value):
            if node.op_type == "Gather" and node.input[1] == value:
                table = editor.constant(node.input[0])
                rows += [] if table is None else [table.shape[0]]
            elif node.op_type in THROUGH and node.output[0] not in seen:
                waiting.append(node.output[0])
    return int(min(rows, default=2))


def _same(one: onnx.ModelProto, other: onnx.ModelProto) -> bool:
    """Tell whether nodes and constants are the same; a new order alone is no change."""
    if len(one.graph.node) != len(other.graph.node) or len(one.graph.initializer) != len(other.graph.initializer):
        return False
    nodes = [sorted(node.SerializeToString(deterministic=True) for node in model.graph.node) for model in (one, other)]
    stored = [sorted(tensor.name for tensor in model.graph.initializer) for model in (one, other)]
    return nodes[0] == nodes[1] and stored[0] == stored[1]
