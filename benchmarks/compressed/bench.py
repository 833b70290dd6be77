"""What the rows of one network share: study, space and context, and how a finished file is scored and timed."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from automl.candidate import Candidate
from automl.commands.joining import Joined, join
from automl.evaluation import EvaluationContext, prepare_controls
from automl.evaluation.controls import fastest_float_runtime
from automl.evaluation.files import control_for, keep_file
from automl.evaluation.scoring import score_file
from automl.evaluation.weights import Recipe, Trained, train_candidate
from automl.search.study_context import model_source
from automl.space import Point
from automl.study_spec import open_dataset, parse_study_spec
from automl.targets import Contestant, runtime_obstacles
from automl.targets.formats import Format, cpu_formats
from automl.targets.lanes import allowed_cores
from automl.targets.opening import default_lane_folder
from automl.targets.probe import u8s8_saturates
from search_spaces.joint import enqueued_points
from search_spaces.user_model import queued_points

RATIOS = (0.25, 0.5, 0.75)  # of the peers that prune
SEARCHED = (0.5, 0.75, 0.875, 0.9375)  # of ours
POINT = 0.01  # of accuracy: what may be lost
MANY = 1000  # epochs: the clock ends every training

MODELS: dict[str, dict[str, Any]] = {
    "ResNet-18 w32": {"model": {"source": "automl.models.zoo.resnet:resnet18_width32"}},
    "MobileNetV2 x0.5": {"model": {"source": "automl.models.zoo.mobilenet:mobilenet_v2_half"}},
    "searched cell": {"space": {"widths": [32], "cells": [3]}},
}


@dataclass(frozen=True)
class Row:
    """A finished row: its file, the runtime that serves it, its accuracies (shares), bytes and training seconds."""

    name: str
    path: str
    sha256: str
    runtime: str
    validation: float
    test: float
    size_bytes: int
    seconds: float
    what: str


@dataclass(frozen=True)
class Bench:
    """One network with everything that its rows share."""

    name: str
    joined: Joined
    context: EvaluationContext
    folder: Path
    seconds: float
    cell: Point | None

    def candidate(self, **choices: Any) -> Candidate:
        """Return the network with these choices, uncompressed where nothing is said."""
        space = self.joined.space
        if self.cell is None:
            (point,) = queued_points(space, [choices or "uncompressed"])
        else:
            (point,) = enqueued_points(space, [{"genotype": "residual", **choices}])
            point = {**point, **{name: self.cell[name] for name in self.cell if is_architecture(self.joined, name)}}
        return space.decode(point)

    def row(self, name: str, make: Callable[[], Row]) -> Row:
        """Return the finished row, read where it was made before."""
        kept = self.folder / "rows" / f"{name.replace(' ', '_').replace('/', '_')}.json"
        if not kept.exists():
            row = make()
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(asdict(row)))
            note(f"{self.name}: {name}: {100 * row.test:.2f} % on test, {row.seconds:.0f} s")
        return Row(**json.loads(kept.read_text()))

    def finished(self, name: str, content: bytes, candidate: Candidate, seconds: float, what: str) -> Row:
        """Return the row of a file: scored on validation and test by the runtime that serves it."""
        artefact = keep_file(content, self.context.runs)
        path = self.context.runs / artefact.path
        data, runtime = self.context.dataset, candidate.runtime
        scores = [
            score_file(path, artefact.sha256, split, self.context, runtime=runtime)[0].value
            for split in (data.validation, data.test)
        ]
        return Row(name, str(path), artefact.sha256, runtime, scores[0], scores[1], artefact.size_bytes, seconds, what)


def note(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


def is_architecture(joined: Joined, name: str) -> bool:
    return any(one.name == name and one.group == "architecture" for one in joined.space.dimensions)


def open_bench(name: str, options: argparse.Namespace, seed: int, cell: Point | None) -> Bench:
    folder = options.folder / f"{name.replace(' ', '_')}-{seed}"
    joined = join(parse_study_spec(document(name, options, seed), "benchmarks/compression.py"))
    spec, runs = joined.spec, (folder / "runs").resolve()
    runs.mkdir(parents=True, exist_ok=True)
    dataset = open_dataset(spec.data)
    controls = prepare_controls(joined.target, dataset, runs, 1, {}, spec.target.runtimes)
    context = EvaluationContext(
        dataset=dataset, target=joined.target, controls=controls, limits={}, objectives=spec.objectives, runs=runs,
        seed=seed, teacher=None, lane_folder=default_lane_folder(), threads=len(allowed_cores()), batch=1,
        largest_code=64 if u8s8_saturates() else 127, finalist_epochs=MANY, finalist_seconds=None,
        model=model_source(spec), float_runtime=fastest_float_runtime(controls),
    )  # fmt: skip
    return Bench(name, joined, context, folder, options.seconds, cell)


def document(name: str, options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Return the study of a network; its search is our row."""
    runtimes = ["onnxruntime"] + (["openvino"] if runtime_obstacles().get("openvino") is None else [])
    source = {"source": "npz", "path": str(options.data)} if options.data else {"source": "digits"}
    return {
        "name": "ours",
        "data": {
            **source, "validation": 0.05 if options.data else 0.2,
            "augmentation": "shift_flip" if options.data else "shift", "seed": seed,
        },
        "target": {"name": "cpu", "channel_multiple": 8, "runtimes": runtimes},
        **MODELS[name],
        "pruning": {"ratios": sorted({0.0, *RATIOS, *SEARCHED}), "schedules": ["one_shot", "at_start"]},
        "quantization": {"pairs": ["w8a8", *(["w16a16"] if computes_in_bf16() else [])], "calibrations": ["min_max"]},
        "training": {"learning_rate": 3e-3, "epochs": 1, "batch_size": 64},
        "distillation": {"alphas": [1.0]},
        "objectives": ["accuracy", "latency_ms"],
        "budget": {"trials": 1},
        "search": {"seed": seed},
    }  # fmt: skip


def computes_in_bf16() -> bool:
    """Tell whether OpenVINO has sixteen-bit arithmetic here."""
    return any((one.weight_bits, one.activation_bits) == (16, 16) and one.executable for one in openvino_formats())


def openvino_formats() -> list[Format]:
    return [] if runtime_obstacles().get("openvino") is not None else list(cpu_formats("openvino"))


def train_for(bench: Bench, candidate: Candidate, seconds: float) -> Trained:
    """Return the candidate trained for so many seconds on all cores."""
    recipe = Recipe(bench.context.dataset.train, MANY, seconds, None)
    return train_candidate(candidate, recipe, bench.context, bench.context.threads)


def ratio_to(bench: Bench, row: Row, other: Row) -> tuple[float, float, float]:
    """Return the row's latency over the other's, with its 95 % interval: both in one interleaved session."""
    first, second = (Contestant(Path(one.path), one.sha256, one.sha256[:16], one.runtime) for one in (row, other))
    timing = bench.context.target.compare(first, control_for(bench.candidate(), bench.context), second, "benchmark")
    assert timing.twin_ratio is not None
    return timing.twin_ratio.value, timing.twin_ratio.low, timing.twin_ratio.high


def widths_of(candidate: Candidate) -> str:
    full, kept = sum(candidate.genotype.stage_widths()), sum(candidate.pruning.kept_widths)
    return f"{kept / full:.2f} of the widths"
