"""The ONNX file of the nodes and initializers that a writer collected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

OPSET = 21
IR_VERSION = 10


@dataclass(frozen=True)
class Node:
    """One ONNX node with one output."""

    kind: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, object]


class Written(Protocol):
    """What a writer collected: nodes in their order, and initializers with the ONNX type that NumPy lacks, or ""."""

    @property
    def nodes(self) -> Sequence[Node]:
        """Return the nodes."""
        ...

    @property
    def initializers(self) -> Mapping[str, tuple[np.ndarray, str]]:
        """Return value and type by name."""
        ...


def packed_nibbles(codes: np.ndarray) -> bytes:
    """Return 4-bit codes two to a byte, the first one in the low half, as ONNX stores INT4 and UINT4."""
    nibbles = codes.ravel().astype(np.int8).view(np.uint8) & 0xF
    padded = np.append(nibbles, np.uint8(0)) if len(nibbles) % 2 else nibbles
    return (padded[0::2] | (padded[1::2] << 4)).astype(np.uint8).tobytes()


def serialize_graph(
    writer: Written, *, input_name: str, input_shape: Sequence[int], outputs: Mapping[str, str],
    output_rank: int | None,
) -> bytes:  # fmt: skip
    """Return the ONNX file of what the writer collected; equal graphs give equal bytes.

    Args:
        writer: the collected graph.
        input_name: of the one input, unsigned 8-bit pixels.
        input_shape: static, batch first.
        outputs: name of each float output -> name of the tensor that it shows.
        output_rank: number of axes of every output; None where they differ.

    Raises:
        onnx.checker.ValidationError: if the graph is malformed: a defect of an emitter.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def tensor(name: str, value: np.ndarray, stored_as: str) -> TensorProto:
        if not stored_as:
            return numpy_helper.from_array(value.copy(order="C"), name)
        return helper.make_tensor(name, getattr(TensorProto, stored_as), value.shape, packed_nibbles(value), raw=True)

    def make_node(node: Node) -> onnx.NodeProto:
        attributes: dict[str, Any] = dict(node.attributes)
        if node.kind == "Cast":
            attributes["to"] = getattr(TensorProto, str(attributes["to"]))
        return helper.make_node(node.kind, node.inputs, [node.output], **attributes)

    axes = None if output_rank is None else [None] * output_rank
    shown = [helper.make_node("Identity", [name], [output]) for output, name in outputs.items()]
    graph = helper.make_graph(
        [make_node(node) for node in writer.nodes] + shown,
        "network",
        [helper.make_tensor_value_info(input_name, TensorProto.UINT8, list(input_shape))],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, axes) for output in outputs],
        [tensor(name, value, stored_as) for name, (value, stored_as) in writer.initializers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="automl")
    model.ir_version = IR_VERSION
    if output_rank is not None:  # the checker knows no output of unknown rank; the runtime does
        onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)  # type: ignore[no-any-return]
