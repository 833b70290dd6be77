"""What a traced operation is: the table from torch's modules, functions and methods to the steps that we can write."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from automl.models.operations import Depthwise
from automl.models.user.tracing import Call

IDENTITY, NORM, CONVOLUTION, LINEAR = "identity", "norm", "convolution", "linear"
MODULES: Mapping[type[nn.Module], str] = {
    nn.Conv2d: CONVOLUTION,
    Depthwise: CONVOLUTION,
    nn.Linear: LINEAR,
    nn.BatchNorm1d: NORM,
    nn.BatchNorm2d: NORM,
    nn.MaxPool2d: "max_pool",
    nn.AvgPool2d: "average_pool",
    nn.AdaptiveAvgPool2d: "adaptive_average_pool",
    nn.AdaptiveMaxPool2d: "adaptive_max_pool",
    nn.Flatten: "reshape",
    nn.Identity: IDENTITY,
    nn.Dropout: IDENTITY,
    nn.Dropout2d: IDENTITY,
    nn.ReLU: "relu",
    nn.ReLU6: "relu6",
    nn.Hardtanh: "hardtanh",
    nn.Hardswish: "hardswish",
    nn.Hardsigmoid: "hardsigmoid",
    nn.Sigmoid: "sigmoid",
    nn.SiLU: "silu",
    nn.GELU: "gelu",
    nn.Tanh: "tanh",
}
FUNCTIONS: Mapping[Callable[..., Any], str] = {
    operator.add: "add",
    operator.iadd: "add",
    torch.add: "add",
    operator.mul: "multiply",
    operator.imul: "multiply",
    torch.mul: "multiply",
    torch.cat: "concatenate",
    torch.concat: "concatenate",
    torch.mean: "mean",
    torch.flatten: "reshape",
    torch.reshape: "reshape",
    torch.squeeze: "reshape",
    operator.getitem: "reshape",
    functional.max_pool2d: "max_pool",
    functional.avg_pool2d: "average_pool",
    functional.adaptive_avg_pool2d: "adaptive_average_pool",
    functional.adaptive_max_pool2d: "adaptive_max_pool",
    functional.dropout: IDENTITY,
    functional.relu: "relu",
    functional.relu_: "relu",
    torch.relu: "relu",
    functional.relu6: "relu6",
    functional.hardtanh: "hardtanh",
    functional.hardswish: "hardswish",
    functional.hardsigmoid: "hardsigmoid",
    functional.sigmoid: "sigmoid",
    torch.sigmoid: "sigmoid",
    functional.silu: "silu",
    functional.gelu: "gelu",
    functional.tanh: "tanh",
    torch.tanh: "tanh",
}
METHODS: Mapping[str, str] = {
    "add": "add", "add_": "add", "mul": "multiply", "mul_": "multiply", "mean": "mean", "flatten": "reshape",
    "view": "reshape", "reshape": "reshape", "squeeze": "reshape", "contiguous": IDENTITY, "relu": "relu",
    "relu_": "relu", "sigmoid": "sigmoid", "sigmoid_": "sigmoid", "tanh": "tanh", "tanh_": "tanh",
}  # fmt: skip
IN_PLACE = (operator.iadd, operator.imul, functional.relu_)
PARAMETERS: Mapping[str, tuple[str, ...]] = {  # of the functions, in order; modules have attributes of these names
    "max_pool": ("kernel_size", "stride", "padding", "dilation", "ceil_mode"),
    "average_pool": ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
    "mean": ("dim", "keepdim"),
    "concatenate": ("dim",),
    "gelu": ("approximate",),
    "hardtanh": ("min_val", "max_val"),
    "add": ("alpha",),
}


class UnsupportedError(Exception):
    """An operation that cannot be written; the message completes "but got ..."."""


Reading = tuple[str, dict[str, Any]]


def read_call(call: Call, values: Mapping[str, Any], modules: Mapping[str, nn.Module]) -> Reading:
    """Return the kind of step that a call is, and its settings.

    Args:
        call: one that gives a tensor.
        values: of every call, by its name.
        modules: of the traced module, by dotted path.

    Raises:
        UnsupportedError: where there is no such step.
    """
    node = call.node
    if node.op == "placeholder":
        return "input", {}
    name, arguments = _named(node, values, modules)
    if not name and call.same_as:
        return IDENTITY, {}
    inputs = [values[source.name] for source in node.all_input_nodes if isinstance(values[source.name], torch.Tensor)]
    if not name or not inputs:
        raise UnsupportedError(_description(node, modules))
    reader = _READERS.get(name)
    if reader is not None:
        return reader(arguments, inputs, call.value)
    return (name, {}) if name == IDENTITY else ("activation", {"activation": name})


def works_in_place(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    """Tell whether an operation overwrites its input."""
    if node.op == "call_module":
        return bool(getattr(modules[str(node.target)], "inplace", False))
    written = node.op == "call_method" and str(node.target).endswith("_")
    return written or node.target in IN_PLACE or node.kwargs.get("inplace") is True


def _named(node: fx.Node, values: Mapping[str, Any], modules: Mapping[str, nn.Module]) -> tuple[str, Mapping[str, Any]]:
    """Return the name of the operation in the tables, "" where it is in none, and its arguments by name."""
    if node.op == "call_module":
        layer = modules[str(node.target)]
        return MODULES.get(type(layer), ""), vars(layer) | {"layer": layer}
    name = ""
    if node.op == "call_function" and callable(node.target):
        name = FUNCTIONS.get(node.target, "")
    elif node.op == "call_method":
        name = METHODS.get(str(node.target), "")

    def resolved(argument: Any) -> Any:
        return fx.node.map_arg(argument, lambda source: values[source.name])

    positional = dict(zip(PARAMETERS.get(name, ()), node.args[1:], strict=False))
    if name == "add":
        positional = {}  # its second argument is the other summand
    return name, {key: resolved(value) for key, value in (positional | dict(node.kwargs)).items()}


def _description(node: fx.Node, modules: Mapping[str, nn.Module]) -> str:
    if node.op == "call_module":
        return f"a layer of type {type(modules[str(node.target)]).__name__}"
    if node.op == "get_attr":
        return f"the parameter or buffer {node.target} used outside a layer"
    return f"the operation {getattr(node.target, '__name__', node.target)}"


Arguments = Mapping[str, Any]


def _convolution(arguments: Arguments, _: Sequence[torch.Tensor], __: torch.Tensor) -> Reading:
    layer: nn.Conv2d = arguments["layer"]
    if layer.padding_mode != "zeros":
        raise UnsupportedError(f"a convolution padded with {layer.padding_mode}")
    return CONVOLUTION, {"padding": _padding(layer)}


def _padding(layer: nn.Conv2d) -> tuple[int, int]:
    if layer.padding == "valid":
        return (0, 0)
    if layer.padding == "same":
        reaches = [step * (size - 1) for step, size in zip(layer.dilation, layer.kernel_size, strict=True)]
        if any(reach % 2 for reach in reaches):
            raise UnsupportedError("a convolution padded unevenly")
        return (reaches[0] // 2, reaches[1] // 2)
    return (int(layer.padding[0]), int(layer.padding[1]))


def _linear(_: Arguments, inputs: Sequence[torch.Tensor], __: torch.Tensor) -> Reading:
    if inputs[0].ndim != 2:
        raise UnsupportedError(f"a linear layer over {inputs[0].ndim} axes")
    return LINEAR, {}


def _norm(arguments: Arguments, inputs: Sequence[torch.Tensor], _: torch.Tensor) -> Reading:
    layer: nn.BatchNorm2d = arguments["layer"]
    if layer.running_mean is None or not layer.affine or inputs[0].ndim == 3:
        raise UnsupportedError("a batch normalisation without running statistics, without scale, or over sequences")
    return NORM, {}


def _pool(arguments: Arguments, inputs: Sequence[torch.Tensor], kind: str) -> Reading:
    kernel = _square(arguments["kernel_size"])
    stride = arguments.get("stride")
    step = kernel if stride is None or stride in ([], ()) else _square(stride)
    padding = _square(arguments.get("padding", 0))
    if arguments.get("ceil_mode") or _square(arguments.get("dilation", 1)) != 1:
        raise UnsupportedError("a pool with ceil_mode or dilation")
    if kind == "average_pool":
        counts_padding = arguments.get("count_include_pad", True) and padding > 0
        if counts_padding or arguments.get("divisor_override") is not None:
            raise UnsupportedError("an average pool that counts its padding or has a divisor of its own")
        if padding == 0 and inputs[0].shape[2:] == (kernel, kernel):
            return "full_pool", {"side": kernel}
    return kind, {"kernel": kernel, "stride": step, "padding": padding}


def _square(value: Any) -> int:
    """Return the size of a square, given as one number or as equal ones."""
    sizes = {int(size) for size in (value if isinstance(value, tuple | list) else (value,))}
    if len(sizes) != 1:
        raise UnsupportedError(f"a pool of unequal sides, {value}")
    return sizes.pop()


def _full(x: torch.Tensor) -> Reading:
    """Return an average pool of the whole map that keeps both axes."""
    return "full_pool", {"side": x.shape[2]}


def _max_pool(arguments: Arguments, inputs: Sequence[torch.Tensor], _: torch.Tensor) -> Reading:
    return _pool(arguments, inputs, "max_pool")


def _average_pool(arguments: Arguments, inputs: Sequence[torch.Tensor], _: torch.Tensor) -> Reading:
    return _pool(arguments, inputs, "average_pool")


def _adaptive(inputs: Sequence[torch.Tensor], value: torch.Tensor, kind: str) -> Reading:
    (height, width), (rows, columns) = inputs[0].shape[2:], value.shape[2:]
    if (height, width) == (rows, columns):
        return IDENTITY, {}
    if kind == "average_pool" and rows == columns == 1:
        return _full(inputs[0])
    if height % rows or width % columns or height // rows != width // columns:
        raise UnsupportedError(f"an adaptive pool from {height}x{width} to {rows}x{columns}")
    return kind, {"kernel": height // rows, "stride": height // rows, "padding": 0}


def _adaptive_average(_: Arguments, inputs: Sequence[torch.Tensor], value: torch.Tensor) -> Reading:
    return _adaptive(inputs, value, "average_pool")


def _adaptive_max(_: Arguments, inputs: Sequence[torch.Tensor], value: torch.Tensor) -> Reading:
    return _adaptive(inputs, value, "max_pool")


def _mean(arguments: Arguments, inputs: Sequence[torch.Tensor], _: torch.Tensor) -> Reading:
    axes = arguments.get("dim")
    given = (axes,) if isinstance(axes, int) else tuple(axes if axes is not None else ())
    if inputs[0].ndim != 4 or sorted(axis % 4 for axis in given) != [2, 3]:
        raise UnsupportedError(f"a mean over the axes {axes}")
    return _full(inputs[0]) if arguments.get("keepdim") else ("global_average_pool", {})


def _reshape(_: Arguments, inputs: Sequence[torch.Tensor], value: torch.Tensor) -> Reading:
    given = inputs[0]
    if value.shape == given.shape:
        return IDENTITY, {}
    if value.shape == (given.shape[0], given[0].numel()):
        return "flatten", {}
    raise UnsupportedError(f"a reshape from {tuple(given.shape)} to {tuple(value.shape)}")


def _add(arguments: Arguments, inputs: Sequence[torch.Tensor], _: torch.Tensor) -> Reading:
    if len(inputs) != 2 or inputs[0].shape != inputs[1].shape or arguments.get("alpha", 1) != 1:
        raise UnsupportedError("a sum of other than two different activations of one shape")
    return "add", {}


def _multiply(_: Arguments, inputs: Sequence[torch.Tensor], value: torch.Tensor) -> Reading:
    gate = (*value.shape[:2], *[1] * (value.ndim - 2))
    if len(inputs) != 2 or any(given.shape not in (value.shape, gate) for given in inputs):
        raise UnsupportedError("a product of other than an activation and one of its shape, or one value a channel")
    return "multiply", {"gate_first": inputs[0].shape != value.shape}


def _concatenate(arguments: Arguments, inputs: Sequence[torch.Tensor], value: torch.Tensor) -> Reading:
    if arguments.get("dim", 0) % value.ndim != 1 or sum(given.shape[1] for given in inputs) != value.shape[1]:
        raise UnsupportedError("a concatenation along another axis than the channels, or of one activation twice")
    return "concatenate", {}


def _gelu(arguments: Arguments, _: Sequence[torch.Tensor], __: torch.Tensor) -> Reading:
    if arguments.get("approximate", "none") != "none":
        raise UnsupportedError("an approximated GELU")
    return "activation", {"activation": "gelu"}


def _hardtanh(arguments: Arguments, _: Sequence[torch.Tensor], __: torch.Tensor) -> Reading:
    if (arguments.get("min_val", -1), arguments.get("max_val", 1)) != (0, 6):
        raise UnsupportedError("a Hardtanh with other bounds than 0 and 6")
    return "activation", {"activation": "relu6"}


_READERS: Mapping[str, Callable[[Arguments, Sequence[torch.Tensor], torch.Tensor], Reading]] = {
    CONVOLUTION: _convolution,
    LINEAR: _linear,
    NORM: _norm,
    "max_pool": _max_pool,
    "average_pool": _average_pool,
    "adaptive_average_pool": _adaptive_average,
    "adaptive_max_pool": _adaptive_max,
    "mean": _mean,
    "reshape": _reshape,
    "add": _add,
    "multiply": _multiply,
    "concatenate": _concatenate,
    "gelu": _gelu,
    "hardtanh": _hardtanh,
}
