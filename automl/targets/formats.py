"""Which pairs of bit-widths each runtime executes on a CPU, and what each is good for.

Stated here, held by contract tests that look at the optimised graph of a small network in each executable format.
"Executable" means that what runs is what the pair says, not a simulation of it in floating point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from automl.targets.openvino_session import capabilities, obstacle, sixteen_bit_type
from automl.targets.target import ONNX_RUNTIME, OPENVINO, Format

Pair = tuple[int, int]  # bits of weights and of activations
BITS, SIXTEEN = (4, 8, 16, 32), (16, 16)


def cpu_formats(runtime: str = ONNX_RUNTIME) -> tuple[Format, ...]:
    """Return all sixteen pairs of weight bits and activation bits in a runtime, the executable ones first.

    Raises:
        KeyError: where the runtime is unknown.
    """
    pairs = [(weight, activation) for weight in BITS for activation in BITS]
    formats = {ONNX_RUNTIME: _onnxruntime_formats, OPENVINO: _openvino_formats}[runtime](pairs)
    return tuple(sorted(formats, key=lambda form: (not form.executable, -form.weight_bits, -form.activation_bits)))


def _onnxruntime_formats(pairs: Sequence[Pair]) -> list[Format]:
    return [
        Format(*pair, True, *EXECUTABLE[pair]) if pair in EXECUTABLE else _refused(pair, NO_KERNEL, ONNX_RUNTIME)
        for pair in pairs
    ]


def _openvino_formats(pairs: Sequence[Pair]) -> list[Format]:
    """Return what OpenVINO makes of the pairs on this machine; the files are those of ONNX Runtime."""
    if (reason := obstacle()) is not None:
        return [Format(*pair, False, "none", reason, OPENVINO) for pair in pairs]
    formats = [
        Format(*pair, True, EXECUTABLE[pair][0], OPENVINO_EXECUTABLE[pair], OPENVINO)
        if pair in OPENVINO_EXECUTABLE
        else _refused(pair, OPENVINO_NO_KERNEL, OPENVINO)
        for pair in pairs
        if pair != SIXTEEN
    ]
    return [*formats, sixteen_bit_format(capabilities())]


def sixteen_bit_format(native: Sequence[str]) -> Format:
    """Return what OpenVINO makes of 16-bit weights and activations on a CPU of these capabilities."""
    found = sixteen_bit_type(native)
    if found is None:
        reason = f"no native 16-bit arithmetic on this chip: OpenVINO finds {', '.join(native)}"
        return Format(*SIXTEEN, False, "none", reason, OPENVINO)
    return Format(*SIXTEEN, True, "speed and size", f"weights stored as float16, computed in {found}", OPENVINO)


def _refused(pair: Pair, reasons: Mapping[int, str], runtime: str) -> Format:
    _, activation_bits = pair
    reason = FLOAT_WEIGHTS if activation_bits == 8 else reasons[activation_bits]
    return Format(*pair, False, "none", reason, runtime)


EXECUTABLE = {
    (32, 32): ("baseline", "floating point"),
    (16, 32): (
        "size",
        "weights stored as float16, cast to float32 when the session is made: half the size, same speed",
    ),
    (8, 32): ("size", "weights stored as int8, scaled to float32 when the session is made: a quarter of the size"),
    (4, 32): ("size", "weights stored as int4, scaled to float32 when the session is made: an eighth of the size"),
    (8, 8): ("speed and size", "integer kernels: int8 weights, unsigned 8-bit activations"),
    (4, 8): ("speed and size", "weights stored as int4, widened to int8 when the session is made: kernels as for w8a8"),
}
NO_KERNEL = {
    4: "no convolution kernel with 4-bit activations: ONNX Runtime refuses the graph or computes it in float32",
    16: "no convolution kernel with 16-bit activations: they are converted to float32 and back around each layer",
    32: "no such storage",
}
FLOAT_WEIGHTS = "the integer convolution needs weights of at most 8 bits"
OPENVINO_EXECUTABLE: Mapping[Pair, str] = {
    (32, 32): "floating point, never lowered to bfloat16",
    (16, 32): "weights stored as float16, widened to float32 when the model is compiled: half the size, same speed",
    (8, 32): "weights stored as int8, scaled to float32 when the model is compiled: a quarter of the size",
    (4, 32): "weights stored as int4, scaled to float32 when the model is compiled: an eighth of the size",
    (8, 8): "integer kernels: int8 weights, unsigned 8-bit activations",
    (4, 8): "weights stored as int4, widened to int8 when the model is compiled: kernels as for w8a8",
}
OPENVINO_NO_KERNEL: Mapping[int, str] = {
    4: "no kernel with 4-bit activations on a CPU",
    16: "16-bit activations go with 16-bit weights",
    32: "no such storage",
}
