"""Compression that pays: three networks on Fashion-MNIST, every usual way to compress them, and the searched recipe.

Rows of one network train equally long (the search's own time included), are chosen on validation and reported on test,
and their files are timed head to head against the uncompressed one. Finished rows are kept in --folder: run the same
command again to go on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from goals import Goal, arguments, report

from automl.candidate import Candidate, candidate_from_json, candidate_to_json
from automl.commands.joining import Joined, join
from automl.compression.pruning import nominal_structure
from automl.evaluation import EvaluationContext, prepare_controls
from automl.evaluation.controls import fastest_float_runtime
from automl.evaluation.files import control_for, keep_file, nominal_file
from automl.evaluation.networks import unpruned_network
from automl.evaluation.scoring import score_file
from automl.evaluation.weights import Recipe, Trained, deployed_file, train_candidate
from automl.outcome import Measured
from automl.search.study_context import model_source
from automl.search.study_run import run_study
from automl.space import Point
from automl.storage import open_store
from automl.study_spec import open_dataset, parse_study_spec
from automl.targets import Contestant, runtime_obstacles
from automl.targets.lanes import allowed_cores, training_slot
from automl.targets.opening import default_lane_folder
from automl.targets.probe import u8s8_saturates
from automl.training.loop import Schedule, TrainingSet, train
from automl.training.views import augmented_views
from search_spaces.joint import enqueued_points
from search_spaces.user_model import queued_points

RATIOS = (0.25, 0.5, 0.75)  # of the peers that prune
SEARCHED = (0.5, 0.75, 0.875, 0.9375)  # of ours
ROUND_SHARE = 0.06  # of our seconds: for each recipe that is tried before the chosen one is trained
POINT, MARGIN = 0.01, 0.02  # of accuracy: what may be lost, and what speed is worth among the tried
MANY = 1000  # epochs: the clock ends every training
SPEED_GOAL = 1.5

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
        "quantization": {"pairs": ["w8a8"], "calibrations": ["min_max"]},
        "training": {"learning_rate": 3e-3, "epochs": 1, "batch_size": 64},
        "distillation": {"alphas": [1.0]},
        "objectives": ["accuracy", "latency_ms"],
        "budget": {"trials": 1},
        "search": {"seed": seed},
    }  # fmt: skip


def uncompressed(bench: Bench) -> Row:
    candidate = bench.candidate()
    trained = train_for(bench, candidate, bench.seconds)
    folder = bench.context.runs / "uncompressed"
    folder.mkdir(exist_ok=True)
    torch.save(trained.network.state_dict(), folder / "state.pt")
    content = deployed_file(trained, candidate, bench.context.dataset.train, bench.context)
    return bench.finished("uncompressed", content, candidate, trained.seconds, "as it is")


def train_for(bench: Bench, candidate: Candidate, seconds: float) -> Trained:
    """Return the candidate trained for so many seconds on all cores."""
    recipe = Recipe(bench.context.dataset.train, MANY, seconds, None)
    return train_candidate(candidate, recipe, bench.context, bench.context.threads)


def onnxruntime_int8(bench: Bench, plain: Row) -> Row:
    """ONNX Runtime's own static quantization of the uncompressed file: QDQ, unsigned activations, per channel."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.samples = iter(calibration_samples(bench))

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(({"pixels": sample} for sample in self.samples), None)

    made = bench.context.runs / "onnxruntime_int8.onnx"
    quantize_static(
        plain.path, str(made), Reader(), quant_format=QuantFormat.QDQ, per_channel=True, reduce_range=u8s8_saturates(),
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    candidate = bench.candidate()
    return bench.finished(
        "ONNX Runtime int8", made.read_bytes(), candidate, plain.seconds, "quantize_static, per channel"
    )


def nncf_int8(bench: Bench, plain: Row) -> Row:
    """NNCF's post-training quantization of the uncompressed file, served by OpenVINO."""
    import nncf
    import onnx

    model = onnx.load(plain.path)
    data = nncf.Dataset(calibration_samples(bench), lambda sample: {"pixels": sample})
    quantized = nncf.quantize(model, data, subset_size=256)
    candidate = replace(bench.candidate(), runtime="openvino")
    return bench.finished(
        "NNCF int8 on OpenVINO", quantized.SerializeToString(), candidate, plain.seconds, "nncf.quantize"
    )


def calibration_samples(bench: Bench) -> list[np.ndarray]:
    train_split = bench.context.dataset.train
    chosen = np.random.default_rng(0).permutation(len(train_split))[:256]
    return [train_split.pixels[index][None] for index in chosen]


def best_pruned(bench: Bench, plain: Row) -> Row:
    """Prune evenly, fine-tune, serve by the faster runtime; of those within a point on validation the fastest."""
    rows = []
    for ratio in RATIOS:
        candidate = bench.candidate(**{"prune_*": ratio})
        rows.append(bench.row(f"pruned {ratio}", lambda c=candidate, r=ratio: pruned_row(bench, c, r)))  # type: ignore[misc]
    within = [row for row in rows if row.validation >= plain.validation - POINT]
    pool = within if within else [max(rows, key=lambda row: row.validation)]
    best = min(pool, key=lambda row: ratio_to(bench, row, plain)[0])
    return replace(best, name="best of prune + fine-tune", what=best.name)


def pruned_row(bench: Bench, candidate: Candidate, ratio: float) -> Row:
    trained = train_for(bench, candidate, bench.seconds)
    content = deployed_file(trained, candidate, bench.context.dataset.train, bench.context)
    row = bench.finished(f"pruned {ratio}", content, candidate, trained.seconds, f"l1, {ratio:g} of every width")
    return faster_runtime(bench, row)


def faster_runtime(bench: Bench, row: Row) -> Row:
    """Return the row served by the faster of the runtimes; its answers are scored again there."""
    others = [name for name in bench.joined.spec.target.runtimes if name != row.runtime]
    found = row
    for runtime in others:
        other = replace(row, runtime=runtime)
        if ratio_to(bench, other, found)[2] < 1:
            candidate = replace(bench.candidate(), runtime=runtime)
            found = bench.finished(
                row.name, Path(row.path).read_bytes(), candidate, row.seconds, f"{row.what}, {runtime}"
            )
    return found


def from_scratch(bench: Bench, ours: Row) -> Row:
    """An evenly narrow network of our row's latency, trained from fresh weights all the time."""
    context, best = bench.context, None
    for ratio in np.linspace(0.0, 0.9, 7):
        candidate = narrowed(bench, float(ratio))
        artefact = keep_file(nominal_file(candidate, context), context.runs, "nominal")
        row = Row("nominal", str(context.runs / artefact.path), artefact.sha256, "onnxruntime", 0, 0, 0, 0, "")
        distance = abs(np.log(min(ratio_to(bench, one, ours)[0] for one in either_runtime(bench, row))))
        if best is None or distance < best[0]:
            best = (distance, candidate)
    assert best is not None
    candidate, started = best[1], time.monotonic()
    torch.manual_seed(context.seed)
    network = nominal_structure(unpruned_network(candidate, context), candidate.pruning)
    for module in network.modules():
        if hasattr(module, "reset_parameters") and not isinstance(module, torch.nn.Sequential):
            module.reset_parameters()
    split = context.dataset.train
    views = augmented_views(split.pixels, context.dataset.augmentation, context.seed)
    with training_slot(context.lane_folder, cores=context.threads) as slot:
        torch.set_num_threads(context.threads)
        train(
            network, TrainingSet(views, split.labels, None), candidate.training, candidate.distillation,
            Schedule(MANY, 0.0, 1.0, bench.seconds), phase="dense", seed=context.seed, between_steps=slot.give_way,
        )  # fmt: skip
    seconds = time.monotonic() - started
    content = network.write(candidate.quantization, codes=None, largest_code=context.largest_code, batch=1)
    row = bench.finished("same latency from scratch", content, candidate, seconds, widths_of(candidate))
    return replace(faster_runtime(bench, row), name="same latency from scratch")


def narrowed(bench: Bench, ratio: float) -> Candidate:
    """Return the network with the share `ratio` of every width gone, in multiples of 8."""
    plain = bench.candidate()
    kept = tuple(max(8, round(width * (1 - ratio) / 8) * 8) for width in plain.genotype.stage_widths())
    kept = tuple(map(min, kept, plain.genotype.stage_widths()))
    return replace(plain, pruning=replace(plain.pruning, kept_widths=kept)).canonical()


def either_runtime(bench: Bench, row: Row) -> Iterator[Row]:
    yield from (replace(row, runtime=runtime) for runtime in bench.joined.spec.target.runtimes)


def ours(bench: Bench, plain: Row) -> Row:
    """Time untrained files of many recipes, train the fastest of each width a little, then the best on its own.

    The seconds of every training count, those of recipes that were given up as well.
    """
    split, spent, tried = bench.context.dataset.validation, 0.0, []
    validation = split.take(np.arange(min(2000, len(split))))
    for candidate in promising(bench):
        trained = train_for(bench, candidate, ROUND_SHARE * bench.seconds)
        spent += trained.seconds
        content = deployed_file(trained, candidate, bench.context.dataset.train, bench.context)
        artefact = keep_file(content, bench.context.runs)
        path = bench.context.runs / artefact.path
        accuracy = score_file(path, artefact.sha256, validation, bench.context, runtime=candidate.runtime)[0].value
        row = Row("tried", str(path), artefact.sha256, candidate.runtime, accuracy, 0.0, artefact.size_bytes, 0.0, "")
        note(f"{bench.name}: tried {describe(candidate)}: {100 * accuracy:.2f} % on validation")
        tried.append((accuracy, ratio_to(bench, row, plain)[0], candidate))
    floor = max(accuracy for accuracy, _, _ in tried) - MARGIN
    _, _, candidate = min((one for one in tried if one[0] >= floor), key=lambda one: one[1])
    trained = train_for(bench, candidate, bench.seconds - spent)
    content = deployed_file(trained, candidate, bench.context.dataset.train, bench.context)
    what = f"{describe(candidate)}; of {len(tried)} tried"
    return bench.finished("ours, searched", content, candidate, spent + trained.seconds, what)


def promising(bench: Bench) -> list[Candidate]:
    """Return the recipes whose untrained files are fastest, one for each share of the widths, the boldest first."""
    found = []
    for ratio in SEARCHED:
        timed = []
        for bits in ("w8a8", "w32a32"):
            for runtime in bench.joined.spec.target.runtimes:
                more = {"runtime": runtime} if len(bench.joined.spec.target.runtimes) > 1 else {}
                choices = {"prune_*": ratio, "bits_*": bits, "schedule": "at_start", **more}
                candidate = bench.candidate(**choices)
                artefact = keep_file(nominal_file(candidate, bench.context), bench.context.runs, "nominal")
                path = bench.context.runs / artefact.path
                subject = Contestant(path, artefact.sha256, artefact.sha256[:16], candidate.runtime)
                timing = bench.context.target.compare(
                    subject, control_for(bench.candidate(), bench.context), None, "untrained"
                )
                timed.append((timing.control_ratio.value, candidate))
        found.append(min(timed, key=lambda one: one[0])[1])
    return found


def describe(candidate: Candidate) -> str:
    bits = "/".join(f"w{w}a{a}" for w, a in dict.fromkeys(candidate.quantization.pairs()))
    return f"{widths_of(candidate)} {bits} {candidate.quantization.training} {candidate.runtime}"


def widths_of(candidate: Candidate) -> str:
    full, kept = sum(candidate.genotype.stage_widths()), sum(candidate.pruning.kept_widths)
    return f"{kept / full:.2f} of the widths"


def ratio_to(bench: Bench, row: Row, other: Row) -> tuple[float, float, float]:
    """Return the row's latency over the other's, with its 95 % interval: both in one interleaved session."""
    first, second = (Contestant(Path(one.path), one.sha256, one.sha256[:16], one.runtime) for one in (row, other))
    timing = bench.context.target.compare(first, control_for(bench.candidate(), bench.context), second, "benchmark")
    assert timing.twin_ratio is not None
    return timing.twin_ratio.value, timing.twin_ratio.low, timing.twin_ratio.high


def rows_of(bench: Bench, quick: bool) -> tuple[list[Row], list[str]]:
    """Return the finished rows of one network, uncompressed first and ours last, and what could not run."""
    plain = bench.row("uncompressed", lambda: uncompressed(bench))
    rows, refused = [plain], []
    rows.append(bench.row("ONNX Runtime int8", lambda: onnxruntime_int8(bench, plain)))
    obstacle = runtime_obstacles().get("openvino")
    if obstacle is None:
        rows.append(bench.row("NNCF int8 on OpenVINO", lambda: nncf_int8(bench, plain)))
    else:
        refused.append(f"NNCF int8 on OpenVINO: {obstacle}")
    forms = [form for form in bench.joined.target.formats() if form.runtime == "openvino"]
    refused += [
        f"OpenVINO bf16: {form.reason}" for form in forms if (form.weight_bits, form.activation_bits) == (16, 16)
    ]
    mine = bench.row("ours searched", lambda: ours(bench, plain))
    if not quick:
        rows.append(bench.row("best pruned", lambda: best_pruned(bench, plain)))
        rows.append(bench.row("from scratch", lambda: from_scratch(bench, mine)))
    return [*rows, mine], refused


def judge(bench: Bench, rows: list[Row]) -> tuple[dict[str, Any], float, bool]:
    """Return the figures of a network, ours over its best single peer in speed, and whether ours is within a point."""
    plain, *peers, mine = rows
    speeds = {row.name: ratio_to(bench, row, plain) for row in rows[1:]}
    within = [row for row in peers if row.validation >= plain.validation - POINT]
    best = min(within, key=lambda row: speeds[row.name][0], default=plain)
    ratio = ratio_to(bench, mine, best)
    print(f"\n{bench.name}, {bench.seconds:.0f} s a row")
    print(f"{'row':28} {'test':>7} {'valid.':>7} {'latency / uncompressed':>25} {'bytes':>9} {'seconds':>8}  what")
    for row in rows:
        value, low, high = speeds.get(row.name, (1.0, 1.0, 1.0))
        interval = f"{value:.3f} ({low:.3f}-{high:.3f})"
        print(
            f"{row.name:28} {100 * row.test:7.2f} {100 * row.validation:7.2f} {interval:>25} {row.size_bytes:9d} "
            f"{row.seconds:8.0f}  {row.what}, {row.runtime}"
        )
    print(f"ours against the best single peer within a point ({best.name}): {1 / ratio[0]:.2f}x")
    figures = {
        "rows": [asdict(row) for row in rows], "latency_ratios": speeds, "best_peer": best.name,
        "ours_speedup_over_best_peer": 1 / ratio[0],
    }  # fmt: skip
    return figures, 1 / ratio[0], mine.test >= plain.test - POINT


def searched_cell(options: argparse.Namespace) -> Point | None:
    """Return the point of the knee of a short search over cells; None in the quick form, which leaves cells out."""
    name = "searched cell"
    joined = join(parse_study_spec(cell_document(options), "benchmarks/compression.py"))
    folder = options.folder / "cells"
    folder.mkdir(parents=True, exist_ok=True)
    with open_store(f"sqlite:///{folder}/cells.db") as store:
        queue = enqueued_points(joined.space, joined.spec.search.enqueue)
        summary = run_study(
            joined.spec, joined.space, joined.target, store, folder / name, lambda _: None, enqueue=queue
        )
        best = max(
            summary.front,
            key=lambda trial: trial.outcome.value("accuracy") if isinstance(trial.outcome, Measured) else 0,
        )
    kept = folder / "cell.json"
    if not kept.exists():
        kept.write_text(json.dumps({"point": best.point, "candidate": candidate_to_json(best.candidate)}))
    assert candidate_from_json(json.loads(kept.read_text())["candidate"]) is not None
    return dict(json.loads(kept.read_text())["point"])


def cell_document(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "name": "cells",
        "data": {
            "source": "npz", "path": str(options.data), "validation": 0.1, "train_limit": 4000,
            "validation_limit": 2000, "augmentation": "shift_flip",
        },
        "space": {"widths": [32], "cells": [3], "fix": {"prune_*": 0.0, "bits_*": "w32a32"}},
        "training": {"epochs": 2, "learning_rate": 3e-3},
        "distillation": {"alphas": [1.0]},
        "objectives": ["accuracy", "latency_ms"],
        "teacher": {"source": "none"},
        "budget": {"seconds": options.cell_seconds},
        "search": {"population": 6, "enqueue": ["residual", "darts_v2"]},
        "finalists": {"count": 1, "epochs": 1, "share": 0.02},
    }  # fmt: skip


def main() -> int:
    parser = arguments(str(__doc__).splitlines()[0])
    parser.add_argument("--data", type=Path, help="fashion_mnist.npz; scikit-learn's digits without it (--quick only)")
    parser.add_argument("--folder", type=Path, default=Path("runs/compression"), help="where finished rows are kept")
    parser.add_argument("--seconds", type=float, default=120, help="of training for each row, at most 180")
    parser.add_argument("--cell-seconds", type=float, default=240, help="of the search for the cell, once")
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.folder = (
            12.0,
            options.folder / f"quick-{hashlib.sha256(str(options.data).encode()).hexdigest()[:6]}",
        )
    elif options.data is None:
        parser.error("--data must be the path of fashion_mnist.npz, but got nothing; or run with --quick")
    names = ["ResNet-18 w32"] if options.quick else list(MODELS)
    figures: dict[str, object] = {}
    speeds: dict[str, list[tuple[float, bool]]] = {}
    for seed in range(options.seeds):
        for name in names:
            cell = searched_cell(options) if name == "searched cell" else None
            bench = open_bench(name, options, seed, cell)
            rows, refused = rows_of(bench, options.quick)
            figures[f"{name} {seed}"], speed, is_within = judge(bench, rows)
            speeds.setdefault(name, []).append((speed, is_within))
            for reason in refused:
                print(f"not run: {reason}")
    goals = goals_of(speeds, options.quick)
    print()
    return report(goals, figures, options.json)


def goals_of(speeds: dict[str, list[tuple[float, bool]]], quick: bool) -> list[Goal]:
    medians = {name: float(np.median([speed for speed, _ in values])) for name, values in speeds.items()}
    within = {name: all(held for _, held in values) for name, values in speeds.items()}
    fast = [name for name in medians if medians[name] >= SPEED_GOAL and within[name]]
    shown = ", ".join(
        f"{name} {speed:.2f}x{'' if within[name] else ' (lost more than a point)'}" for name, speed in medians.items()
    )
    return [
        Goal(
            "ours over the best single peer",
            "1.5x on two of three, within a point",
            shown,
            None if quick else len(fast) >= 2,
        ),
        Goal("ours is never slower", "at least 1x on all", shown, None if quick else min(medians.values()) >= 1),
        Goal("every row's file ran and was scored", "all", "all", True),
    ]


if __name__ == "__main__":
    sys.exit(main())
