"""What every evaluation of a study shares, made from its spec: controls, limits, the user's model, unlabelled data."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from automl.compression.preflight import preflight
from automl.data.dataset import Dataset
from automl.data.unlabelled import read_unlabelled
from automl.evaluation import EvaluationContext, prepare_controls, task_of
from automl.evaluation.controls import fastest_float_runtime
from automl.models.user.source import ModelSource
from automl.search.ray_cluster import PoolPlan
from automl.storage import Store, StudyRecord
from automl.study_spec import StudySpec, is_factory
from automl.targets import RemoteTarget, Target, default_lane_folder
from automl.targets.lanes import allowed_cores
from automl.targets.probe import u8s8_saturates

TRAINING_SHARE = 0.9  # of a finalist's seconds is training; the rest is export, scoring and timing


def study_context(
    spec: StudySpec, target: Target, store: Store, study: StudyRecord, dataset: Dataset, runs: Path,
    lane_folder: Path | None,
) -> EvaluationContext:  # fmt: skip
    """Return what evaluations share but the teacher; the controls' milliseconds are fixed by the first run.

    Args:
        spec: resolved.
        target: opened.
        store: the record.
        study: in the record.
        dataset: of the study.
        runs: the study's own folder for files.
        lane_folder: where the locks of this machine's cores lie; None means one place for all studies of this user.

    Raises:
        InputError: where samples without labels cannot be read.
    """
    workers = worker_count(spec)
    runs.mkdir(parents=True, exist_ok=True)
    known = store.control_references(study.id, target.fingerprint)
    controls = prepare_controls(target, dataset, runs.resolve(), spec.target.batch, known, spec.target.runtimes)
    for kind, control in controls.items():
        ms = store.set_control_reference(study.id, target.fingerprint, kind, control.reference_ms, control.sha256)
        controls[kind] = replace(control, reference_ms=ms)
    inline = spec.search.executor == "inline"
    return EvaluationContext(
        dataset=dataset,
        target=target,
        controls=controls,
        limits=spec.limits.bounds(),
        objectives=spec.objectives,
        runs=runs.resolve(),
        seed=spec.search.seed,
        teacher=None,
        lane_folder=default_lane_folder() if lane_folder is None else lane_folder,
        threads=1 if inline else len(allowed_cores()),  # the teacher trains alone
        batch=spec.target.batch,
        largest_code=_largest_code(spec, target),
        finalist_epochs=spec.finalists.epochs,
        finalist_seconds=_finalist_seconds(spec, workers),
        model=model_source(spec),
        teacher_model=ModelSource(spec.teacher.source) if is_factory(spec.teacher.source) else None,
        starts_from_teacher=spec.training.start == "teacher",
        unlabelled=_unlabelled(spec, dataset),
        float_runtime=fastest_float_runtime(controls),
    )


def model_source(spec: StudySpec) -> ModelSource | None:
    """Return where the user's own model of the study comes from; None where cells are searched."""
    if spec.model is None:
        return None
    return ModelSource(spec.model.source, spec.model.weights, spec.model.stages)


def check_model(spec: StudySpec, dataset: Dataset, target: Target) -> None:
    """Build, prune, quantize and export the user's model untrained: what cannot be handled is said before any training.

    Raises:
        InputError: naming the layer, and what to do.
    """
    source = model_source(spec)
    assert source is not None, "asked for a study that has a model"
    formats = [(form.weight_bits, form.activation_bits) for form in target.formats() if form.executable]
    wanted = spec.quantization.pairs
    preflight(
        source, task_of(dataset), ratios=spec.pruning.ratios, criteria=spec.pruning.criteria,
        formats=[pair for pair in formats if wanted is None or f"w{pair[0]}a{pair[1]}" in wanted],
        largest_code=_largest_code(spec, target), batch=spec.target.batch,
    )  # fmt: skip


def worker_count(spec: StudySpec) -> int:
    """Return how many workers the spec asks for; auto is one a core: one of them times while the others train."""
    if spec.search.executor == "inline":
        return 1
    return len(allowed_cores()) if spec.search.workers == "auto" else int(spec.search.workers)


def pool_plan(spec: StudySpec) -> PoolPlan:
    """Return how many workers run where; auto on a cluster that is joined is as many as fit."""
    ray = spec.search.ray
    follows = ray.address is not None and spec.search.workers == "auto"
    return PoolPlan(None if follows else worker_count(spec), ray.address, ray.cpus, ray.gpus)


def _unlabelled(spec: StudySpec, dataset: Dataset) -> np.ndarray | None:
    """Return the samples without labels that the teacher answers besides.

    Raises:
        InputError: where they cannot be read or are not like the labelled ones.
    """
    path = spec.distillation.unlabelled
    return None if path is None else read_unlabelled(path, dataset.input_shape, resize=spec.data.resize)


def _largest_code(spec: StudySpec, target: Target) -> int:
    """Return the largest code of 8-bit weights: half the range where the device's kernels saturate."""
    saturates = target.saturates() if isinstance(target, RemoteTarget) else u8s8_saturates(spec.target.runtimes)
    return 64 if saturates else 127


def _finalist_seconds(spec: StudySpec, workers: int) -> float | None:
    if spec.budget.seconds is None:
        return None
    rounds = math.ceil((spec.finalists.count + 1) / workers)  # with the twin
    return spec.budget.seconds * spec.finalists.share * TRAINING_SHARE / rounds
