"""The study that the engine is measured on: digits in 40 dimensions, and as many recorded trials as are asked for.

All but the first trial are made up, with outcomes as large as real ones; nothing of them was measured.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from automl.candidate import Candidate
from automl.commands.joining import Joined, join, load_spec
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
    Timing,
    state_of,
)
from automl.search.progress import Progress
from automl.search.samplers import SamplerPlan
from automl.storage import TrialRecord, open_store

NAME = "engine"
STUDY = f"""
name: {NAME}
data: {{source: digits, train_limit: 200, validation_limit: 100}}
space: {{widths: [16, 32], cells: [2, 3, 4]}}
training:
  learning_rate: {{low: 1.0e-3, high: 8.0e-3, log: true, levels: 5}}
  weight_decay: [0.0, 5.0e-4]
  batch_size: [32, 64]
  epochs: [1, 2]
  dropout: [0.0, 0.1]
  label_smoothing: [0.0, 0.05]
  clip_norm: [1.0, 5.0]
distillation: {{alphas: [1.0, 0.5], temperatures: [1.0, 4.0]}}
teacher: {{source: space, epochs: 1}}
objectives: [accuracy, latency_ms, size_bytes]
limits: {{latency_ms: LIMIT}}
budget: {{trials: 2}}
finalists: {{count: 1, epochs: 1}}
search: {{executor: ray, workers: 1, method: nsga2, population: 50}}
"""
DIMENSIONS = 40
LIMIT_MS = 1.0
DEVICE = "recorded:engine"
OTHER_FIGURES = (
    "parameters", "macs", "peak_memory_bytes", "training_seconds", "training_peak_bytes", "nonzero_parameters",
    "teacher_agreement", "twin_accuracy", "twin_latency_ms", "twin_size_bytes",
)  # fmt: skip
CURVE, ROUNDS = 5, 24  # lines of a learning curve, rounds of a timing: what a real trial records


def joined(folder: Path, trials: int | None = None) -> Joined:
    """Return the study with its target and its space, from the file that `begin` wrote; `trials` is its budget."""
    found = join(load_spec(str(folder / f"{NAME}.yaml"), {"budget.trials": trials}))
    assert len(found.space.dimensions) == DIMENSIONS, len(found.space.dimensions)
    return found


def url_of(folder: Path, recorded: int) -> str:
    """Return the storage with so many recorded trials."""
    return f"sqlite:///{folder}/{recorded}/automl.db"


def begin(folder: Path) -> None:
    """Begin the study for real and leave it at its first trial: its teacher and its controls are in the record."""
    (folder / f"{NAME}.yaml").write_text(STUDY.replace("LIMIT", str(LIMIT_MS)))
    subprocess.run([sys.executable, __file__, str(folder)], check=True, stdout=sys.stderr)


def run_to_first_trial(folder: Path) -> None:
    """Run the study in this process until its first trial is open."""
    from automl.search.inline import InlineExecutor
    from automl.search.study_run import run_study

    def interrupt(now: Progress) -> None:
        if now.phase == "search" and now.trials > 0:
            raise KeyboardInterrupt

    study = joined(folder)
    with open_store(f"sqlite:///{folder}/automl.db") as store:
        run_study(
            study.spec, study.space, study.target, store, folder / "runs", interrupt,
            open_executor=lambda _: InlineExecutor(),
        )  # fmt: skip


def record(folder: Path, count: int) -> None:
    """Make a storage in which the study has `count` trials, all made up but the first one, which is open."""
    copy = folder / str(count) / "automl.db"
    copy.parent.mkdir()
    with closing(sqlite3.connect(folder / "automl.db")) as begun, closing(sqlite3.connect(copy)) as made:
        begun.backup(made)  # a plain copy would miss what still lies in the log
    with open_store(url_of(folder, count)) as store:
        study = store.find_study(NAME)
        assert study is not None and len(store.trials(study.id)) == 1
        store.import_trials(study.id, made_up_trials(folder, 1, count))


def made_up_trials(folder: Path, first: int, end: int, seed: int = 0) -> Iterator[TrialRecord]:
    """Yield finished trials with the numbers from `first` to `end`, a tenth of a second apart."""
    space, begun = joined(folder).space, datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(first, end):
        rng = np.random.default_rng([seed, number])
        point = space.sample(rng)
        candidate = space.decode(point)
        outcome, moment = made_up(candidate, number), begun + timedelta(seconds=0.1 * number)
        state: Any = state_of(outcome)
        yield TrialRecord(
            number, point, candidate, candidate.candidate_hash(), candidate.shape_key((8, 8), 10), state, 1, None,
            {"generation": number // 50, "parents": [], "pending": []}, outcome, moment, moment, False,
        )  # fmt: skip


def made_up(candidate: Candidate, number: int) -> Outcome:
    """Return an outcome as large as a real one: figures with spread, two timings with samples, a learning curve."""
    rng = np.random.default_rng([number, 1])
    genotype, kept = candidate.genotype, candidate.pruning.kept_widths
    full = genotype.stage_widths()
    share = sum(one * one for one in kept) / sum(one * one for one in full)
    bits = float(np.mean(candidate.quantization.weight_bits))
    latency_ms = 0.004 * full[0] * (0.3 + share) * float(rng.uniform(0.8, 1.6)) * (1 + 7 * float(rng.random() < 0.1))
    size_bytes = round(9_000 + 2_000 * full[0] * share * bits / 32)
    accuracy = round((0.988 - 0.02 / (1 + 5 * latency_ms) - float(rng.exponential(0.01))) * 360) / 360
    if number % 211 == 7:
        return Failed("the loss is not finite in epoch 3", "Traceback: made up")
    sha = f"{int(rng.integers(1 << 62)):064x}"
    figures = (
        _figure("latency_ms", latency_ms, 0.02 * latency_ms, ROUNDS, sha),
        _figure("size_bytes", size_bytes, 0.0, 1, sha),
    )
    untrained, trained = (_timing(moment, latency_ms, candidate, sha, rng) for moment in ("untrained", "trained"))
    if latency_ms > LIMIT_MS:
        reason = f"latency_ms {latency_ms:.4g} is over {LIMIT_MS:g}"
        return Infeasible(reason, {"latency_ms": (latency_ms, LIMIT_MS)}, figures, (untrained,), {"timing": 1.0})
    scores = tuple(_figure(name, accuracy, 0.02, 360, sha) for name in ("accuracy", "balanced_accuracy"))
    figures += tuple(_figure(name, float(rng.random()), 0.0, 1, sha) for name in OTHER_FIGURES)
    gain = Gain("uncompressed", None, None)
    if candidate.is_compressed():
        gain = Gain("faster" if rng.random() < 0.8 else "no gain on this target", trained.twin_ratio, share)
    curve = tuple(Epoch("dense", epoch, 1 / epoch, 1.0, 1e-3, 2.0) for epoch in range(1, CURVE + 1))
    seconds = {"build": 0.2, "timing": 1.0, "training": 5.0, "scoring": 0.1}
    artefact = Artefact(sha, f"artefacts/{sha}.onnx", size_bytes)
    return Measured(
        (*scores, *figures), artefact, gain, (untrained, trained), curve, seconds, bool(rng.random() > 0.03)
    )


def _figure(name: str, value: float, margin: float, samples: int, sha: str) -> Measurement:
    return Measurement(name, value, "recorded", "engine-1", value - margin, value + margin, samples, DEVICE, sha)


def _timing(moment: str, latency_ms: float, candidate: Candidate, sha: str, rng: np.random.Generator) -> Timing:
    ratio = Ratio(latency_ms / 0.5, latency_ms / 0.5 * 0.98, latency_ms / 0.5 * 1.02)
    twin = Ratio(0.8, 0.79, 0.81) if candidate.is_compressed() else None
    contestants = ("candidate", "control", "control_again", *(["twin"] if twin is not None else []))
    samples = {name: tuple(rng.uniform(0.4, 0.6, ROUNDS).tolist()) for name in contestants}
    again = Ratio(1.0, 0.99, 1.01)
    return Timing(moment, "recorded", "engine-1", DEVICE, sha, "fp32", 0.5, ratio, twin, again, samples)


def sampler_plan(study: Joined, method: str, seed: int = 0) -> SamplerPlan:
    """Return how the study is asked by a method."""
    limits = study.spec.limits.bounds()
    return SamplerPlan(study.space, study.spec.objectives, limits, method, seed, study.spec.search.population)


@dataclass(frozen=True)
class MadeUpTask:
    """Evaluates after `seconds` of sleep with made-up figures."""

    candidate: Candidate
    number: int
    seconds: float = 0.0

    def __call__(self, context: Any) -> Outcome:  # noqa: ARG002
        """Return the outcome."""
        time.sleep(self.seconds)
        return made_up(self.candidate, self.number)


if __name__ == "__main__":
    run_to_first_trial(Path(sys.argv[1]))
