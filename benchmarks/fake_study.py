"""A study whose evaluations are instant and whose figures are a function of the candidate, kind "recorded".

What befalls an evaluation by order (a file in the folder `orders`) befalls the first one that finds it: its worker is
killed, or stops while it has the timing lane. What belongs to a candidate (it returns NaN, it runs out of memory, it
raises) belongs to it for ever.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automl.candidate import (
    Candidate,
    Cell,
    DistillationPlan,
    Edge,
    Genotype,
    PruningPlan,
    QuantizationPlan,
    TrainingPlan,
)
from automl.outcome import Artefact, Gain, Infeasible, Measured, Measurement, Outcome, Ratio, Timing
from automl.space import Choice, Dimension, SearchSpace
from automl.targets.lanes import timing_lane

OBJECTIVES = ("accuracy", "latency_ms", "size_bytes")
LIMITS = {"latency_ms": 30.0}
DEVICE = "recorded:fake"
OPERATIONS = ("skip_connect", "max_pool_3x3", "sep_conv_3x3", "conv_3x3")
COST = dict(zip(OPERATIONS, (0.1, 0.4, 1.0, 2.3), strict=True))
ODDITIES = {0: "nan", 1: "memory", 2: "raises"}  # by the remainder of a candidate's hash by ODD_ONE_IN
ODD_ONE_IN = 24
KILL, STICK = "kill", "stick"  # orders


def fake_space() -> SearchSpace:
    """Return a space with all four groups."""
    dimensions = [Dimension(f"op_{index}", "architecture", OPERATIONS, False) for index in range(8)]
    dimensions += [Dimension("width", "architecture", (16, 32, 64), True)]
    dimensions += [Dimension(f"prune_{stage}", "pruning", (0.0, 0.5), True, 0.0) for stage in range(3)]
    dimensions += [Dimension("bits", "quantization", ("w32a32", "w8a8"), False, "w32a32")]
    dimensions += [Dimension("alpha", "distillation", (1.0, 0.4), True)]
    return SearchSpace("fake", tuple(dimensions), _decode)


def _decode(choices: Mapping[str, Choice]) -> Candidate:
    edges = [Edge(str(choices[f"op_{index}"]), index % 2) for index in range(8)]
    cell = Cell(tuple((edges[node], edges[node + 1]) for node in range(0, 8, 2)), (2, 3, 4, 5))
    genotype = Genotype(cell, cell, 3, int(choices["width"]))
    kept = [width * (1 - float(choices[f"prune_{stage}"])) for stage, width in enumerate(genotype.stage_widths())]
    bits = 32 if choices["bits"] == "w32a32" else 8
    return Candidate(
        genotype,
        PruningPlan(tuple(max(16, int(width)) for width in kept)),
        QuantizationPlan((bits,) * 3, (bits,) * 3),
        DistillationPlan(float(choices["alpha"]), 4.0 if float(choices["alpha"]) < 1 else 1.0),
        TrainingPlan("adamw", 0.001, 0.0, 32, 1, 0.0, 0.0, 0.0),
    )


@dataclass(frozen=True)
class ChaosTask:
    """Evaluates in about `seconds`, part of them in the timing lane of `folder`, and obeys orders there."""

    candidate: Candidate
    folder: str
    seconds: float

    def __call__(self, _context: Any) -> Outcome:
        """Return the candidate's outcome, unless something befalls it first."""
        folder = Path(self.folder)
        with (folder / "runs" / self.candidate.candidate_hash()).open("a") as file:
            file.write("x")
        time.sleep(self.seconds / 2)
        if _taken(folder, KILL):
            os.kill(os.getpid(), signal.SIGKILL)
        with timing_lane(folder / "lanes"):
            if _taken(folder, STICK):
                os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(self.seconds / 2)
        return fake_outcome(self.candidate)


def give_order(folder: Path, order: str) -> None:
    """Let it befall the next evaluation."""
    (folder / "orders" / order).touch()


def _taken(folder: Path, order: str) -> bool:
    """Take an order, and tell whether there was one: of two that try only one gets it."""
    path = folder / "orders" / order
    if not path.exists():
        return False
    try:
        path.rename(folder / "orders" / f"{order}-{os.getpid()}-{time.monotonic_ns()}")
    except FileNotFoundError:
        return False
    return True


def oddity(candidate: Candidate) -> str | None:
    """Return what is wrong with the candidate, None for nothing."""
    return ODDITIES.get(int(candidate.candidate_hash(), 16) % ODD_ONE_IN)


def fake_outcome(candidate: Candidate) -> Outcome:
    """Return figures that are a function of the candidate: accuracy costs latency and size.

    Raises:
        MemoryError, ValueError: where that is what the candidate does.
    """
    odd = oddity(candidate)
    if odd == "memory":
        raise MemoryError
    if odd == "raises":
        raise ValueError("a fault of its own")
    cost = sum(
        COST[edge.operation] * (index + 1)
        for index, node in enumerate(candidate.genotype.normal.nodes)
        for edge in node
    )
    widths, bits = candidate.pruning.kept_widths, candidate.quantization.weight_bits
    latency = cost * sum(widths) / 224
    size = float(sum(width * bit for width, bit in zip(widths, bits, strict=True)) * (10 + cost))
    accuracy = 0.9 - 1 / (3 + cost) - 4 / sum(widths) + 0.01 * (candidate.distillation.alpha < 1)
    figures = (_figure("latency_ms", latency), _figure("size_bytes", size))
    if latency > LIMITS["latency_ms"]:
        violations = {"latency_ms": (latency, LIMITS["latency_ms"])}
        return Infeasible("too slow", violations, figures, (_timing(latency),), {"time_untrained": 0.1})
    ratio = Ratio(0.8, 0.7, 0.9)
    gain = Gain("faster", ratio, 0.5) if candidate.is_compressed() else Gain("uncompressed", None, None)
    artefact = Artefact(candidate.candidate_hash() * 4, "file.onnx", int(size))
    accuracy = float("nan") if odd == "nan" else accuracy
    return Measured((_figure("accuracy", accuracy), *figures), artefact, gain, (_timing(latency),), (), {"train": 0.2})


def _figure(name: str, value: float) -> Measurement:
    return Measurement(name, value, "recorded", "fake", value, value, 1, DEVICE, "a" * 64)


def _timing(latency_ms: float) -> Timing:
    ratio = Ratio(latency_ms, latency_ms, latency_ms)
    return Timing(
        "untrained", "recorded", "fake", DEVICE, "a" * 64, "fp32", 1.0, ratio, None, None, {"candidate": (1.5,)}
    )
