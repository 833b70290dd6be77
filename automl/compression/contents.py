"""What a file really holds once the runtime has made its graph of it."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

ENTRY, EXIT = "DequantizeLinear", "QuantizeLinear"
INTEGER_KERNELS = ("QLinear", "QGemm", "MatMulInteger", "ConvInteger", "DynamicQuantize", "QAttention")


@dataclass(frozen=True)
class GraphContents:
    """What a file holds.

    `kernels` counts the nodes by kind after the runtime's optimisation. A float island is a connected piece of
    floating-point kernels between integer ones, as the kinds of its nodes: each costs two conversions. `stored_bytes`
    are those of the file's initializers by ONNX type (two 4-bit codes are one byte), `file_bytes` those of the whole.
    """

    kernels: Mapping[str, int]
    float_islands: tuple[tuple[str, ...], ...]
    stored_bytes: Mapping[str, int]
    file_bytes: int

    @property
    def integer_kernels(self) -> int:
        """Return the number of nodes that compute in integers."""
        return sum(count for kind, count in self.kernels.items() if is_integer(kind))


def graph_contents(content: bytes) -> GraphContents:
    """Return what a plain ONNX file holds and what ONNX Runtime makes of it on this machine's CPU."""
    import onnx

    graph = optimized_model(content).graph
    counts = Counter(node.op_type for node in graph.node)
    stored = _stored_bytes(onnx.load_from_string(content).graph.initializer)
    return GraphContents(dict(sorted(counts.items())), _islands(graph), stored, len(content))


def optimized_model(content: bytes) -> onnx.ModelProto:
    """Return the graph that ONNX Runtime executes for a plain ONNX file, at the level at which it is served."""
    import onnx
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimized.onnx"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        return onnx.load(str(path))


def is_integer(kind: str) -> bool:
    """Tell whether a kernel of this kind computes in integers."""
    return kind.startswith(INTEGER_KERNELS)


def _stored_bytes(initializers: Iterable[onnx.TensorProto]) -> dict[str, int]:
    from onnx import TensorProto, helper

    totals: Counter[str] = Counter()
    for tensor in initializers:
        name = TensorProto.DataType.Name(tensor.data_type)
        count = 1
        for length in tensor.dims:
            count *= length
        half = name in ("INT4", "UINT4")
        totals[name] += (count + 1) // 2 if half else count * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return dict(sorted(totals.items()))


def _islands(graph: onnx.GraphProto) -> tuple[tuple[str, ...], ...]:
    """Return the connected pieces of float nodes that both read codes and are turned into codes again."""
    nodes = [node for node in graph.node if not is_integer(node.op_type) and node.op_type not in (ENTRY, EXIT)]
    left = {node.output[0] for node in graph.node if node.op_type == ENTRY}
    entered = {node.input[0] for node in graph.node if node.op_type == EXIT}
    pieces = []
    for piece in _connected(nodes):
        reads = {name for node in piece for name in node.input}
        writes = {name for node in piece for name in node.output}
        if reads & left and writes & entered:
            pieces.append(tuple(node.op_type for node in piece))
    return tuple(pieces)


def _connected(nodes: list[onnx.NodeProto]) -> list[list[onnx.NodeProto]]:
    """Return the nodes in pieces that hang together by what one writes and another reads, in their order."""
    pieces: list[tuple[set[str], list[onnx.NodeProto]]] = []
    for node in nodes:  # a graph's nodes come in the order of their computation
        touched = [piece for piece in pieces if piece[0] & set(node.input)]
        names = set(node.output).union(*(piece[0] for piece in touched))
        members = [member for piece in touched for member in piece[1]]
        pieces = [piece for piece in pieces if piece not in touched]
        pieces.append((names, [*members, node]))
    return [members for _, members in pieces]
