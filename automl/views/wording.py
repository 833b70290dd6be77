"""Candidates and figures in a few words, for hovers, tables and pages. Plain text; whoever draws it escapes it."""

from __future__ import annotations

import math
from collections import Counter

from automl.candidate import Candidate, Cell
from automl.export.methods import StageSummary, stage_summaries
from automl.views.facts import PointFacts

TIMES, MINUS, DASH = "\N{MULTIPLICATION SIGN}", "\N{MINUS SIGN}", "\N{EN DASH}"
COUNTS = ("parameters", "macs")
SHORT_OPERATIONS = {
    "skip_connect": "skip",
    "max_pool_3x3": "max pool",
    "avg_pool_3x3": "avg pool",
    "sep_conv_3x3": "sep 3x3",
    "sep_conv_5x5": "sep 5x5",
    "dil_conv_3x3": "dil 3x3",
    "dil_conv_5x5": "dil 5x5",
    "conv_3x3": "conv 3x3",
}


def cell_words(cell: Cell) -> str:
    """Return the cell's operations by how often they occur: "3 sep 3x3 · 2 skip"; unreachable nodes do not count."""
    alive = cell.reachable_nodes()
    operations = Counter(edge.operation for index in alive for edge in cell.nodes[index])
    words = [f"{count} {SHORT_OPERATIONS.get(name, name)}" for name, count in operations.most_common()]
    dead = len(cell.nodes) - len(alive)
    return " · ".join(words) + (f" ({dead} of {len(cell.nodes)} nodes unused)" if dead else "")


def pair_words(pair: tuple[int, int]) -> str:
    """Return (weight bits, activation bits) in a few letters: "fp32", "int8", "w4 a32"."""
    return {(32, 32): "fp32", (8, 8): "int8"}.get(pair, f"w{pair[0]} a{pair[1]}")


def stage_words(candidate: Candidate) -> list[str]:
    """Return one line a stage: what it keeps of its width, the ratio that went, and its bits."""
    return [_stage_line(stage) for stage in stage_summaries(candidate)]


def _stage_line(stage: StageSummary) -> str:
    if stage.groups == 0:
        return f"no channels to prune, {pair_words(stage.pair)}"
    ratio = f" ({MINUS}{1 - stage.kept / stage.full:.0%})" if stage.kept < stage.full else ""
    groups = f" in {stage.groups} groups" if stage.groups > 1 else ""
    return f"{stage.kept} of {stage.full} channels{groups}{ratio}, {pair_words(stage.pair)}"


def value_words(name: str, value: float) -> str:
    """Return a figure in its unit with a sensible number of digits; a dash for NaN."""
    if math.isnan(value):
        return DASH
    if name.endswith("accuracy"):
        return f"{value:.1%}"
    if name.endswith("_ms"):
        return f"{value:.3g} ms" if value < 100 else f"{value:.0f} ms"
    if name in COUNTS:
        return count_words(value)
    return bytes_words(value) if name.endswith("_bytes") else f"{value:.4g}"


def count_words(value: float) -> str:
    """Return a count, in thousands, millions or thousands of millions where it is large."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e4)):
        if value >= size:
            return f"{value / min(size, 1e3 if unit == 'k' else size):.4g} {unit}"
    return f"{value:.0f}"


def bytes_words(value: float) -> str:
    """Return a number of bytes in kB or MB (thousands)."""
    if value < 1e3:
        return f"{value:.0f} B"
    return f"{value / 1e3:.3g} kB" if value < 1e6 else f"{value / 1e6:.3g} MB"


def speed_words(point: PointFacts) -> str:
    """Return how the candidate compares with its uncompressed twin; empty where that is not known."""
    if point.twin_ratio is None or not point.candidate.is_compressed():
        return ""
    value, low, high = point.twin_ratio
    if low <= 1.0 <= high:
        return f"as fast as its twin ({1 / high:.2f} to {1 / low:.2f}{TIMES})"
    factor = 1 / value if value < 1 else value
    return f"{factor:.2f}{TIMES} {'faster' if value < 1 else 'slower'} than its twin"


def title_words(point: PointFacts) -> str:
    """Return what the mark is: "trial 12", "finalist from trial 12", "teacher"."""
    if point.role == "trial":
        return f"trial {point.number}"
    if point.role == "twin":
        return "uncompressed twin" if point.number is None else f"uncompressed twin of trial {point.number}"
    return point.role if point.number is None else f"{point.role} from trial {point.number}"
