"""A user's module as a graph: symbolic tracing, the values of one run, and where in the code an operation stands."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import fx, nn

from automl.errors import Fault, InputError
from automl.models.operations import Depthwise

TRACED_BATCH = 2  # more than one, so that an operation that mixes up samples shows it
TRACE_FAILURES = (
    fx.proxy.TraceError, TypeError, ValueError, RuntimeError, AttributeError, NotImplementedError, KeyError, IndexError,
    AssertionError,
)  # fmt: skip
LINE = "line"  # of a node's meta data
LIBRARIES = (str(Path(torch.__file__).parent), __file__)
REMEDY = "It is exported by torch instead; name model.stages to give its parts bits of their own."


class UntraceableError(InputError):
    """A module whose graph cannot be written node by node; each fault names an operation and its line."""


@dataclass(frozen=True)
class Call:
    """An operation of a traced graph with what it gave for a batch of zeros.

    `value` is a tensor, or any other Python value that later operations take; `same_as` names the operation whose very
    tensor it returned, empty where it made a new one. `scope` holds the dotted paths of the modules around it,
    outermost first, and ends with its own where it is a layer's. `alive` says that the answer depends on it.
    """

    node: fx.Node
    value: Any
    same_as: str
    scope: tuple[str, ...]
    alive: bool


def trace_calls(module: nn.Module, image_shape: Sequence[int]) -> tuple[Call, ...]:
    """Return the operations of `module` in order, run on a batch of zeros.

    Args:
        module: in evaluation mode.
        image_shape: channels x height x width.

    Raises:
        UntraceableError: where the graph depends on values, or the run fails.
    """
    parameter = next(module.parameters(), torch.zeros(()))
    example = torch.zeros(TRACED_BATCH, *image_shape, dtype=parameter.dtype)
    try:
        graph = _Tracer().trace(module)
        recorder = _Recorder(fx.GraphModule(module, graph))
        with torch.inference_mode():
            recorder.run(example)
    except TRACE_FAILURES as error:
        raise UntraceableError([_trace_fault(module, error)]) from error
    alive = _alive(graph)
    return tuple(
        Call(node, recorder.values[node.name], recorder.same_as.get(node.name, ""), _scope(node), node in alive)
        for node in graph.nodes
        if node.op != "output"
    )


def _alive(graph: fx.Graph) -> set[fx.Node]:
    """Return the nodes that the output depends on."""
    found: set[fx.Node] = set()
    for node in reversed(graph.nodes):
        if node.op == "output" or node in found:
            found.update(node.all_input_nodes)
    return found


class _Tracer(fx.Tracer):
    """Keeps torch's own layers and our depthwise convolution whole, and notes the user's line of each operation."""

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(*args, **kwargs)
        node.meta[LINE] = _calling_line(inspect.currentframe())
        return node

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, Depthwise) or super().is_leaf_module(m, module_qualified_name)


class _Recorder(fx.Interpreter):
    """Runs a graph and keeps every value."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module, garbage_collect_values=False)
        self.values: dict[str, Any] = {}
        self.same_as: dict[str, str] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        for source in n.all_input_nodes:
            if value is self.values[source.name] and isinstance(value, torch.Tensor):
                self.same_as[n.name] = source.name
        self.values[n.name] = value
        return value


def _scope(node: fx.Node) -> tuple[str, ...]:
    stack = node.meta.get("nn_module_stack", {})
    paths = tuple(str(entry[0]) for entry in stack.values() if entry[0])
    own = str(node.target)
    return paths if node.op != "call_module" or own in paths else (*paths, own)


def _trace_fault(module: nn.Module, error: BaseException) -> Fault:
    frames = traceback.extract_tb(error.__traceback__)
    where = _line(frames) or type(module).__name__
    text = " ".join(str(error).split())[:300]
    return Fault(f"the model, {where}", "traceable for every input alike", f"{type(error).__name__}: {text}", REMEDY)


def _calling_line(frame: FrameType | None) -> str:
    """Return "FILE line N" of the innermost frame that is neither torch's nor ours, "" where there is none."""
    while frame is not None and _is_library(frame.f_code.co_filename):
        frame = frame.f_back
    return "" if frame is None else f"{frame.f_code.co_filename} line {frame.f_lineno}"


def _line(frames: Sequence[traceback.FrameSummary]) -> str:
    own = [frame for frame in frames if not _is_library(frame.filename)]
    return f"{own[-1].filename} line {own[-1].lineno}" if own else ""


def _is_library(filename: str) -> bool:
    return filename.startswith(LIBRARIES)
