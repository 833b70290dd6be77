"""A small student with and without a teacher, with 10 % of the labels and with all: every method, the same steps.

Digits, or any images with `--data FILE.npz`. Each accuracy is that of the exported file on test, run by ONNX Runtime.
The teacher has seen all labels, as a model has that was trained elsewhere. A run that was ended goes on in the same
`--folder`. `--quick` trains the first rows with 10 % of the labels only.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from goals import Goal, arguments, report

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
from automl.compression.data_free import generate_samples, invert_samples, train_generator
from automl.data.dataset import Dataset, load_dataset
from automl.data.images import Split
from automl.data.splits import stratified_subset
from automl.evaluation import EvaluationContext, prepare_controls, train_teacher
from automl.evaluation.context import Teacher
from automl.evaluation.files import keep_file
from automl.evaluation.lessons import soft_targets_of, stage_features_of
from automl.evaluation.networks import kept_network
from automl.evaluation.scoring import score_file
from automl.evaluation.teacher import assistant_candidate, join_teachers, train_assistant
from automl.evaluation.weights import Recipe, deployed_file, train_candidate
from automl.targets import default_lane_folder, open_target
from automl.training.methods import METHODS
from automl.training.views import augmented_views

BATCH, STEPS, TEACHER_EPOCHS = 32, 200, 8
WIDTH, ASSISTANT_FLOOR, STUDENT_WIDTH, CELLS = 16, 4, 4, 3
SYNTHETIC, SYNTHETIC_STEPS = 512, 100
FASHION_IMAGES = 4000
FEW = 0.1
CELL = Cell(
    (
        (Edge("conv_3x3", 0), Edge("skip_connect", 1)), (Edge("sep_conv_3x3", 1), Edge("skip_connect", 2)),
        (Edge("sep_conv_3x3", 0), Edge("max_pool_3x3", 2)), (Edge("skip_connect", 2), Edge("conv_3x3", 3)),
    ),
    (2, 3, 4, 5),
)  # fmt: skip
NONE, ANSWERS = DistillationPlan(1.0, 1.0), DistillationPlan(0.3, 4.0)


@dataclass(frozen=True)
class Row:
    """One way to train the student: who teaches, how, and what it sees beside the labelled images."""

    plan: DistillationPlan
    teacher: str = "main"
    beside: str = ""


ROWS = {
    "none": Row(NONE),
    "response": Row(ANSWERS),
    "unlabelled": Row(ANSWERS, beside="the images whose labels are hidden"),
    "feature": Row(replace(ANSWERS, method="feature")),
    "relation": Row(replace(ANSWERS, method="relation")),
    "self": Row(replace(ANSWERS, method="self")),
    "two teachers": Row(ANSWERS, teacher="both"),
    "assistant": Row(ANSWERS, teacher="assistant"),
    "inverted": Row(ANSWERS, beside="samples from batch-norm statistics alone"),
    "generated": Row(ANSWERS, beside="samples of a generator alone"),
}
QUICK_ROWS = ("none", "response", "unlabelled")
DATA_FREE = ("inverted", "generated")


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--folder", type=Path, help="where to run; kept, so that a later call goes on")
    parser.add_argument("--data", type=Path, help="images as .npz instead of digits")
    parser.add_argument("--seeds", type=int, default=3, help="how many students a row")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = (Path(scratch) if options.folder is None else options.folder).resolve()
        bench = open_bench(folder, options.data, STEPS)
        wanted = [(name, FEW) for name in QUICK_ROWS] if options.quick else every_row()
        results = {f"{n} / {s:g}": [bench.accuracy(n, s, seed) for seed in range(options.seeds)] for n, s in wanted}
    print_table(results, bench)
    return report(goals(results, quick=options.quick), {"accuracy": results, **bench.facts}, options.json)


def every_row() -> list[tuple[str, float]]:
    """Return each row with the shares of labels that it is trained with; invented samples have none."""
    shared = [(name, share) for share in (FEW, 1.0) for name in ROWS if name not in DATA_FREE]
    return [row for row in shared if row != ("unlabelled", 1.0)] + [(name, 0.0) for name in DATA_FREE]


@dataclass
class Bench:
    """Data, teachers and what is known already; `facts` go into the JSON file."""

    context: EvaluationContext
    teachers: dict[str, Teacher]
    steps: int
    record: Path
    known: dict[str, float]
    facts: dict[str, object]

    def accuracy(self, name: str, share: float, seed: int) -> float:
        """Return the test accuracy of the row's exported file: from the record, or by training the student."""
        key = f"{self.context.dataset.name} {self.steps} {name} {share:g} {seed}"
        if key not in self.known:
            started = time.perf_counter()
            self.known[key] = self.train(name, share, seed)
            self.known[f"{key} seconds"] = time.perf_counter() - started
            self.record.write_text(json.dumps(self.known))
            print(f"{key}: {self.known[key]:.4f} in {self.known[f'{key} seconds']:.1f} s", file=sys.stderr)
        return self.known[key]

    def seconds(self, name: str, share: float, seeds: int) -> float:
        key = f"{self.context.dataset.name} {self.steps} {name} {share:g}"
        return float(np.mean([self.known[f"{key} {seed} seconds"] for seed in range(seeds)]))

    def train(self, name: str, share: float, seed: int) -> float:
        row, teacher = ROWS[name], self.teachers[ROWS[name].teacher]
        context = replace(self.context, seed=seed)
        split, hidden = self.samples(name, share, seed)
        views = augmented_views(split.pixels, context.dataset.augmentation, seed)
        unlabelled = None if hidden is None else augmented_views(hidden, context.dataset.augmentation, seed)
        shown = views if unlabelled is None else np.concatenate([views, unlabelled], axis=1)
        method = METHODS[row.plan.method]
        taught = row.plan.alpha < 1 and method.needs_teacher
        epochs = max(round(self.steps / max(shown.shape[1] // BATCH, 1)), 1)
        recipe = Recipe(
            split, epochs, None,
            soft_targets_of(teacher, shown, context) if taught else None,
            stage_features_of(teacher, shown, context) if taught and method.needs_stages else None,
            unlabelled,
        )  # fmt: skip
        student = network_plan(STUDENT_WIDTH, CELLS, epochs, row.plan)
        trained = train_candidate(student, recipe, context)
        artefact = keep_file(deployed_file(trained, student, split, context), context.runs)
        path, test = context.runs / artefact.path, context.dataset.test
        return score_file(path, artefact.sha256, test, context, "test_")[0].value

    def samples(self, name: str, share: float, seed: int) -> tuple[Split, np.ndarray | None]:
        """Return the row's labelled images and those without labels, or invented ones that have none."""
        train = self.context.dataset.train
        if name in DATA_FREE:
            pixels = self.invented(name)
            return Split(pixels, np.full(len(pixels), -1, np.int64)), None
        rng = np.random.default_rng([seed, 10])
        few = np.arange(len(train))
        if share < 1:
            few = stratified_subset(train.labels, round(share * len(train)), rng)
        rest = np.setdiff1d(np.arange(len(train)), few)
        return train.take(few), train.pixels[rest] if name == "unlabelled" else None

    def invented(self, name: str) -> np.ndarray:
        path = self.record.with_name(f"{self.context.dataset.name}-{name}.npy")
        if not path.exists():
            teacher, highest = self.teachers["main"], self.context.dataset.pixel_max
            assert teacher.weights is not None and teacher.candidate is not None
            network = kept_network(self.context.runs / teacher.weights, teacher.candidate, self.context)
            make: dict[str, Callable[[], np.ndarray]] = {
                "inverted": lambda: invert_samples(network, SYNTHETIC, seed=0, steps=SYNTHETIC_STEPS, highest=highest),
                "generated": lambda: generate_samples(
                    train_generator(network, seed=0, steps=2 * SYNTHETIC_STEPS, highest=highest), SYNTHETIC, seed=0
                ),
            }
            np.save(path, make[name]())
        return np.asarray(np.load(path, allow_pickle=False))


def network_plan(width: int, cells: int, epochs: int, distillation: DistillationPlan) -> Candidate:
    genotype = Genotype(CELL, CELL, cells, width)
    training = TrainingPlan("adamw", 5e-3, 5e-4, BATCH, epochs, 0.0, 0.0, 5.0)
    plain = QuantizationPlan((32,) * 3, (32,) * 3)
    return Candidate(genotype, PruningPlan(genotype.stage_widths()), plain, distillation, training).canonical()


def open_bench(folder: Path, data: Path | None, steps: int) -> Bench:
    """Open data and target, and train the teachers or read them."""
    folder.mkdir(parents=True, exist_ok=True)
    context = open_context(folder, data)
    large = network_plan(WIDTH, CELLS, TEACHER_EPOCHS, NONE)
    main_teacher = train_teacher(large, context, None, TEACHER_EPOCHS)
    second = train_teacher(large, replace(context, seed=1), None, TEACHER_EPOCHS)
    middle = assistant_candidate(large, ASSISTANT_FLOOR, CELLS, 4)
    assert middle is not None, "half way between the widths lies a network"
    assistant = train_assistant(middle, main_teacher, context, None, TEACHER_EPOCHS).assistant
    assert assistant is not None
    both = join_teachers(main_teacher, [(folder / second.path, 1.0)], context)
    teachers = {"main": main_teacher, "both": both, "assistant": assistant}
    record = folder / "results.json"
    known = json.loads(record.read_text()) if record.exists() else {}
    figures = {name: {m.name: m.value for m in teacher.measurements} for name, teacher in teachers.items()}
    del figures["both"]  # those of the main one's file
    facts: dict[str, object] = {"data": context.dataset.name, "images": len(context.dataset.train), "steps": steps}
    return Bench(context, teachers, steps, record, known, {**facts, "teachers": figures})


def open_context(folder: Path, data: Path | None) -> EvaluationContext:
    dataset: Dataset = load_dataset(
        "digits" if data is None else "npz", data, seed=0, validation_share=0.2, test_share=0.2, augmentation="shift",
        train_limit=None if data is None else FASHION_IMAGES,
    )  # fmt: skip
    target = open_target("cpu", batch=1, channel_multiple=4)
    return EvaluationContext(
        dataset=dataset, target=target, controls=prepare_controls(target, dataset, folder, 1, {}), limits={},
        objectives=("accuracy",), runs=folder, seed=0, teacher=None, lane_folder=default_lane_folder(), threads=1,
        batch=1, largest_code=64, finalist_epochs=1, finalist_seconds=None,
    )  # fmt: skip


def print_table(results: dict[str, list[float]], bench: Bench) -> None:
    images = len(bench.context.dataset.train)
    print(f"{bench.context.dataset.name}: {images} training images, {bench.steps} steps of {BATCH} a student\n")
    for name in ("main", "assistant"):
        accuracy = next(m.value for m in bench.teachers[name].measurements if m.name == "accuracy")
        print(f"teacher {name}: validation accuracy of its file {accuracy:.4f}")
    print(f"\n{'student':<14}{'labels':>8}{'test accuracy':>16}{'spread':>9}{'seconds':>9}  each seed")
    for key, values in results.items():
        name, share = key.split(" / ")
        seconds = bench.seconds(name, float(share), len(values))
        each = " ".join(f"{value:.4f}" for value in values)
        spread = f"{np.std(values, ddof=1):.4f}" if len(values) > 1 else "-"
        print(f"{name:<14}{float(share):>8.0%}{np.mean(values):>16.4f}{spread:>9}{seconds:>9.1f}  {each}")
    print()


def goals(results: dict[str, list[float]], *, quick: bool) -> list[Goal]:
    """Return what is judged: means over the seeds, in points of accuracy."""

    def gain(name: str, share: float) -> float | None:
        taught, alone = (results.get(f"{row} / {share:g}") for row in (name, "none"))
        return None if taught is None or alone is None else 100 * float(np.mean(taught) - np.mean(alone))

    def goal(name: str, share: float) -> Goal:
        points = gain(name, share)
        got = "not trained" if points is None else f"{points:+.2f} points"
        return Goal(
            f"{name}, {share:.0%} of the labels: against no teacher",
            "not worse",
            got,
            None if points is None else points >= 0,
        )

    judged = [goal("unlabelled", FEW), goal("response", FEW)]
    if quick:
        return judged
    chance = [float(np.mean(results[f"{name} / 0"])) for name in DATA_FREE]
    return [
        *judged,
        goal("response", 1.0),
        Goal("data-free: the worse of the two", "at least 0.3", f"{min(chance):.4f}", min(chance) >= 0.3),
    ]


if __name__ == "__main__":
    sys.exit(main())
