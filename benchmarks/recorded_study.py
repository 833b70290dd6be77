"""A made-up study of any size, with the structure of a real one: for measuring what a large record costs.

Nothing here was measured. The study says so: its name must begin with `made-up`, its device is "made-up device", and
every figure is of the kind "recorded". Candidates come from the space of the shipped study `digits`; half of them are
neighbours of an earlier one, as a search has them, and some are the same as an earlier one and reused. Figures follow a
smooth made-up law of the candidate's choices with noise.

`python benchmarks/recorded_study.py URL --trials 20000` writes one.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from automl.candidate import Candidate
from automl.errors import input_error
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
    state_of,
)
from automl.space import Point, SearchSpace
from automl.storage import RungRecord, Store, StudyRecord, TrialRecord, open_store
from automl.study_spec import StudySpec, load_study_spec
from search_spaces.joint import space_from_spec

MADE_UP = "made-up"
DEVICE = f"{MADE_UP} device"
PROTOCOL = "made-up protocol: 2 sittings of 12 rounds, the fastest of 5 repeats"
FORMATS = ((32, 32), (8, 32), (8, 8))
INPUT_SHAPE, CLASSES = (8, 8), 10
IMAGES = 360
ROUNDS = 24
EPOCHS = 7
CHUNK = 500
LIMIT_MS = 0.4  # about one in ten is over it
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
TRIAL_S = 20.0
SHARES = {"failed": 0.01, "stopped": 0.04, "reused": 0.05}


@dataclass
class Maker:
    """Makes trials one after the other; remembers what later ones repeat."""

    space: SearchSpace
    rng: np.random.Generator
    points: list[Point] = field(default_factory=list)
    measured: dict[str, TrialRecord] = field(default_factory=dict)  # by candidate hash, the latest few

    def trial(self, number: int) -> TrialRecord:
        """Return the next trial, finished."""
        if self.measured and self.rng.random() < SHARES["reused"]:
            earlier = list(self.measured.values())[int(self.rng.integers(len(self.measured)))]
            return replace(self._open(number, dict(earlier.point), earlier.candidate), state="measured",
                           outcome=earlier.outcome, reused_from=earlier.number, attempts=0)  # fmt: skip
        point = self._point()
        trial = self._open(number, point, self.space.decode(point))
        known = self.measured.get(trial.candidate_hash)
        outcome = self._outcome(trial.candidate, trial.candidate_hash) if known is None else known.outcome
        assert outcome is not None
        trial = replace(trial, outcome=outcome, state=state_of(outcome),  # type: ignore[arg-type]
                        reused_from=None if known is None else known.number)  # fmt: skip
        if isinstance(outcome, Measured) and known is None:
            self.measured[trial.candidate_hash] = trial
            if len(self.measured) > 200:
                del self.measured[next(iter(self.measured))]
        return trial

    def rungs(self, trial: TrialRecord) -> list[RungResult]:
        """Return results below the top rung for a trial that was stopped, or whose number is even."""
        if trial.outcome is None or trial.reused_from is not None or isinstance(trial.outcome, Failed | Infeasible):
            return []
        source = trial.outcome if isinstance(trial.outcome, Measured) else self._measured(trial.candidate, "0" * 64)
        stopped = isinstance(trial.outcome, Stopped)
        return [
            RungResult(
                rung, source.measurements[:6], source.timings[:1], source.curve[: 1 + 2 * rung], {"train": 1.5},
                None if stopped else Artefact(_sha256(f"{trial.number} {rung}"), f"checkpoints/{trial.number}", 90_000),
            )
            for rung in range(1 if stopped else 2)
        ]  # fmt: skip

    def _point(self) -> Point:
        if self.points and self.rng.random() < 0.5:
            point = dict(self.points[int(self.rng.integers(len(self.points)))])
            for name in self.rng.choice(self.space.names(), size=3, replace=False):
                point[str(name)] = self.space.sample(self.rng)[str(name)]
        else:
            point = self.space.sample(self.rng)
        self.points = [*self.points[-50:], point]
        return point

    def _open(self, number: int, point: Point, candidate: Candidate) -> TrialRecord:
        began = BEGAN + timedelta(seconds=TRIAL_S * number)
        return TrialRecord(
            number=number,
            point=point,
            candidate=candidate,
            candidate_hash=candidate.candidate_hash(),
            shape_key=candidate.shape_key(INPUT_SHAPE, CLASSES),
            state="open",
            attempts=1,
            reused_from=None,
            sampler_state={"generation": number // 50, "pending": []},
            outcome=None,
            created_at=began,
            finished_at=began + timedelta(seconds=TRIAL_S * float(self.rng.uniform(0.6, 3.0))),
            enqueued=number < 5,
        )

    def _outcome(self, candidate: Candidate, candidate_hash: str) -> Outcome:
        drawn = self.rng.random()
        if drawn < SHARES["failed"]:
            reason = "the loss is not finite in epoch 3"
            return Failed(reason, f"Traceback (most recent call last):\n  ...\nDiverged: {reason}", {"train": 4.0})
        artefact = _sha256(candidate_hash)
        latency_ms = self._latency_ms(candidate)
        if latency_ms > LIMIT_MS:
            timing = self._timing("untrained", latency_ms, artefact)
            figures = (_latency(timing), *_costs(self._size_bytes(candidate), artefact))
            violations = {"latency_ms": (latency_ms, LIMIT_MS)}
            return Infeasible("over latency_ms", violations, figures, (timing,), {"build": 0.1, "time_untrained": 0.8})
        if drawn < SHARES["failed"] + SHARES["stopped"]:
            return Stopped("dominated at rung 0", {"build": 0.1, "time_untrained": 0.8, "train": 1.5})
        return self._measured(candidate, artefact)

    def _measured(self, candidate: Candidate, artefact: str) -> Measured:
        latency_ms, size_bytes = self._latency_ms(candidate), self._size_bytes(candidate)
        timings = tuple(self._timing(moment, latency_ms, artefact) for moment in ("untrained", "trained"))
        ratio = timings[-1].twin_ratio
        assert ratio is not None
        if not candidate.is_compressed():
            gain = Gain("uncompressed", None, None)
        else:
            gain = Gain(
                "faster" if ratio.high < 1 else "no gain on this target", ratio, float(self.rng.uniform(0.2, 1))
            )
        return Measured(
            measurements=self._figures(timings[-1], size_bytes, artefact),
            artefact=Artefact(artefact, f"artefacts/{artefact[:16]}.onnx", size_bytes),
            gain=gain,
            timings=timings,
            curve=tuple(self._epoch(epoch) for epoch in range(EPOCHS)),
            seconds={stage: float(self.rng.uniform(0.1, 9)) for stage in
                     ("build", "time_untrained", "train", "export", "score", "time_trained", "count")},
            stable=bool(self.rng.random() > 0.02),
            notes=("quantization: 1 layer stayed in floating point",) if candidate.is_quantized() else (),
        )  # fmt: skip

    def _figures(self, timing: Timing, size_bytes: int, artefact: str) -> tuple[Measurement, ...]:
        accuracy = round(IMAGES * float(np.clip(0.93 + 0.03 * np.tanh(np.log(size_bytes / 2e5))
                                                + self.rng.normal(0, 0.01), 0, 1))) / IMAGES  # fmt: skip
        twin = _sha256(f"twin of {artefact}")
        shares = {"accuracy": accuracy, "balanced_accuracy": accuracy - 0.002, "twin_accuracy": accuracy + 0.004}
        exact = {
            "peak_memory_bytes": 9_000_000 + 3 * size_bytes,
            "training_seconds": float(self.rng.uniform(2, 9)),
            "training_peak_bytes": 140_000_000,
            "nonzero_parameters": size_bytes // 5,
            "teacher_agreement": accuracy + 0.01,
        }
        latency_ms = timing.latency_ms
        return (
            *(_figure(name, it, it - 0.02, min(it + 0.02, 1.0), IMAGES, artefact) for name, it in shares.items()),
            _latency(timing),
            *_costs(size_bytes, artefact),
            _figure("twin_latency_ms", latency_ms * 1.3, latency_ms * 1.2, latency_ms * 1.4, ROUNDS, twin),
            *(_exact(name, value, artefact) for name, value in exact.items()),
            _exact("twin_size_bytes", 2 * size_bytes, twin),
        )

    def _latency_ms(self, candidate: Candidate) -> float:
        bits = float(np.mean(candidate.quantization.activation_bits)) / 32
        work = len(candidate.genotype.stage_widths()) * float(np.mean(candidate.pruning.kept_widths)) / 64
        return float((0.05 + 0.12 * work * (0.5 + 0.5 * bits)) * self.rng.lognormal(0, 0.2))

    def _size_bytes(self, candidate: Candidate) -> int:
        bits = float(np.mean(candidate.quantization.weight_bits)) / 32
        return int(20_000 + 60 * bits * float(np.sum(np.square(candidate.pruning.kept_widths))))

    def _timing(self, moment: str, latency_ms: float, artefact: str) -> Timing:
        value, twin = latency_ms / 0.4, float(self.rng.uniform(0.5, 1.15))
        names = ("candidate", "control", "control_again", "twin")
        medians = (latency_ms, 0.4, 0.4, latency_ms / twin)
        return Timing(
            moment, "recorded", PROTOCOL, DEVICE, artefact, "fp32", 0.4,
            Ratio(value, value * 0.99, value * 1.01),
            Ratio(twin, twin * 0.98, twin * 1.02),
            Ratio(1.0, 0.996, 1.004),
            {name: tuple((median * self.rng.lognormal(0, 0.01, ROUNDS)).tolist())
             for name, median in zip(names, medians, strict=True)},
        )  # fmt: skip

    def _epoch(self, epoch: int) -> Epoch:
        loss = 2.3 * 0.6**epoch * float(self.rng.lognormal(0, 0.1))
        return Epoch("dense" if epoch < 5 else "pruned", epoch, loss, 1.5 * loss, 3e-3 * (1 - epoch / EPOCHS), 0.6)


def fill(store: Store, study_name: str, trials: int, seed: int, open_last: int = 0) -> StudyRecord:
    """Write a made-up study of `trials` trials, the last `open_last` of them open, and return it.

    Raises:
        InputError: where the name does not say that it is made up, or the study exists.
    """
    if not study_name.startswith(MADE_UP):
        raise input_error("the study's name", f"one that begins with {MADE_UP!r}", study_name)
    spec = load_study_spec("digits", {"name": study_name})
    study = store.create_study(
        study_name, spec.to_json(), spec.digest(), spec.search.seed, {"automl": MADE_UP}, DEVICE, spec.objectives
    )
    store.set_control_reference(study.id, DEVICE, "fp32", 0.4, _sha256("control"))
    maker = Maker(made_up_space(spec), np.random.default_rng(seed))
    for first in range(0, trials, CHUNK):
        chunk = [maker.trial(number) for number in range(first, min(first + CHUNK, trials))]
        finished = [trial if trial.number < trials - open_last else _opened(trial) for trial in chunk]
        rungs = [RungRecord(0, trial.number, result) for trial in finished for result in maker.rungs(trial)]
        store.import_trials(study.id, finished, rungs)
    return study


def _opened(trial: TrialRecord) -> TrialRecord:
    return replace(trial, state="open", outcome=None, reused_from=None, finished_at=None)


def made_up_space(spec: StudySpec) -> SearchSpace:
    """Return the space that the made-up trials come from."""
    return space_from_spec(spec.to_json(), FORMATS)


def _latency(timing: Timing) -> Measurement:
    low, high = (bound * timing.control_reference_ms for bound in (timing.control_ratio.low, timing.control_ratio.high))
    return Measurement(
        "latency_ms", timing.latency_ms, "recorded", PROTOCOL, low, high, ROUNDS, DEVICE, timing.artefact
    )


def _costs(size_bytes: int, artefact: str) -> tuple[Measurement, ...]:
    figures = {"size_bytes": size_bytes, "parameters": size_bytes // 4, "macs": 30 * size_bytes}
    return tuple(_exact(name, value, artefact) for name, value in figures.items())


def _exact(name: str, value: float, artefact: str) -> Measurement:
    return _figure(name, value, value, value, 1, artefact)


def _figure(name: str, value: float, low: float, high: float, samples: int, artefact: str) -> Measurement:
    numbers = (float(value), float(low), float(high))
    return Measurement(name, numbers[0], "recorded", "made up", numbers[1], numbers[2], samples, DEVICE, artefact)


def _sha256(text: str) -> str:
    return hashlib.sha256(f"{MADE_UP} {text}".encode()).hexdigest()


def main(arguments: Sequence[str]) -> None:
    from argparse import ArgumentParser

    parser = ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("url", help="the database, such as sqlite:///runs/large.db")
    parser.add_argument("--trials", type=int, default=20_000)
    parser.add_argument("--open", type=int, default=0, help="how many of the last trials stay open")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default=MADE_UP)
    options = parser.parse_args(arguments)
    began = time.perf_counter()
    with open_store(options.url) as store:
        fill(store, options.name, options.trials, options.seed, options.open)
    print(f"{options.trials} made-up trials in {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
