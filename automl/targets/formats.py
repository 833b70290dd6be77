"""Which pairs of bit-widths ONNX Runtime executes on a CPU, and what each is good for.

Stated here, held by a contract test that looks at the optimised graph of a small network in each executable format.
"Executable" means that what runs is what the pair says, not a simulation of it in floating point.
"""

from __future__ import annotations

from automl.targets.target import Format

BITS = (4, 8, 16, 32)


def onnxruntime_cpu_formats() -> tuple[Format, ...]:
    """Return all sixteen pairs of weight bits and activation bits, the executable ones first."""
    formats = [_format(weight, activation) for weight in BITS for activation in BITS]
    return tuple(sorted(formats, key=lambda form: (not form.executable, -form.weight_bits, -form.activation_bits)))


def _format(weight_bits: int, activation_bits: int) -> Format:
    if (weight_bits, activation_bits) in EXECUTABLE:
        benefit, reason = EXECUTABLE[(weight_bits, activation_bits)]
        return Format(weight_bits, activation_bits, True, benefit, reason)
    reason = FLOAT_WEIGHTS if activation_bits == 8 else NO_KERNEL[activation_bits]
    return Format(weight_bits, activation_bits, False, "none", reason)


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
