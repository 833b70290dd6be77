"""What a teacher says of images: computed once for each teacher and set of views, kept in the run folder, then read.

The name of what is kept is a hash of the teacher and of every pixel of the views, which the seed of the augmentation
decides: another candidate, finalist or run that shows the same images reads it again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib.format import open_memmap

from automl.errors import input_error
from automl.evaluation.context import EvaluationContext, Teacher
from automl.evaluation.networks import kept_network
from automl.models.deployable import Deployable
from automl.targets.lanes import training_slot
from automl.training.loop import SoftTargets, StageFeatures, predict_logits
from automl.training.stages import LARGEST_GRID, stage_features

FOLDER = Path("teacher") / "lessons"
CHUNK = 256  # images between two looks at whether somebody wants the core
STAGE_BYTES = 256 * 2**20  # of all stages of one set of views on disk; they are mapped, not read into memory


def soft_targets_of(teacher: Teacher, views: np.ndarray, context: EvaluationContext) -> SoftTargets:
    """Return what the teacher, with those beside it, says of these images.

    Args:
        teacher: of the study.
        views: `views x n x` raw samples.
        context: of the study.
    """
    logits = taught_logits(teacher, views, context)
    return lambda view, indices: logits[view][indices]


def soft_targets_on_demand(teacher: Teacher, views: np.ndarray, context: EvaluationContext) -> SoftTargets:
    """Return what `soft_targets_of` does, each answer computed when it is first asked for and remembered.

    For trainings that end by the clock, which may never show most of the images.
    """
    if _logits_path(teacher, views, context).exists():
        return soft_targets_of(teacher, views, context)
    speakers = list(_speakers(teacher, context))
    weights = [weight for _, weight in speakers]
    classes = len(context.dataset.classes)
    logits = np.full((*views.shape[:2], classes), np.nan, np.float32)

    def ask(view: int, indices: np.ndarray) -> np.ndarray:
        unknown = indices[np.isnan(logits[view, indices, 0])]
        if len(unknown):
            parts = [answer(views[view][unknown]) for answer, _ in speakers]
            logits[view, unknown] = combine_logits(parts, weights)
        return np.asarray(logits[view][indices])

    return ask


def _logits_path(teacher: Teacher, views: np.ndarray, context: EvaluationContext) -> Path:
    return context.runs / FOLDER / f"{_key(teacher, views, teacher.others)}.logits.npy"


def taught_logits(teacher: Teacher, views: np.ndarray, context: EvaluationContext) -> np.ndarray:
    """Return what the teacher, with those beside it, says of these images, `views x n x classes` float32.

    Args:
        teacher: its own `logits` are not looked at.
        views: `views x n x` raw samples.
        context: of the study.
    """
    path = _logits_path(teacher, views, context)
    if not path.exists():
        speakers = list(_speakers(teacher, context))
        parts = [_answers(answer, views, context) for answer, _ in speakers]
        logits = combine_logits(parts, [weight for _, weight in speakers])
        _keep(path, lambda file: np.save(file, logits))
    return np.asarray(np.load(path, allow_pickle=False))


def stage_features_of(teacher: Teacher, views: np.ndarray, context: EvaluationContext) -> StageFeatures:
    """Return what the teacher's stages hold of these images, each `n x c x side x side` (float16).

    The side is the largest of 4, 2 and 1 positions with which all of it takes at most 256 MiB on disk.

    Args:
        teacher: of the study, trained by it.
        views: `views x n x` raw samples.
        context: of the study.

    Raises:
        InputError: where the teacher is known as a file alone.
    """
    if teacher.weights is None or teacher.candidate is None:
        expected = f"response or self with the teacher {teacher.path}, a file that does not show its stages"
        raise input_error("distillation.methods", expected, "a method that compares stages")
    record = context.runs / FOLDER / f"{_key(teacher, views, ())}.stages.json"
    if not record.exists():
        network = kept_network(context.runs / teacher.weights, teacher.candidate, context)
        names = _keep_stages(network, views, record, context)
        _keep(record, lambda file: file.write(json.dumps(names).encode()))
    files = [record.parent / name for name in json.loads(record.read_text())]
    stages = [np.load(file, mmap_mode="r", allow_pickle=False) for file in files]
    return lambda view, indices: tuple(np.asarray(stage[view][indices]) for stage in stages)


def combine_logits(parts: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """Return the mean of several teachers' logits, weighted; the weights are scaled to sum to 1.

    You et al., "Learning from Multiple Teacher Networks" (2017), section 3.2, with weights.

    Args:
        parts: of one shape, `... x classes`.
        weights: one a teacher, above 0.
    """
    share = np.asarray(weights, np.float64) / np.sum(weights)
    if len(parts) == 1:
        return parts[0]
    return np.asarray(np.tensordot(share, np.stack(parts), axes=1), dtype=np.float32)


Answer = Callable[[np.ndarray], np.ndarray]


def _speakers(teacher: Teacher, context: EvaluationContext) -> Iterator[tuple[Answer, float]]:
    """Yield what answers for each teacher, the main one first with weight 1."""
    if teacher.weights is None or teacher.candidate is None:
        yield context.target.load(Path(teacher.path)), 1.0
    else:
        network = kept_network(context.runs / teacher.weights, teacher.candidate, context)
        yield lambda pixels: predict_logits(network, pixels), 1.0
    for path, weight in teacher.others:
        yield context.target.load(Path(path)), weight


def _answers(answer: Answer, views: np.ndarray, context: EvaluationContext) -> np.ndarray:
    """Return `views x n x classes` logits, computed on a core that is ours."""
    flat = views.reshape(-1, *views.shape[2:])
    parts = []
    with training_slot(context.lane_folder) as slot:
        for start in range(0, len(flat), CHUNK):
            parts.append(answer(flat[start : start + CHUNK]))
            slot.give_way()
    return np.concatenate(parts).reshape(*views.shape[:2], -1)


def _keep_stages(network: Deployable, views: np.ndarray, record: Path, context: EvaluationContext) -> list[str]:
    """Write one array a stage, `views x n x c x side x side`, and return the names of the files."""
    flat = views.reshape(-1, *views.shape[2:])
    grid = _grid(network, flat)
    shapes = [part.shape[1:] for part in stage_features(network, flat[:1], grid)]
    names = [f"{record.name.removesuffix('.json')}.{index}.npy" for index in range(len(shapes))]
    record.parent.mkdir(parents=True, exist_ok=True)
    parts = [record.parent / f"{name}.{os.getpid()}.part" for name in names]
    stages = [
        open_memmap(part, mode="w+", dtype=np.float16, shape=(*views.shape[:2], *shape))
        for part, shape in zip(parts, shapes, strict=True)
    ]
    with training_slot(context.lane_folder) as slot:
        for start in range(0, len(flat), CHUNK):
            for stage, values in zip(stages, stage_features(network, flat[start : start + CHUNK], grid), strict=True):
                stage.reshape(len(flat), *values.shape[1:])[start : start + CHUNK] = values
            slot.give_way()
    for part, name, stage in zip(parts, names, stages, strict=True):
        stage.flush()
        part.replace(record.parent / name)
    return names


def _grid(network: Deployable, flat: np.ndarray) -> int:
    """Return the most positions a side with which all stages of all images stay within `STAGE_BYTES`."""
    grid = LARGEST_GRID
    while grid > 1:
        one = sum(part.nbytes for part in stage_features(network, flat[:1], grid))
        if one * len(flat) <= STAGE_BYTES:
            break
        grid //= 2
    return grid


def _key(teacher: Teacher, views: np.ndarray, others: Sequence[tuple[str, float]]) -> str:
    """Return 16 hex digits over the teachers and the images."""
    digest = hashlib.blake2b(f"{teacher.sha256} {views.dtype} {views.shape}".encode())
    for path, weight in others:
        digest.update(hashlib.sha256(Path(path).read_bytes()).digest() + f" {weight}".encode())
    digest.update(np.ascontiguousarray(views).data)
    return digest.hexdigest()[:16]


def _keep(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    with temporary.open("wb") as file:
        write(file)
    temporary.replace(path)
