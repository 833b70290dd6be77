"""What every evaluation of a study shares: data, target, controls, limits, teacher."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from automl.candidate import Candidate
from automl.data.dataset import Dataset
from automl.models.deployable import Task
from automl.models.user.source import ModelSource
from automl.outcome import Measurement
from automl.space import SearchSpace
from automl.targets.target import Control, Target


@dataclass(frozen=True)
class Teacher:
    """A trained teacher: its deployed file, what it says of the training views, and its figures.

    `logits` is `views x n x classes` over the search's training images. `weights` is the path of an .npz of its
    parameters, relative to the run folder, or None for a user's file, of which only `path` is known. `candidate` is
    None there too. `others` are files that speak beside it, each with its weight against the teacher's own 1; `logits`
    are what all of them say. `assistant` stands between it and students that are much smaller.
    """

    sha256: str
    path: str
    weights: str | None
    candidate: Candidate | None
    logits: np.ndarray
    measurements: tuple[Measurement, ...]
    seconds: float
    others: tuple[tuple[str, float], ...] = ()
    assistant: Teacher | None = None


@dataclass(frozen=True)
class EvaluationContext:
    """Everything but the candidate. Picklable; warm workers receive it once.

    `limits` maps a measurement's name to its upper bound; `objectives` names what the study trades off; `runs` is the
    study's run folder; `threads` is for the teacher, which trains alone (candidates train on one core each);
    `largest_code` of 8-bit weights is 127, or 64 where the target's kernels saturate. `model` is the user's own, None
    where cells are searched, and `teacher_model` that of a teacher with a factory of its own; with
    `starts_from_teacher` a candidate whose unpruned network is the teacher's begins with
    its weights. `unlabelled` holds raw samples without labels, `m x ...`, that the teacher answers besides.
    `float_runtime` is the runtime in which floating point is fastest here: that of every uncompressed twin.
    """

    dataset: Dataset
    target: Target
    controls: Mapping[str, Control]
    limits: Mapping[str, float]
    objectives: tuple[str, ...]
    runs: Path
    seed: int
    teacher: Teacher | None
    lane_folder: Path
    threads: int
    batch: int
    largest_code: int
    finalist_epochs: int
    finalist_seconds: float | None
    model: ModelSource | None = None
    teacher_model: ModelSource | None = None
    starts_from_teacher: bool = False
    unlabelled: np.ndarray | None = None
    float_runtime: str = "onnxruntime"


def task_of(dataset: Dataset) -> Task:
    """Return the task: of images with the mean and deviation of the search's training pixels by channel, or of text."""
    pixels = dataset.train.pixels
    if dataset.tokenizer is not None:
        classes = len(dataset.classes)
        return Task(dataset.input_shape, classes, (), (), element="int64", vocabulary=dataset.pixel_max + 1)
    mean, deviation = pixel_statistics(pixels) if dataset.normalisation is None else dataset.normalisation
    return Task(dataset.input_shape, len(dataset.classes), mean, deviation)


def pixel_statistics(pixels: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation of `n x h x w[ x c]` pixels by channel; a deviation is at least one step of a pixel."""
    axes = (0, 1, 2)
    mean, deviation = pixels.mean(axis=axes, dtype=np.float64), pixels.std(axis=axes, dtype=np.float64)
    return (
        tuple(float(value) for value in np.atleast_1d(mean)),
        tuple(max(float(value), 1.0) for value in np.atleast_1d(deviation)),
    )


def largest_candidate(space: SearchSpace) -> Candidate:
    """Return the largest network of the space: widest, deepest, dense where the space has it, uncompressed.

    It has the space's first training choices and no teacher of its own.
    """
    preferred = ("conv_3x3", "sep_conv_5x5", "sep_conv_3x3")
    choices = {}
    for dimension in space.dimensions:
        if dimension.name in ("width", "cells", "concat", "alpha"):
            choices[dimension.name] = max(dimension.choices)
        elif "_op_" in dimension.name:
            found = [name for name in preferred if name in dimension.choices]
            choices[dimension.name] = found[0] if found else dimension.choices[0]
        elif dimension.group == "training":
            choices[dimension.name] = dimension.choices[len(dimension.choices) // 2]
        else:
            choices[dimension.name] = dimension.choices[0]
    return space.decode(space.point(choices)).twin().canonical()


def seed_of(study_seed: int, candidate: Candidate) -> int:
    """Return the seed of a candidate's training: the same candidate trains alike in any trial of the study."""
    digest = hashlib.sha256(f"{study_seed} {candidate.candidate_hash()}".encode()).digest()
    return int.from_bytes(digest[:4], "big")
