"""An ONNX graph that can be edited: who makes a value, who reads it, what is constant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx


class GraphEditor:
    """A copy of a model's main graph to edit; `finish` returns the edited model, nodes in topological order.

    `pinned` holds the names that must stay: those of graph outputs, and of what nested graphs (If, Loop) read.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model, graph = model, model.graph
        self._nodes: dict[int, onnx.NodeProto] = {id(node): node for node in _copies(graph.node)}
        self._initializers: dict[str, onnx.TensorProto] = {tensor.name: tensor for tensor in graph.initializer}
        self._domains: list[str] = []
        self.inputs = {value.name for value in graph.input} - self._initializers.keys()
        self.pinned = {value.name for value in graph.output} | set(_nested_names(graph.node))
        self._producers: dict[str, onnx.NodeProto] = {}
        self._readers: dict[str, dict[int, onnx.NodeProto]] = {}
        for node in self._nodes.values():
            self._enter(node)
        self._names = set(self._producers) | set(self._readers) | set(self._initializers) | self.inputs

    @property
    def opset(self) -> int:
        """Return the version of ONNX's own operators."""
        return opset_of(self._model)

    def nodes(self, *kinds: str) -> list[onnx.NodeProto]:
        """Return the nodes of these kinds, of every kind where none is named, as they stand now."""
        return [node for node in self._nodes.values() if not kinds or node.op_type in kinds]

    def holds(self, node: onnx.NodeProto) -> bool:
        """Tell whether the node still is in the graph."""
        return id(node) in self._nodes

    def constant(self, name: str) -> np.ndarray | None:
        """Return the value of an initializer or of a Constant node; None for what is computed or given."""
        from onnx import numpy_helper

        if name in self._initializers:
            return numpy_helper.to_array(self._initializers[name])
        node = self._producers.get(name)
        if node is not None and node.op_type == "Constant" and node.attribute[0].name == "value":
            return numpy_helper.to_array(node.attribute[0].t)
        return None

    def stored_bytes(self, name: str) -> int:
        """Return the bytes of an initializer or of a Constant node, 0 for any other name."""
        tensor = self._initializers.get(name)
        if tensor is not None:
            return tensor_bytes(tensor)
        value = self.constant(name)
        return 0 if value is None else value.nbytes

    def initializers(self) -> dict[str, onnx.TensorProto]:
        """Return the stored constants by name."""
        return dict(self._initializers)

    def producer(self, name: str) -> onnx.NodeProto | None:
        """Return the node that computes a value; None for inputs and initializers."""
        return self._producers.get(name)

    def readers(self, name: str) -> list[onnx.NodeProto]:
        """Return the nodes of the main graph that read a value."""
        return list(self._readers.get(name, {}).values())

    def only_reader(self, name: str) -> onnx.NodeProto | None:
        """Return the node that alone reads a value, once; None where others do or the value is pinned."""
        readers = self.readers(name)
        if name in self.pinned or len(readers) != 1 or list(readers[0].input).count(name) != 1:
            return None
        return readers[0]

    def add_constant(self, value: np.ndarray, prefix: str = "constant") -> str:
        """Store a constant under a new name and return the name."""
        from onnx import numpy_helper

        return self.add_tensor(numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape)), prefix)

    def give_constant(self, node: onnx.NodeProto, index: int, value: np.ndarray, prefix: str) -> None:
        """Let a node read a new constant, under the name of the old one where nobody else reads that."""
        old = node.input[index] if index < len(node.input) else ""
        alone = old in self._initializers and self.only_reader(old) is node
        if alone:
            self._names.discard(old)
        self.set_input(node, index, self.add_constant(value, old or prefix))

    def add_tensor(self, tensor: onnx.TensorProto, prefix: str) -> str:
        """Store a tensor under a new name and return the name."""
        tensor.name = self.fresh(prefix)
        self._initializers[tensor.name] = tensor
        return tensor.name

    def add_node(
        self, kind: str, inputs: Sequence[str], prefix: str, *, output: str = "", name: str = "", domain: str = "",
        **attributes: Any,
    ) -> str:  # fmt: skip
        """Add a node with one output and return the output's name: `output`, or a new one."""
        from onnx import helper

        output = output or self.fresh(prefix)
        self.add(helper.make_node(kind, inputs, [output], name=name or output, domain=domain or None, **attributes))
        if domain:
            self.need_domain(domain)
        return output

    def add(self, node: onnx.NodeProto) -> None:
        """Add a node that is ready."""
        self._nodes[id(node)] = node
        self._enter(node)

    def need_domain(self, domain: str) -> None:
        """Say that the model uses version 1 of a domain of operators."""
        if domain not in self._domains:
            self._domains.append(domain)

    def fresh(self, prefix: str) -> str:
        """Return a name that nothing has yet."""
        name, number = prefix, 0
        while name in self._names:
            number += 1
            name = f"{prefix}_{number}"
        self._names.add(name)
        return name

    def set_input(self, node: onnx.NodeProto, index: int, name: str) -> None:
        """Let a node read another value; an initializer that nobody reads any more is dropped."""
        while len(node.input) <= index:
            node.input.append("")
        old = node.input[index]
        node.input[index] = name
        if old and old not in node.input:
            self._readers[old].pop(id(node))
            self._drop_if_unread(old)
        if name:
            self._readers.setdefault(name, {})[id(node)] = node

    def rename(self, old: str, new: str) -> None:
        """Let every reader of `old` read `new`."""
        for node in self.readers(old):
            for index, name in enumerate(node.input):
                if name == old:
                    self.set_input(node, index, new)

    def rename_output(self, old: str, new: str) -> None:
        """Give the computed value `old` the name `new`, for its node and all its readers."""
        node = self._producers.pop(old)
        node.output[list(node.output).index(old)] = new
        self._producers[new] = node
        self.rename(old, new)

    def remove(self, node: onnx.NodeProto) -> None:
        """Take a node out, and the initializers that only it read."""
        del self._nodes[id(node)]
        for name in set(node.output):
            if self._producers.get(name) is node:
                del self._producers[name]
        for name in {name for name in node.input if name}:
            self._readers[name].pop(id(node), None)
            self._drop_if_unread(name)

    def drop_unread_initializers(self) -> None:
        """Drop every initializer that nobody reads."""
        for name in list(self._initializers):
            self._drop_if_unread(name)

    def finish(self) -> onnx.ModelProto:
        """Return the edited model; the types of intermediate values are left for inference to find again."""
        from onnx import helper

        old = self._model
        finished = type(old)()
        for field in ("ir_version", "producer_name", "producer_version", "domain", "model_version", "doc_string"):
            if old.HasField(field):
                setattr(finished, field, getattr(old, field))
        for field in ("opset_import", "metadata_props", "functions"):
            getattr(finished, field).extend(getattr(old, field))
        known = {entry.domain for entry in finished.opset_import}
        finished.opset_import.extend(helper.make_opsetid(domain, 1) for domain in self._domains if domain not in known)
        finished.graph.name = old.graph.name
        finished.graph.node.extend(self.sorted_nodes())
        finished.graph.initializer.extend(self._initializers.values())
        finished.graph.sparse_initializer.extend(old.graph.sparse_initializer)
        finished.graph.input.extend(value for value in old.graph.input if value.name in self.inputs)
        finished.graph.output.extend(old.graph.output)
        return finished

    def sorted_nodes(self) -> list[onnx.NodeProto]:
        """Return the nodes so that each stands after what it reads, in their old order where that is free."""
        done: set[int] = set()
        ordered: list[onnx.NodeProto] = []
        for root in self._nodes.values():
            stack = [root]
            while stack:
                node = stack[-1]
                waiting = [other for other in self._sources(node) if id(other) not in done]
                if id(node) in done or not waiting:
                    stack.pop()
                    if id(node) not in done:
                        done.add(id(node))
                        ordered.append(node)
                else:
                    stack.append(waiting[0])
        return ordered

    def _sources(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        for name in [*node.input, *_nested_names([node])]:
            producer = self._producers.get(name)
            if producer is not None and producer is not node:
                yield producer

    def _enter(self, node: onnx.NodeProto) -> None:
        for name in node.output:
            if name:
                self._producers[name] = node
        for name in node.input:
            if name:
                self._readers.setdefault(name, {})[id(node)] = node

    def _drop_if_unread(self, name: str) -> None:
        if name in self._initializers and not self._readers.get(name) and name not in self.pinned:
            del self._initializers[name]


def _copies(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        copied = type(node)()
        copied.CopyFrom(node)
        yield copied


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """Return the value of a node's attribute, `default` where it has none."""
    from onnx import helper

    found = next((entry for entry in node.attribute if entry.name == name), None)
    return default if found is None else helper.get_attribute_value(found)


def set_attribute(node: onnx.NodeProto, name: str, value: Any) -> None:
    """Set a node's attribute; None takes it away."""
    from onnx import helper

    kept = [entry for entry in node.attribute if entry.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)
    if value is not None:
        node.attribute.append(helper.make_attribute(name, value))


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of ONNX's own operators that a model uses."""
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)


def tensor_bytes(tensor: onnx.TensorProto) -> int:
    """Return how many bytes the values of a stored tensor take."""
    return int(np.ceil(int(np.prod(tensor.dims, dtype=np.int64)) * _element_bits(tensor.data_type) / 8))


def has_nested_graph(node: onnx.NodeProto) -> bool:
    """Tell whether a node holds a graph of its own, as If and Loop do."""
    return any(entry.HasField("g") or entry.graphs for entry in node.attribute)


def _element_bits(kind: int) -> int:
    from onnx import TensorProto, helper

    if kind in (TensorProto.INT4, TensorProto.UINT4):
        return 4
    return int(np.dtype(helper.tensor_dtype_to_np_dtype(kind)).itemsize) * 8


def _nested_names(nodes: Sequence[onnx.NodeProto]) -> Iterator[str]:
    """Yield every name that graphs inside of these nodes read or return."""
    for node in nodes:
        for entry in node.attribute:
            for graph in [entry.g, *entry.graphs] if entry.HasField("g") else entry.graphs:
                yield from (value.name for value in graph.output)
                for inner in graph.node:
                    yield from inner.input
                yield from _nested_names(graph.node)
