"""Samples made from the study's teacher, for those who have a model and no data to train on."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import torch

from automl.compression.data_free import generate_samples, invert_samples, train_generator
from automl.errors import input_error
from automl.evaluation.context import EvaluationContext
from automl.evaluation.networks import kept_network
from automl.targets.lanes import training_slot

FOLDER = Path("teacher")


def synthetic_samples(kind: str, count: int, context: EvaluationContext) -> np.ndarray:
    """Return `count` raw samples that the teacher recognises, kept in the run folder: a second call reads them.

    Args:
        kind: "inverted" (from the statistics of its batch normalisation) or "generated".
        count: of samples.
        context: with its teacher.

    Raises:
        InputError: where the teacher is a file: its weights and statistics are not known.
    """
    teacher, dataset = context.teacher, context.dataset
    if teacher is None or teacher.weights is None or teacher.candidate is None:
        expected = "real where the teacher is a file: samples are made from a teacher's weights"
        raise input_error("distillation.data", expected, kind, "Take teacher.source space.")
    name = hashlib.sha256(f"{teacher.sha256} {kind} {count} {context.seed}".encode()).hexdigest()[:16]
    path = context.runs / FOLDER / f"{name}.samples.npy"
    if not path.exists():
        network = kept_network(context.runs / teacher.weights, teacher.candidate, context)
        with training_slot(context.lane_folder):
            torch.set_num_threads(1)
            if kind == "inverted":
                samples = invert_samples(network, count, seed=context.seed, highest=dataset.pixel_max)
            else:
                generator = train_generator(network, seed=context.seed, highest=dataset.pixel_max)
                samples = generate_samples(generator, count, seed=context.seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.part")
        with temporary.open("wb") as file:
            np.save(file, samples)
        temporary.replace(path)
    return np.asarray(np.load(path, allow_pickle=False))
