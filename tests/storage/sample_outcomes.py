"""Outcomes, candidates and moments to record, told apart by a number."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

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
from automl.outcome import (
    Artefact,
    Epoch,
    Failed,
    Gain,
    Infeasible,
    Measured,
    Measurement,
    Outcome,
    Ratio,
    RungResult,
    Stopped,
    Timing,
)
from automl.storage import Store


def candidate(number: int = 0) -> Candidate:
    """Return a candidate that differs from those of other numbers in its learning rate only."""
    nodes = tuple((Edge("sep_conv_3x3", 0), Edge("skip_connect", 1)) for _ in range(4))
    cell = Cell(nodes, (2, 3, 4, 5))
    return Candidate(
        Genotype(cell, cell, cells=3, width=16),
        PruningPlan((16, 32, 48)),
        QuantizationPlan((32, 8, 4), (32, 8, 32)),
        DistillationPlan(alpha=0.7, temperature=4.0),
        TrainingPlan("adamw", 1e-3 * (1 + number), 5e-4, 64, 10, 0.0, 0.1, 5.0),
    )


def timing(latency_ms: float = 0.5, moment: str = "untrained", device: str = "cpu:x") -> Timing:
    """Return a timing with a few samples."""
    ratio = Ratio(latency_ms / 2.0, latency_ms / 2.1, latency_ms / 1.9)
    samples = {"candidate": (latency_ms, latency_ms + 0.01), "control": (2.0, 2.01)}
    return Timing(moment, "measured", "p1", device, "f" * 64, "fp32", 2.0, ratio, None, Ratio(1.0, 0.99, 1.01), samples)


def outcome(number: int) -> Outcome:
    """Return the outcome of a number: each of the four in turn, the first one measured."""
    figure = Measurement("latency_ms", 0.5 + number, "measured", "p1", 0.4, 0.6, 12, "cpu:x", "f" * 64)
    seconds = {"train": 1.5 + number, "time": 0.25}
    match number % 4:
        case 0:
            return Measured(
                measurements=(figure,),
                artefact=Artefact(f"{number:064d}", f"artefacts/{number}.onnx", 1000 + number),
                gain=Gain("faster", Ratio(0.5, 0.4, 0.6), 0.25),
                timings=(timing(), timing(0.51, "trained")),
                curve=(Epoch("dense", 0, 2.3, 1.0, 1e-3, 0.5), Epoch("pruned", 0, float("inf"), 9.0, 1e-4, 0.5)),
                seconds=seconds,
                notes=("one note", f"note of {number}"),
            )
        case 1:
            return Infeasible("over latency_ms", {"latency_ms": (3.0, 2.0)}, (figure,), (timing(3.0),), seconds)
        case 2:
            return Stopped("dominated at rung 1", seconds)
        case _:
            return Failed("out of memory", f"Traceback of {number}\n", seconds)


def measured(number: int = 0) -> Measured:
    """Return a measured outcome."""
    value = outcome(4 * number)
    assert isinstance(value, Measured)
    return value


def rung_result(rung: int) -> RungResult:
    """Return the result of a partly trained candidate at a rung."""
    whole = measured(rung)
    checkpoint = Artefact("c" * 64, f"checkpoints/{rung}.safetensors", 4321)
    return RungResult(rung, whole.measurements, whole.timings, whole.curve, whole.seconds, checkpoint)


def new_study(store: Store, name: str = "digits") -> int:
    """Return the id of a study of that name, made where there is none."""
    return store.require_study(name, {"seed": 1}, "digest", 1, {"torch": "2"}, "cpu:x", ["accuracy", "latency_ms"]).id


def open_trial(
    store: Store, study_id: int, number: int, shape_key: str = "shape", enqueued: bool = False, attempts: int = 0
) -> None:
    """Record an open trial."""
    this = candidate(number)
    point, state = {"width": 1}, {"generation": 2}
    store.add_trial(study_id, number, point, this, this.candidate_hash(), shape_key, state, enqueued, attempts)


def at(seconds: float) -> datetime:
    """Return a moment some seconds after a fixed one."""
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
