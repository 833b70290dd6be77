"""Write an ONNX graph node by node, in floating point or with its quantized formats in place.

Every activation that a quantized runtime would store is a *site* with a name. Written in floating point, the
writer remembers which tensor stands at each site, so that calibration can read them; where the precision says so,
it puts a QuantizeLinear/DequantizeLinear pair there, which ONNX Runtime fuses into integer kernels.

Activations are unsigned 8-bit and weights signed: with signed activations ReLU is not absorbed and convolutions
fall back to floating point. Formats that only *store* weights in fewer bits go through Cast and Mul, not
DequantizeLinear: ONNX Runtime folds the former when the session is made, the latter would run at every call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from automl.candidate import QuantizationPlan
from automl.models.codebooks import Codebook, codebook_of
from automl.models.number_formats import (
    ActivationCode,
    Codes,
    Range,
    WeightCode,
    activation_code,
    bias_code,
    check_plan,
    largest_code_of_layer,
    smallest_weight_scale,
    spread,
    weight_code,
    weight_code_at,
)
from automl.models.onnx_file import Node
from automl.models.writer import FLOAT, Tensor

NOMINAL_LINEAR = Range(-4.0, 4.0)
NOMINAL_RECTIFIED = Range(0.0, 6.0)
RECTIFYING = ("relu", "relu6", "sigmoid", "hardsigmoid")
ABSORBED = ("none", "relu", "relu6")  # by the integer kernel before them, whose code starts at zero
SIXTH = {"alpha": 1 / 6, "beta": 0.5}
ACTIVATION_NODES: Mapping[str, tuple[tuple[str, Mapping[str, object]], ...]] = {
    "none": (),
    "relu": (("Relu", {}),),
    "relu6": (("Clip", {}),),
    "hardswish": (("HardSwish", {}),),
    "hardsigmoid": (("HardSigmoid", SIXTH),),
    "sigmoid": (("Sigmoid", {}),),
    "silu": (("Sigmoid", {}),),  # times its own input
    "gelu": (("Gelu", {}),),
    "tanh": (("Tanh", {}),),
}


class GraphWriter:
    """Collect nodes and initializers; set `precision` to the (weight bits, activation bits) of what comes next.

    Args:
        codes: the range of each site and learned weight scales; None means nominal ranges: the same graph.
        largest_code: of 8-bit weights: 127, or 64 where the target's kernels saturate. Depthwise convolutions sum
            few products and keep 127.
        plan: how weights are coded.

    Raises:
        InputError: where the plan asks for what this writer cannot write.
    """

    def __init__(self, codes: Codes | None, largest_code: int, plan: QuantizationPlan) -> None:
        check_plan(plan)
        self.precision = FLOAT
        self.nodes: list[Node] = []
        self.initializers: dict[str, tuple[np.ndarray, str]] = {}
        self.sites: dict[str, str] = {}
        self._codes = codes
        self._largest_code = largest_code
        self._plan = plan
        self._dequantized: dict[str, str] = {}
        self._zeros: dict[tuple[tuple[int, ...], str], str] = {}

    def node(self, kind: str, inputs: Sequence[str], **attributes: object) -> str:
        """Add a node and return the name of its output."""
        output = f"t{len(self.nodes)}"  # short: names are part of the file's size
        self.nodes.append(Node(kind, tuple(inputs), output, attributes))
        return output

    def constant(self, value: np.ndarray, stored_as: str = "") -> str:
        """Add an initializer and return its name; `stored_as` names an ONNX type that NumPy lacks (INT4)."""
        name = f"c{len(self.initializers)}"
        self.initializers[name] = (value, stored_as)
        return name

    def zeros(self, shape: tuple[int, ...], kind: type[np.generic]) -> str:
        """Return the name of a tensor of zeros; equal ones are shared, since their values never depend on a range."""
        key = (shape, np.dtype(kind).str)
        if key not in self._zeros:
            self._zeros[key] = self.constant(np.zeros(shape, kind))
        return self._zeros[key]

    def mark(self, name: str, site: str, *, rectified: bool, like: Tensor | None = None) -> Tensor:
        """Return tensor `name` as the activation of `site`, quantized at once where the precision says so.

        `like` gives the tensor whose code it shares (a pool of codes needs no new scale).
        """
        tensor = Tensor(name, site, site if like is None else like.code_site, rectified)
        if like is None:
            self.sites[site] = name
        if self.precision[1] == 8:
            self._dequantize(tensor)
        return tensor

    def read(self, tensor: Tensor) -> str:
        """Return the name under which the current precision reads a tensor."""
        if self.precision[1] == 8 or tensor.site in self._dequantized:
            return self._dequantize(tensor)
        return str(tensor.value)

    def image(self, pixels: Any, mean: Sequence[float], deviation: Sequence[float], shape: Sequence[int]) -> Tensor:
        """Add (pixels - mean) / deviation in `batch x channels x h x w`."""
        batch, height, width = shape[:3]
        x = self.node("Cast", [pixels], to="FLOAT")
        if len(shape) == 3:
            x = self.node("Reshape", [x, self.constant(np.array([batch, 1, height, width], np.int64))])
        else:
            x = self.node("Transpose", [x], perm=[0, 3, 1, 2])
        means, deviations = (np.array(values, np.float32)[:, None, None] for values in (mean, deviation))
        x = self.node("Sub", [x, self.constant(means)])
        x = self.node("Div", [x, self.constant(deviations)])
        return self.mark(x, "input", rectified=False)

    def convolution(
        self, x: Tensor, weight: torch.Tensor, bias: torch.Tensor | None, site: str, *, stride: Sequence[int] = (1, 1),
        padding: Sequence[int] = (0, 0), dilation: Sequence[int] = (1, 1), groups: int = 1, activation: str = "none",
    ) -> Tensor:  # fmt: skip
        """Add a convolution (`out x in/groups x kh x kw` weights), and its activation."""
        name = self.node(
            "Conv", [self.read(x), *self._weights(x, array(weight), _bias(weight, bias), site, groups)],
            kernel_shape=list(weight.shape[2:]), strides=list(stride), pads=[*padding, *padding],
            dilations=list(dilation), group=groups,
        )  # fmt: skip
        return self._activated(name, activation, site)

    def linear(
        self, x: Tensor, weight: torch.Tensor, bias: torch.Tensor | None, site: str, *, activation: str = "none"
    ) -> Tensor:
        """Add a fully connected layer (`out x in` weights), and its activation."""
        return self._activated(self._gemm(x, weight, bias, site), activation, site)

    def logits(self, x: Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> Any:
        """Add the last fully connected layer and return the name of its float output."""
        return self._gemm(x, weight, bias, "logits")

    def max_pool(self, x: Tensor, site: str, *, kernel: int = 3, stride: int = 1, padding: int = 1) -> Tensor:
        """Add a max pool."""
        shape = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [padding] * 4}
        name = self.node("MaxPool", [self.read(x)], **shape)
        return self.mark(name, site, rectified=x.rectified, like=x)

    def average_pool(self, x: Tensor, site: str, *, kernel: int = 3, stride: int = 1, padding: int = 1) -> Tensor:
        """Add an average pool that does not count its padding."""
        shape = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [padding] * 4}
        name = self.node("AveragePool", [self.read(x)], **shape, count_include_pad=0)
        return self.mark(name, site, rectified=x.rectified, like=x)

    def global_average_pool(self, x: Tensor, site: str) -> Tensor:
        """Add a global average pool and a flatten: `n x c x h x w` to `n x c`."""
        pooled = self.mark(self.node("GlobalAveragePool", [self.read(x)]), site, rectified=x.rectified, like=x)
        return self.flatten(pooled, f"{site}.flat")

    def flatten(self, x: Tensor, site: str) -> Tensor:
        """Add a flatten of all but the first axis."""
        return self.mark(self.node("Flatten", [self.read(x)], axis=1), site, rectified=x.rectified, like=x)

    def add(self, first: Tensor, second: Tensor, site: str, *, activation: str = "none") -> Tensor:
        """Add the sum of two activations, and its activation."""
        return self._activated(self.node("Add", [self.read(first), self.read(second)]), activation, site)

    def multiply(self, first: Tensor, second: Tensor, site: str) -> Tensor:
        """Add the product of two activations."""
        return self._activated(self.node("Mul", [self.read(first), self.read(second)]), "none", site)

    def activate(self, x: Tensor, activation: str, site: str) -> Tensor:
        """Add an activation function on its own."""
        if activation in ABSORBED:
            return self._activated(self.read(x), activation, site)
        return self._function(x, activation, site)

    def concatenate(self, tensors: Sequence[Tensor], site: str) -> Tensor:
        """Add a concatenation along the channels; a single tensor stays as it is."""
        if len(tensors) == 1:
            return tensors[0]
        name = self.node("Concat", [self.read(tensor) for tensor in tensors], axis=1)
        return self.mark(name, site, rectified=all(tensor.rectified for tensor in tensors))

    def _gemm(self, x: Tensor, weight: torch.Tensor, bias: torch.Tensor | None, site: str) -> str:
        inputs = [self.read(x), *self._weights(x, array(weight), _bias(weight, bias), site)]
        return self.node("Gemm", inputs, transB=1)

    def _activated(self, name: str, activation: str, site: str) -> Tensor:
        """Return tensor `name` behind an activation function, as the activation of `site`.

        A function that integer kernels do not absorb reads a site of its own: without a code between them the kernel
        before it would stay in floating point too.
        """
        if activation not in ABSORBED:
            return self._function(self.mark(name, f"{site}.linear", rectified=False), activation, site)
        for kind, attributes in ACTIVATION_NODES[activation]:
            bounds = [self.constant(np.asarray(bound, np.float32)) for bound in (0.0, 6.0)] if kind == "Clip" else []
            name = self.node(kind, [name, *bounds], **attributes)
        return self.mark(name, site, rectified=activation in RECTIFYING)

    def _function(self, x: Tensor, activation: str, site: str) -> Tensor:
        """Add an activation function that is a kernel of its own."""
        name = self.read(x)
        for kind, attributes in ACTIVATION_NODES[activation]:
            name = self.node(kind, [name], **attributes)
        if activation != "silu":
            return self.mark(name, site, rectified=activation in RECTIFYING)
        gate = self.mark(name, f"{site}.gate", rectified=True)
        return self.multiply(x, gate, site)

    def _dequantize(self, tensor: Tensor) -> str:
        """Return the tensor behind its quantize/dequantize pair, adding the pair the first time."""
        if tensor.site not in self._dequantized:
            code = self._code(tensor)
            parameters = [self.constant(np.asarray(code.scale)), self.constant(np.asarray(code.zero_point))]
            quantized = self.node("QuantizeLinear", [tensor.value, *parameters])
            self._dequantized[tensor.site] = self.node("DequantizeLinear", [quantized, *parameters])
        return self._dequantized[tensor.site]

    def _code(self, tensor: Tensor) -> ActivationCode:
        if self._codes is None:
            return activation_code(NOMINAL_RECTIFIED if tensor.rectified else NOMINAL_LINEAR)
        return activation_code(self._codes.ranges[tensor.code_site])

    def _weights(self, x: Tensor, weight: np.ndarray, bias: np.ndarray, site: str, groups: int = 1) -> list[str]:
        """Return the names of weight and bias of the layer at `site` in the current precision."""
        weight_bits, activation_bits = self.precision
        if activation_bits == 8:
            largest = largest_code_of_layer(weight.shape, groups, self._largest_code)
            return self._integer_weights(x, weight, bias, site, largest)
        return [self._stored_weight(weight, weight_bits, site), self.constant(bias.astype(np.float32))]

    def _integer_weights(
        self, x: Tensor, weight: np.ndarray, bias: np.ndarray, site: str, largest: int
    ) -> list[str]:  # fmt: skip
        weight_bits, _ = self.precision
        input_scale = self._code(x).scale
        code = self._weight_code(weight, weight_bits, largest, site, smallest_weight_scale(bias, input_scale))
        codes = self.constant(code.codes, "INT4" if weight_bits == 4 else "")
        if weight_bits == 4:
            codes = self.node("Cast", [codes], to="INT8")
        zeros = self.zeros(code.scales.shape, np.int8)
        dequantized = self.node("DequantizeLinear", [codes, self.constant(code.scales), zeros], axis=0)
        bias_codes, bias_scales = bias_code(bias, input_scale, code.scales)
        bias_names = [self.constant(bias_codes), self.constant(bias_scales)]
        bias_names.append(self.zeros(bias_scales.shape, np.int32))
        return [dequantized, self.node("DequantizeLinear", bias_names, axis=0)]

    def _weight_code(
        self, weight: np.ndarray, bits: int, largest: int, site: str, smallest_scale: np.ndarray | float = 0.0
    ) -> WeightCode:
        """Return the code of the layer's weight, at its learned scales where there are some."""
        scales = self._plan.scales
        if self._codes is None or site not in self._codes.weight_scales:
            return weight_code(weight, bits, largest, smallest_scale, scales=scales)
        learned = self._codes.weight_scales[site]
        smallest = np.max(smallest_scale) if scales == "tensor" else smallest_scale
        return weight_code_at(weight, np.maximum(learned, smallest).astype(np.float32), bits, largest)

    def _stored_weight(self, weight: np.ndarray, bits: int, site: str) -> str:
        """Return a float weight that the file stores in fewer bits and the runtime restores when it loads."""
        if bits == 32:
            return self.constant(weight.astype(np.float32))
        if bits == 16:
            return self.node("Cast", [self.constant(weight.astype(np.float16))], to="FLOAT")
        book = codebook_of(weight, bits, self._plan)
        if book is not None:
            return self._indexed_weight(book, bits)
        code = self._weight_code(weight, bits, 127, site)
        restored = self.node("Cast", [self.constant(code.codes, "INT4" if bits <= 4 else "")], to="FLOAT")
        return self.node("Mul", [restored, self.constant(spread(code.scales, weight.ndim))])

    def _indexed_weight(self, book: Codebook, bits: int) -> str:
        """Return a float weight that is looked up in a table of levels when the file is loaded."""
        indices = self.node("Cast", [self.constant(book.indices, "UINT4" if bits <= 4 else "")], to="INT32")
        if not book.scales.ndim:
            return self.node("Gather", [self.constant(book.levels * book.scales), indices], axis=0)
        restored = self.node("Gather", [self.constant(book.levels), indices], axis=0)
        return self.node("Mul", [restored, self.constant(spread(book.scales, book.indices.ndim))])


def array(value: torch.Tensor) -> np.ndarray:
    """Return a tensor as a contiguous float32 array of its axes."""
    return np.array(value.detach().cpu().float().numpy(), order="C")


def _bias(weight: torch.Tensor, bias: torch.Tensor | None) -> np.ndarray:
    return np.zeros(len(weight), np.float32) if bias is None else array(bias)
