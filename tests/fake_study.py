"""A study with made-up but plausible outcomes, for tests of what draws and serves studies. Never used outside tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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
from automl.outcome import Artefact, Failed, Gain, Infeasible, Measured, Measurement, Outcome, Ratio, Timing
from automl.search.front import choose, study_front
from automl.storage import Store

OPERATIONS = (
    "skip_connect",
    "max_pool_3x3",
    "avg_pool_3x3",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "conv_3x3",
)
LIMITS = {"latency_ms": 1.2, "size_bytes": 300_000.0}
OBJECTIVES = ("accuracy", "latency_ms", "size_bytes")
DEVICE = "cpu:fake"


@dataclass(frozen=True)
class FakeTrial:
    """One trial to record: its number, candidate and outcome."""

    number: int
    candidate: Candidate
    outcome: Outcome


def fake_trials(count: int, seed: int = 0) -> list[FakeTrial]:
    """Return `count` trials: most measured, some infeasible, some that do not pay, one failed and one unstable."""
    rng = np.random.default_rng(seed)
    return [_fake_trial(number, rng) for number in range(count)]


def fake_candidate(rng: np.random.Generator) -> Candidate:
    """Return a random candidate of the joint space's form."""
    width = int(rng.choice([16, 32, 48]))
    genotype = Genotype(_cell(rng), _cell(rng), int(rng.choice([3, 4, 5])), width)
    full = genotype.stage_widths()
    ratios = rng.choice([0.0, 0.0, 0.25, 0.5, 0.75], size=3)
    kept = tuple(max(16, round(one * (1 - ratio) / 16) * 16) for one, ratio in zip(full, ratios, strict=True))
    pairs = [(32, 32), (8, 8), (4, 32)]
    first = pairs[int(rng.integers(3))]
    stages = [first if rng.random() < 0.8 else pairs[int(rng.integers(3))] for _ in range(3)]
    alpha = float(rng.choice([1.0, 0.7, 0.4]))
    return Candidate(
        genotype,
        PruningPlan(kept),
        QuantizationPlan(tuple(pair[0] for pair in stages), tuple(pair[1] for pair in stages)),
        DistillationPlan(alpha, 1.0 if alpha == 1.0 else float(rng.choice([1, 2, 4, 8]))),
        TrainingPlan("adamw", float(rng.choice([1e-3, 2e-3, 4e-3, 8e-3])), 5e-4, 64, 10, 0.0, 0.05, 5.0),
    ).canonical()


def fake_measured(
    candidate: Candidate, rng: np.random.Generator, prefix: str = "", moment: str = "trained"
) -> Measured:
    """Return figures that grow and shrink with the candidate as real ones would."""
    latency, twin_ms, size, twin_size = _cost(candidate, rng)
    error = 0.012 + 0.05 / (1 + 3 * latency) + float(rng.exponential(0.008))
    error += 0.004 * sum(bits == 4 for bits in candidate.quantization.weight_bits)
    error += 0.1 * float(rng.random() < 0.06)
    accuracy = round((1 - error) * 360) / 360
    verdict = "uncompressed"
    if candidate.is_compressed():
        faster, smaller = latency / twin_ms < 0.97, size / twin_size < 0.9 and latency / twin_ms < 1.02
        verdict = "faster" if faster else "smaller" if smaller else "no gain on this target"
    ratio = Ratio(latency / twin_ms, latency / twin_ms * 0.99, latency / twin_ms * 1.01)
    margin = 1.96 * (accuracy * (1 - accuracy) / 360) ** 0.5
    sha = f"{int(rng.integers(1 << 62)):064x}"

    def figure(name: str, value: float, low: float, high: float, samples: int) -> Measurement:
        return Measurement(name, value, "measured", "fake-1", low, high, samples, DEVICE, sha)

    measurements = (
        figure(f"{prefix}accuracy", accuracy, accuracy - margin, min(accuracy + margin, 1.0), 360),
        figure(f"{prefix}balanced_accuracy", accuracy - 0.002, accuracy - margin, min(accuracy + margin, 1.0), 360),
        figure("latency_ms", latency, latency * 0.985, latency * 1.02, 24),
        figure("size_bytes", size, size, size, 1),
    )
    compressed = candidate.is_compressed()
    gain = Gain(verdict, ratio if compressed else None, size / twin_size if compressed else None)
    timing, stable = _timing(moment, latency, sha, ratio), bool(rng.random() > 0.03)
    artefact = Artefact(sha, f"artefacts/{sha}.onnx", int(size))
    return Measured(measurements, artefact, gain, (timing,), (), {"train": 5.0}, stable)


def _fake_trial(number: int, rng: np.random.Generator) -> FakeTrial:
    candidate = fake_candidate(rng)
    if number == 7:
        return FakeTrial(number, candidate, Failed("loss is NaN at epoch 3", "Traceback: <made up>"))
    measured = fake_measured(candidate, rng)
    latency, size = measured.value("latency_ms"), measured.value("size_bytes")
    over = {
        name: (value, LIMITS[name])
        for name, value in (("latency_ms", latency), ("size_bytes", size))
        if value > LIMITS[name]
    }
    if not over:
        return FakeTrial(number, candidate, measured)
    kept = tuple(one for one in measured.measurements if one.name in ("latency_ms", "size_bytes"))
    reason = ", ".join(f"{name} {value:.4g} is over {bound:g}" for name, (value, bound) in over.items())
    return FakeTrial(number, candidate, Infeasible(reason, over, kept, measured.timings, {"time": 1.0}))


def _cost(candidate: Candidate, rng: np.random.Generator) -> tuple[float, float, float, float]:
    cells = [candidate.genotype.cell_at(position) for position in range(candidate.genotype.cells)]
    weights = sum(edge.operation.startswith(("sep", "dil")) + 3 * (edge.operation == "conv_3x3")
                  for cell in cells for node in cell.nodes for edge in node) + 4  # fmt: skip
    full, kept = candidate.genotype.stage_widths(), candidate.pruning.kept_widths
    share = sum(one**2 for one in kept) / sum(one**2 for one in full)
    twin_ms = 0.011 * weights * (full[0] / 16) ** 1.3
    speed = float(np.mean([{8: 0.8, 32: 1.0}[bits] for bits in candidate.quantization.activation_bits]))
    speed = speed * float(rng.uniform(0.6, 1.35)) if speed < 1 else speed
    latency = twin_ms * (0.25 + 0.75 * share**0.7) * speed
    twin_size = 1500.0 * weights * (full[0] / 16) ** 2 + 9_000
    bits = float(np.mean(candidate.quantization.weight_bits))
    return latency, twin_ms, round(twin_size * share * bits / 32 + 9_000), twin_size


def _timing(moment: str, latency: float, sha: str, twin: Ratio) -> Timing:
    ratio = Ratio(latency / 0.5, latency / 0.5 * 0.985, latency / 0.5 * 1.02)
    samples = {"candidate": (latency, latency * 1.01), "control": (0.5, 0.502)}
    return Timing(
        moment, "measured", "ort-cpu-1", DEVICE, sha, "fp32", 0.5, ratio, twin, Ratio(1.0, 0.995, 1.004), samples
    )


def _cell(rng: np.random.Generator) -> Cell:
    nodes = []
    for index in range(4):
        first, second = rng.choice(index + 2, size=2, replace=False)
        nodes.append((Edge(str(rng.choice(OPERATIONS)), int(first)), Edge(str(rng.choice(OPERATIONS)), int(second))))
    return Cell(tuple(nodes), (2, 3, 4, 5) if rng.random() < 0.7 else (4, 5))


def record_study(store: Store, name: str = "fake", count: int = 60, seed: int = 0) -> None:
    """Record a whole study: its trials, one open one, its teacher, three finalists and a twin."""
    study = store.create_study(name, {"limits": LIMITS, "name": name}, "digest", seed, {}, DEVICE, OBJECTIVES)
    for trial in fake_trials(count, seed):
        record_trial(store, study.id, trial)
    open_trial(store, study.id, count, fake_candidate(np.random.default_rng(seed + 1)))
    record_ending(store, study.id, seed)


def open_trial(store: Store, study_id: int, number: int, candidate: Candidate) -> None:
    """Record a trial that has no outcome yet."""
    store.add_trial(study_id, number, {"width": 0}, candidate, candidate.candidate_hash(), f"shape{number}", {}, False)


def record_trial(store: Store, study_id: int, trial: FakeTrial) -> None:
    """Record a trial with its outcome."""
    open_trial(store, study_id, trial.number, trial.candidate)
    store.finish_trial(study_id, trial.number, trial.outcome)


def record_ending(store: Store, study_id: int, seed: int) -> None:
    """Record the teacher, three finalists and the twin of one of them."""
    rng = np.random.default_rng(seed + 2)
    front = study_front(store.trials(study_id), OBJECTIVES)
    teacher = front[0].candidate.twin()
    figures = fake_measured(teacher, rng).measurements
    store.save_teacher(
        study_id, sha256="0" * 64, path="teacher/t.npz", candidate=teacher, measurements=figures, seconds=60
    )
    chosen = [choose(front, "accuracy"), choose(front, "knee"), choose(front, "latency")]
    for trial in {trial.number: trial for trial in chosen}.values():
        store.add_finalist(
            study_id, "finalist", trial.number, trial.candidate, fake_measured(trial.candidate, rng, "test_")
        )
    knee, twin = chosen[1], chosen[1].candidate.twin()
    store.add_finalist(study_id, "twin", knee.number, twin, fake_measured(twin, rng, "test_"))
