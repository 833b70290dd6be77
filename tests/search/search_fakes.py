"""A small space, instant evaluations that can also crash, and a study to record them in."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
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
from automl.outcome import Artefact, Gain, Infeasible, Kind, Measured, Measurement, Outcome, Ratio, Timing, state_of
from automl.search.driver import Budget, DrivePlan, RungStep
from automl.search.executor import Task
from automl.search.samplers import SamplerPlan
from automl.space import Choice, Dimension, SearchSpace
from automl.storage import Store, TrialRecord, current_holder, open_store

OBJECTIVES = ("accuracy", "latency_ms", "size_bytes")
LIMITS = {"latency_ms": 30.0}
OPERATIONS = ("skip_connect", "max_pool_3x3", "sep_conv_3x3", "conv_3x3")
COST = dict(zip(OPERATIONS, (0.1, 0.4, 1.0, 2.3), strict=True))


def small_space(operations: tuple[str, ...] = OPERATIONS) -> SearchSpace:
    """Return a space with all four groups and one dimension without a choice."""
    dimensions = [Dimension(f"op_{index}", "architecture", operations, False) for index in range(8)]
    dimensions += [
        Dimension("width", "architecture", (16, 32, 64), True),
        Dimension("cells", "architecture", (3,), True),
    ]
    dimensions += [Dimension(f"prune_{stage}", "pruning", (0.0, 0.5), True, 0.0) for stage in range(3)]
    dimensions += [Dimension("bits", "quantization", ("w32a32", "w8a8"), False, "w32a32")]
    dimensions += [Dimension("alpha", "distillation", (1.0, 0.4), True)]
    dimensions += [Dimension("temperature", "distillation", (1.0, 4.0), True)]
    return SearchSpace("small", tuple(dimensions), decode_small)


def decode_small(choices: Mapping[str, Choice]) -> Candidate:
    """Return the candidate of chosen values."""
    edges = [Edge(str(choices[f"op_{index}"]), index % 2) for index in range(8)]
    cell = Cell(tuple((edges[node], edges[node + 1]) for node in range(0, 8, 2)), (2, 3, 4, 5))
    genotype = Genotype(cell, cell, int(choices["cells"]), int(choices["width"]))
    kept = [width * (1 - float(choices[f"prune_{stage}"])) for stage, width in enumerate(genotype.stage_widths())]
    bits = 32 if choices["bits"] == "w32a32" else 8
    return Candidate(
        genotype,
        PruningPlan(tuple(max(16, int(width)) for width in kept)),
        QuantizationPlan((bits,) * 3, (bits,) * 3),
        DistillationPlan(float(choices["alpha"]), float(choices["temperature"])),
        TrainingPlan("adamw", 0.001, 0.0, 32, 1, 0.0, 0.0, 0.0),
    )


def measurement(name: str, value: float, kind: Kind = "measured") -> Measurement:
    """Return an exact figure."""
    return Measurement(name, value, kind, "fake", value, value, 1, "device", "a" * 64)


def timing(latency_ms: float) -> Timing:
    """Return a timing session with a sample."""
    ratio = Ratio(latency_ms, latency_ms, latency_ms)
    return Timing(
        "untrained", "measured", "fake", "device", "a" * 64, "fp32", 1.0, ratio, None, None, {"candidate": (1.5,)}
    )


def outcome_of(candidate: Candidate) -> Outcome:
    """Return figures that are a function of the candidate: accuracy costs latency and size."""
    cost = sum(
        COST[edge.operation] * (index + 1)
        for index, node in enumerate(candidate.genotype.normal.nodes)
        for edge in node
    )
    widths, bits = candidate.pruning.kept_widths, candidate.quantization.weight_bits
    latency = cost * sum(widths) / 224
    size = float(sum(width * bit for width, bit in zip(widths, bits, strict=True)) * (10 + cost))
    accuracy = 0.9 - 1 / (3 + cost) - 4 / sum(widths) + 0.01 * (candidate.distillation.alpha < 1)
    figures = (measurement("latency_ms", latency), measurement("size_bytes", size))
    if latency > LIMITS["latency_ms"]:
        violations = {"latency_ms": (latency, LIMITS["latency_ms"])}
        return Infeasible("too slow", violations, figures, (timing(latency),), {"timing": 0.1})
    compressed = candidate.is_compressed()
    gain = Gain("faster", Ratio(0.8, 0.7, 0.9), 0.5) if compressed else Gain("uncompressed", None, None)
    artefact = Artefact(candidate.candidate_hash() * 4, "file.onnx", int(size))
    return Measured(
        (measurement("accuracy", accuracy), *figures), artefact, gain, (timing(latency),), (), {"training": 0.2}
    )


@dataclass(frozen=True)
class FakeTask:
    """Evaluates at once; `fault` is what befalls it first, `folder` where its runs leave marks."""

    candidate: Candidate
    fault: str = ""
    folder: str = ""

    def __call__(self, context: Any) -> Outcome:
        """Return the outcome, or crash in the way that was asked for."""
        runs = self._mark()
        if self.fault == "raises":
            raise ValueError("a fault of its own")
        if self.fault == "memory":
            raise MemoryError
        if self.fault == "kills" or (self.fault == "kills once" and runs == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        return outcome_of(self.candidate)

    def _mark(self) -> int:
        """Count this run in a file and return how many there were."""
        if not self.folder:
            return 1
        with (Path(self.folder) / self.candidate.candidate_hash()).open("a+") as file:
            file.write("x")
            return file.tell()


def fake_task(candidate: Candidate, known: Timing | None, step: RungStep | None = None) -> Task:
    """Return the plain task of a candidate."""
    return FakeTask(candidate)


def trial_of(number: int, candidate: Candidate) -> TrialRecord:
    """Return the finished trial of a candidate, whatever its point is."""
    now, outcome = datetime(2026, 1, 1, tzinfo=UTC), outcome_of(candidate)
    state: Any = state_of(outcome)
    candidate_hash = candidate.candidate_hash()
    return TrialRecord(number, {}, candidate, candidate_hash, "shape", state, 1, None, {}, outcome, now, now, False)


def sampler_plan(method: str = "nsga2", **changes: Any) -> SamplerPlan:
    """Return a plan over the small space."""
    settings: dict[str, Any] = {"space": small_space(), "seed": 0, "population": 12, **changes}
    return SamplerPlan(objectives=OBJECTIVES, limits=LIMITS, method=method, **settings)


def new_store(folder: Path) -> Store:
    """Return a store with one leased study of id 1; the study is made where it is missing."""
    store = open_store(f"sqlite:///{folder / 'study.db'}")
    study = store.require_study("study", {}, "digest", 0, {}, "device", OBJECTIVES)
    assert study.id == 1
    store.take_lease(1, current_holder())
    return store


def drive_plan(trials: int | None = 30, sampler: SamplerPlan | None = None, **changes: Any) -> DrivePlan:
    """Return a plan for the study of id 1."""
    settings: dict[str, Any] = {
        "budget": Budget(trials, None, None),
        "make_task": fake_task,
        "shape_key": lambda candidate: candidate.shape_key((8, 8), 10),
        **changes,
    }
    return DrivePlan(study_id=1, sampler=sampler_plan() if sampler is None else sampler, device="device", **settings)


class Silence:
    """A listener that keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[int] = []

    def tell(self, trial: Any) -> None:
        """Note the trial's number."""
        self.told.append(trial.number)
