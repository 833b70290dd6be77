"""What a study would cost here, measured on a few of its networks: for --dry-run and init."""

from __future__ import annotations

import hashlib
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from automl.candidate import Candidate
    from automl.commands.joining import Joined
    from automl.data.dataset import Dataset
    from automl.models.network import Network
    from automl.targets import Target

SAMPLED = 3  # candidates of the space
IMAGES = 32  # trained on to measure the speed
EPOCHS = 2  # the first one warms up
WORKING_SHARE = 0.5  # of the trials get as far as training; the rest is infeasible or reused


@dataclass(frozen=True)
class Typical:
    """Medians over a few networks of a space, untrained, on the target."""

    latency_ms: float
    size_bytes: int


@dataclass(frozen=True)
class Estimate:
    """What a study costs: `trial_seconds` is the median of a trained trial, `reject_seconds` of one over a limit."""

    points: int
    images: int
    trial_seconds: float
    slowest_trial_seconds: float
    reject_seconds: float
    teacher_seconds: float
    search_seconds: float


def probe_typical(joined: Joined) -> Typical:
    """Return median latency and size of a few random networks of the space, compressed as they come.

    Raises:
        InputError: where the data cannot be read.
    """
    from automl.study_spec import open_dataset

    dataset, batch = open_dataset(joined.spec.data), joined.spec.target.batch
    files = [_nominal(one, dataset, batch) for one in _sampled(joined)]
    with tempfile.TemporaryDirectory() as folder:
        latencies = [_latency(content, Path(folder), joined.target) for content in files]
    return Typical(float(np.median(latencies)), int(np.median([len(content) for content in files])))


def estimate_study(joined: Joined) -> Estimate:
    """Return the cost of a study, measured on a few networks of its space for some seconds.

    Raises:
        InputError: where the data cannot be read.
    """
    from automl.evaluation import largest_candidate
    from automl.study_spec import open_dataset

    spec, dataset = joined.spec, open_dataset(joined.spec.data)
    sampled, largest = _sampled(joined), largest_candidate(joined.space)
    costs = sorted(_image_seconds(one, dataset) * len(dataset.train) * one.training.epochs for one in sampled)
    reject = _export_seconds(sampled[0], dataset, spec.target.batch)
    teacher = _image_seconds(largest, dataset) * len(dataset.train) * spec.teacher.epochs
    if spec.teacher.source != "space":
        teacher = 0.0
    elif spec.budget.seconds is not None:
        teacher = min(teacher, spec.teacher.share * spec.budget.seconds)
    median = float(np.median(costs)) + 2 * reject
    return Estimate(
        points=joined.space.size(),
        images=len(dataset.train),
        trial_seconds=median,
        slowest_trial_seconds=costs[-1] + 2 * reject,
        reject_seconds=reject,
        teacher_seconds=teacher,
        search_seconds=_search_seconds(joined, median, reject),
    )


def _sampled(joined: Joined) -> list[Candidate]:
    rng = np.random.default_rng(joined.spec.search.seed)
    return [joined.space.decode(joined.space.sample(rng)) for _ in range(SAMPLED)]


def _latency(content: bytes, folder: Path, target: Target) -> float:
    path = folder / f"{hashlib.sha256(content).hexdigest()}.onnx"
    path.write_bytes(content)
    return target.reference_ms(path, "fp32")


def _search_seconds(joined: Joined, trial_seconds: float, reject_seconds: float) -> float:
    """Return the seconds after which the first of the budgets is spent, with one trial at a time."""
    budget = joined.spec.budget
    each = WORKING_SHARE * trial_seconds + (1 - WORKING_SHARE) * reject_seconds
    ends = [budget.seconds] if budget.seconds is not None else []
    ends += [budget.trials * each] if budget.trials is not None else []
    ends += [budget.trained * each / WORKING_SHARE] if budget.trained is not None else []
    return float(min(ends))


def _network(candidate: Candidate, dataset: Dataset) -> Network:
    from automl.evaluation import task_of
    from automl.models.network import build_network

    return build_network(candidate, task_of(dataset), pruned=True)


def _nominal(candidate: Candidate, dataset: Dataset, batch: int) -> bytes:
    return _network(candidate, dataset).write(candidate.quantization, codes=None, largest_code=64, batch=batch)


def _export_seconds(candidate: Candidate, dataset: Dataset, batch: int) -> float:
    """Return the seconds of building, exporting and timing one untrained candidate."""
    from automl.targets.timing import TimingRules

    started = time.monotonic()
    _nominal(candidate, dataset, batch)
    rules = TimingRules()
    return time.monotonic() - started + rules.max_sittings * rules.sitting_seconds


def _image_seconds(candidate: Candidate, dataset: Dataset) -> float:
    """Return the seconds of training on one image once, on one core, warmed up by a first epoch."""
    import torch

    from automl.targets import default_lane_folder
    from automl.targets.lanes import training_slot
    from automl.training.loop import Schedule, TrainingSet, train

    count = min(IMAGES, len(dataset.train))
    data = TrainingSet(dataset.train.pixels[None, :count], dataset.train.labels[:count], None)
    network = _network(candidate, dataset)
    with training_slot(default_lane_folder()):
        torch.set_num_threads(1)
        schedule = Schedule(EPOCHS)
        epochs = train(network, data, candidate.training, candidate.distillation, schedule, phase="dense", seed=0)
    return min(epoch.seconds for epoch in epochs[1:]) / count
