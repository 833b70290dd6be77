"""Quantization: a pair of bit-widths per stage, among those that the target can execute."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from automl.candidate import STAGES, QuantizationPlan
from automl.space import Choice, Dimension

BITS = (4, 8, 16, 32)
PLAIN = "w32a32"  # floating point throughout


def pair_name(weight_bits: int, activation_bits: int) -> str:
    """Return the name of the pair as a choice, such as "w8a8"."""
    return f"w{weight_bits}a{activation_bits}"


def parse_pair(name: str) -> tuple[int, int]:
    """Return (weight bits, activation bits) of a choice: the inverse of `pair_name`."""
    weight, activation = name.removeprefix("w").split("a")
    return (int(weight), int(activation))


def searchable_pairs(formats: Iterable[tuple[int, int]]) -> tuple[str, ...]:
    """Return the names of the (weight bits, activation bits) that may be searched, most bits first, each once."""
    known = {pair for pair in formats if set(pair) <= set(BITS)}
    return tuple(pair_name(*pair) for pair in sorted(known, reverse=True))


def quantization_dimensions(pairs: tuple[str, ...]) -> tuple[Dimension, ...]:
    """Return one dimension a stage over the named pairs."""
    return tuple(
        Dimension(f"bits_{stage}", "quantization", pairs, ordered=False, plain=PLAIN) for stage in range(STAGES)
    )


def decode_quantization(choices: Mapping[str, Choice]) -> QuantizationPlan:
    """Return the bits of each stage."""
    pairs = [parse_pair(str(choices[f"bits_{stage}"])) for stage in range(STAGES)]
    return QuantizationPlan(tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs))
