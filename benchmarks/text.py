"""A BERT-style classifier of texts in every format: latency at 16, 64 and 128 tokens, bytes, accuracy of the file.

`python benchmarks/text.py --data FOLDER` with banking77's train.csv and test.csv. The network is trained from scratch
at 64 tokens on one thread; half of its heads and neurons are then removed and it is trained on. Accuracy is that of
the exported file on test, run by ONNX Runtime. At 16 and 128 tokens untrained files are timed: the graph is the same.
Every latency is held against the floating-point file of its length in interleaved rounds. `--quick` trains one
epoch on a part of the texts and times 64 tokens only.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from goals import Goal, arguments, report

from automl.candidate import DistillationPlan, QuantizationPlan, TrainingPlan
from automl.compression.pruning import prune_network
from automl.compression.quantization import calibrate
from automl.data.dataset import Dataset, load_dataset
from automl.evaluation.files import keep_file
from automl.evaluation.weights import count_multiply_adds, count_parameters
from automl.models.deployable import Deployable
from automl.models.zoo.bert import BertClassifier, bert_classifier
from automl.outcome import Ratio
from automl.targets import Contestant, Control, Target, open_target
from automl.targets.probe import u8s8_saturates
from automl.training.loop import Schedule, TrainingSet, predict_logits, train

LENGTHS, LENGTH, VOCABULARY, LAYERS = (16, 64, 128), 64, 2048, 2
EPOCHS, FINE_TUNING, QUICK_EPOCHS, QUICK_TEXTS = 8, 3, 1, 2000
TRAINING = TrainingPlan("adamw", 1e-3, 5e-4, 64, EPOCHS, 0.1, 0.0, 5.0)
FLOAT, DYNAMIC, PRUNED_FLOAT, PRUNED_DYNAMIC = "fp32", "int8 dynamic", "pruned fp32", "pruned int8 dynamic"
FORMATS: Mapping[str, tuple[bool, tuple[int, int], str, int]] = {  # pruned, bits, activations, block
    FLOAT: (False, (32, 32), "static", 0),
    DYNAMIC: (False, (8, 8), "dynamic", 0),
    "int8 static": (False, (8, 8), "static", 0),
    "int8 weights, a scale a channel": (False, (8, 32), "static", 0),
    "int8 weights in blocks of 32": (False, (8, 32), "static", 32),
    "int4 weights in blocks of 32": (False, (4, 32), "static", 32),
    "int4 in blocks of 32, int8 dynamic": (False, (4, 8), "dynamic", 32),
    PRUNED_FLOAT: (True, (32, 32), "static", 0),
    PRUNED_DYNAMIC: (True, (8, 8), "dynamic", 0),
}
QUICK_FORMATS = (FLOAT, DYNAMIC, PRUNED_FLOAT, PRUNED_DYNAMIC)


@dataclass(frozen=True)
class Row:
    """A file: its ratio to the floating-point one of its length, that one's milliseconds, and what it is."""

    name: str
    length: int
    ratio: Ratio
    reference_ms: float
    size_bytes: int
    parameters: int
    multiply_adds: int
    accuracy: float | None

    def cells(self) -> tuple[str, ...]:
        accuracy = "" if self.accuracy is None else f"{self.accuracy:.4f}"
        ratio = f"{self.ratio.value:.3f} ({self.ratio.low:.3f} to {self.ratio.high:.3f})"
        ms = f"{self.ratio.value * self.reference_ms:.3f}"
        return (
            self.name, str(self.length), ms, ratio, f"{self.size_bytes:,}", f"{self.parameters:,}",
            f"{self.multiply_adds / 1e6:.2f}", accuracy,
        )  # fmt: skip


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--data", type=Path, required=True, help="a folder with train.csv and test.csv")
    options = parser.parse_args()
    torch.set_num_threads(1)
    dataset = load_dataset(
        "text", options.data, seed=0, validation_share=0.1, test_share=0.2, length=LENGTH, vocabulary=VOCABULARY,
        train_limit=QUICK_TEXTS if options.quick else None,
    )  # fmt: skip
    target = open_target("cpu", batch=1, channel_multiple=16)
    with tempfile.TemporaryDirectory() as scratch:
        trained, seconds = train_both(dataset, options.quick)
        rows: list[Row] = []
        for length in (LENGTH,) if options.quick else LENGTHS:
            networks = trained if length == LENGTH else untrained_networks(len(dataset.classes), length)
            rows += measure(networks, length, dataset, target, Path(scratch), options.quick)
        head_to_head = compare_pruned(rows, trained, target, Path(scratch))
        difference = float_difference(trained[False], dataset, target, Path(scratch))
    print_table(rows)
    goals = judge(rows, head_to_head, difference, options.quick)
    figures = {"rows": [vars(row) | {"ratio": vars(row.ratio)} for row in rows], "training_seconds": seconds}
    return report(goals, figures, options.json)


def train_both(dataset: Dataset, quick: bool) -> tuple[dict[bool, BertClassifier], dict[str, float]]:
    """Return the trained network, and (True) the one with half of its heads and neurons, and the seconds of each."""
    torch.manual_seed(0)
    full = bert_classifier(len(dataset.classes), LENGTH, VOCABULARY)
    split = dataset.train if quick else dataset.full_train
    data = TrainingSet(split.pixels[None], split.labels, None)
    epochs, more = (QUICK_EPOCHS, QUICK_EPOCHS) if quick else (EPOCHS, FINE_TUNING)
    spent = {"fp32": fit(full, data, Schedule(epochs), "dense")}
    pruned = prune_network(full, [width // 2 for width in full.group_widths().values()])
    assert isinstance(pruned, BertClassifier)
    spent["pruned"] = fit(pruned, data, Schedule(more), "pruned")
    return {False: full, True: pruned}, spent


def fit(network: Deployable, data: TrainingSet, schedule: Schedule, phase: str) -> float:
    started = time.monotonic()
    train(network, data, TRAINING, DistillationPlan(1.0, 1.0), schedule, phase=phase, seed=0)
    return time.monotonic() - started


def untrained_networks(classes: int, length: int) -> dict[bool, BertClassifier]:
    torch.manual_seed(0)
    full = bert_classifier(classes, length, VOCABULARY).eval()
    kept = {group: torch.arange(width // 2) for group, width in full.group_widths().items()}
    return {False: full, True: full.narrowed(kept)}


def measure(
    networks: Mapping[bool, BertClassifier], length: int, dataset: Dataset, target: Target, folder: Path, quick: bool
) -> list[Row]:
    samples = dataset.train.pixels[:256] if length == LENGTH else random_texts(length)
    control: Control | None = None
    rows = []
    for name, (is_pruned, *_) in FORMATS.items():
        if quick and name not in QUICK_FORMATS:
            continue
        network = networks[is_pruned]
        subject, size_bytes = written(network, name, samples, folder)
        if control is None:
            control = Control("fp32", subject.path, subject.sha256, target.reference_ms(subject.path, "fp32"))
        ratio = target.compare(subject, control, None, f"{name} {length}").control_ratio
        scored = length == LENGTH
        accuracy = accuracy_of(target, subject.path, dataset) if scored else None
        counts = count_parameters(network), count_multiply_adds(network)
        rows.append(Row(name, length, ratio, control.reference_ms, size_bytes, *counts, accuracy))
    return rows


def random_texts(length: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, VOCABULARY, (64, length))


def written(network: BertClassifier, name: str, samples: np.ndarray, folder: Path) -> tuple[Contestant, int]:
    _, (weight_bits, activation_bits), activations, block = FORMATS[name]
    plan = QuantizationPlan(
        (weight_bits,) * LAYERS, (activation_bits,) * LAYERS, activations=activations, block=block
    )  # fmt: skip
    codes = calibrate(network, samples, plan) if activation_bits == 8 and activations == "static" else None
    largest = 64 if u8s8_saturates() else 127
    artefact = keep_file(network.write(plan, codes=codes, largest_code=largest, batch=1), folder)
    return Contestant(folder / artefact.path, artefact.sha256, name), artefact.size_bytes


def accuracy_of(target: Target, path: Path, dataset: Dataset) -> float:
    return float((target.load(path)(dataset.test.pixels).argmax(axis=1) == dataset.test.labels).mean())


def compare_pruned(rows: list[Row], networks: Mapping[bool, BertClassifier], target: Target, folder: Path) -> Ratio:
    """Return the latency of the pruned int8 file over that of the unpruned one, head to head at 64 tokens."""
    samples = random_texts(LENGTH)
    against, subject = (
        written(networks[FORMATS[name][0]], name, samples, folder)[0] for name in (DYNAMIC, PRUNED_DYNAMIC)
    )
    reference = row_of(rows, DYNAMIC)
    control = Control("int8", against.path, against.sha256, reference.ratio.value * reference.reference_ms)
    return target.compare(subject, control, None, "head to head").control_ratio


def float_difference(network: BertClassifier, dataset: Dataset, target: Target, folder: Path) -> float:
    subject, _ = written(network, FLOAT, random_texts(LENGTH), folder)
    samples = dataset.test.pixels[:256]
    return float(np.abs(target.load(subject.path)(samples) - predict_logits(network, samples)).max())


def row_of(rows: list[Row], name: str, length: int = LENGTH) -> Row:
    return next(row for row in rows if (row.name, row.length) == (name, length))


def judge(rows: list[Row], head_to_head: Ratio, difference: float, quick: bool) -> list[Goal]:
    plain, integer, pruned, both = (row_of(rows, name) for name in QUICK_FORMATS)

    def faster(name: str, ratio: Ratio) -> Goal:
        got = f"{ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"
        return Goal(name, "interval below 1", got, ratio.high < 1)

    def loses(name: str, row: Row) -> Goal:
        lost = 100 * ((plain.accuracy or 0.0) - (row.accuracy or 0.0))
        return Goal(name, "at most 1 point", f"{lost:+.2f} points", None if quick else lost <= 1)

    share = pruned.multiply_adds / plain.multiply_adds
    accuracy = plain.accuracy or 0.0
    return [
        Goal("fp32: file against torch", "at most 1e-4", f"{difference:.1e}", difference <= 1e-4),
        Goal("fp32: accuracy on test", "at least 0.88", f"{accuracy:.4f}", None if quick else accuracy >= 0.88),
        faster("int8 dynamic over fp32, 64 tokens", integer.ratio),
        faster("pruned fp32 over fp32, 64 tokens", pruned.ratio),
        faster("pruned int8 over int8, 64 tokens", head_to_head),
        Goal("pruned: multiply-adds", "about half", f"{share:.3f}", 0.45 <= share <= 0.55),
        loses("int8 dynamic: accuracy lost", integer),
        loses("pruned fp32: accuracy lost", pruned),
        loses("pruned int8: accuracy lost", both),
    ]


def print_table(rows: list[Row]) -> None:
    head = ("format", "tokens", "ms", "of fp32", "bytes", "parameters", "M multiply-adds", "test accuracy")
    table = [head, *(row.cells() for row in rows)]
    widths = [max(len(cells[column]) for cells in table) for column in range(len(head))]
    for cells in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())
    print()


if __name__ == "__main__":
    sys.exit(main())
