"""The teacher: the largest network of the space, trained once for each study, or a file that the user names."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import numpy as np
import torch

from automl.candidate import Candidate, candidate_to_json
from automl.errors import input_error
from automl.evaluation.context import EvaluationContext, Teacher, task_of
from automl.evaluation.files import control_for, keep_file
from automl.evaluation.scoring import file_measurements, score_file
from automl.evaluation.weights import Recipe, train_candidate, trained_file
from automl.models.deployable import Deployable, Task
from automl.models.network import Network, build_network
from automl.outcome import Artefact, Measurement
from automl.targets.target import Contestant
from automl.training.loop import SoftTargets, predict_logits
from automl.training.views import augmented_views


def train_teacher(candidate: Candidate, context: EvaluationContext, max_seconds: float | None, epochs: int) -> Teacher:
    """Return the trained teacher with its logits on every view of the search's training images.

    Its weights, logits and figures are kept under a hash of all that decides them: a second call reads them.

    Args:
        candidate: uncompressed.
        context: its own `teacher` is not looked at.
        max_seconds: after which the training has annealed to its end; None trains all epochs.
        epochs: at most so many.
    """
    key = _teacher_key(candidate, context, epochs)
    folder = context.runs / "teacher"
    record = folder / f"{key}.json"
    if record.exists():
        return _read_teacher(record, candidate)
    task = task_of(context.dataset)
    recipe = Recipe(context.dataset.train, epochs, max_seconds, None)
    started = time.perf_counter()
    network, _, _ = train_candidate(candidate, task, recipe, context, context.threads)
    seconds = time.perf_counter() - started
    artefact = keep_file(trained_file(network, candidate, context.dataset.train, context), context.runs)
    measurements = (
        *score_file(context.runs / artefact.path, artefact.sha256, context.dataset.validation, context),
        *_deployed_figures(candidate, network, artefact, context),
    )
    views = augmented_views(context.dataset.train.pixels, context.dataset.augmentation, context.seed)
    logits = np.stack([predict_logits(network, view) for view in views])
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    np.savez(folder / f"{key}.npz", **state)
    np.save(folder / f"{key}.logits.npy", logits)
    document = {
        "sha256": artefact.sha256, "path": artefact.path, "weights": f"teacher/{key}.npz", "seconds": seconds,
        "measurements": [vars(measurement) for measurement in measurements],
    }  # fmt: skip
    temporary = record.with_suffix(".part")
    temporary.write_text(json.dumps(document))
    temporary.replace(record)
    return _read_teacher(record, candidate)


def named_teacher(path: Path, context: EvaluationContext) -> Teacher:
    """Return the user's own file as the teacher: ONNX, raw pixels of the data's shape in, logits of its classes out.

    Args:
        path: the file, or a bundle's folder that holds `model.onnx`.
        context: of the study.

    Raises:
        InputError: where there is no such file or its answers do not fit the classes.
        TargetError: where it cannot be run.
    """
    file = path / "model.onnx" if path.is_dir() else path
    if not file.is_file():
        raise input_error("teacher.source", "an ONNX file or the folder of a bundle", f"{path}, which is neither")
    views = augmented_views(context.dataset.train.pixels, context.dataset.augmentation, context.seed)
    runner = context.target.load(file)
    logits = np.stack([runner(view) for view in views])
    classes = len(context.dataset.classes)
    if logits.shape[2] != classes:
        raise input_error("teacher.source", f"a network of {classes} classes", f"{logits.shape[2]} in {file}")
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    scores = score_file(file, sha256, context.dataset.validation, context)
    return Teacher(sha256, str(file), None, None, logits, scores, 0.0)


def soft_targets_of(teacher: Teacher, views: np.ndarray, context: EvaluationContext) -> SoftTargets:
    """Return what the teacher says of other images than the search's, computed batch by batch as they are asked for.

    Args:
        teacher: of the study.
        views: `views x n x h x w[ x c]` pixels.
        context: of the study.
    """
    if teacher.weights is None or teacher.candidate is None:
        runner = context.target.load(Path(teacher.path))
        return lambda view, indices: runner(views[view][indices])
    network = _load_network(context.runs / teacher.weights, teacher.candidate, task_of(context.dataset))
    return lambda view, indices: predict_logits(network, views[view][indices])


def _load_network(path: Path, candidate: Candidate, task: Task) -> Network:
    network = build_network(candidate, task, pruned=True)
    with np.load(path, allow_pickle=False) as arrays:
        network.load_state_dict({name: torch.from_numpy(arrays[name]) for name in arrays.files})
    return network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _deployed_figures(
    candidate: Candidate, network: Deployable, artefact: Artefact, context: EvaluationContext
) -> tuple[Measurement, ...]:
    """Return the latency and size of the teacher's own trained file."""
    key = candidate.shape_key(context.dataset.input_shape, len(context.dataset.classes), context.batch)
    subject = Contestant(context.runs / artefact.path, artefact.sha256, key)
    timing = context.target.compare(subject, control_for(candidate, context), None, "trained")
    return file_measurements(network, artefact, timing)


def _teacher_key(candidate: Candidate, context: EvaluationContext, epochs: int) -> str:
    document = {
        "candidate": candidate_to_json(candidate), "data": context.dataset.digest, "seed": context.seed,
        "split": context.dataset.split_digest, "augmentation": context.dataset.augmentation, "epochs": epochs,
    }  # fmt: skip
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]


def _read_teacher(record: Path, candidate: Candidate) -> Teacher:
    document = json.loads(record.read_text())
    return Teacher(
        sha256=document["sha256"],
        path=document["path"],
        weights=document["weights"],
        candidate=candidate,
        logits=np.load(record.with_suffix(".logits.npy"), allow_pickle=False),
        measurements=tuple(Measurement(**measurement) for measurement in document["measurements"]),
        seconds=float(document["seconds"]),
    )
