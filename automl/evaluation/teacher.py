"""The teachers: the space's largest network, trained once a study, or files that the user names, and an assistant."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from automl.candidate import Candidate, DistillationPlan, Genotype, PruningPlan, candidate_to_json
from automl.errors import Fault, InputError, input_error
from automl.evaluation.context import EvaluationContext, Teacher
from automl.evaluation.costs import file_figures
from automl.evaluation.files import control_for, keep_file
from automl.evaluation.lessons import taught_logits
from automl.evaluation.networks import has_given_weights, unpruned_network
from automl.evaluation.scoring import latency_measurement, score_file
from automl.evaluation.weights import Recipe, Trained, deployed_file, table_lookup, train_candidate
from automl.outcome import Artefact, Measurement
from automl.targets.target import Contestant
from automl.training.loop import predict_logits
from automl.training.views import augmented_views

GAP = 8.0  # teacher's over student's multiply-adds, above which an assistant teaches
ASSISTANT_LESSONS = DistillationPlan(0.5, 4.0)  # how an assistant itself is taught


def train_teacher(candidate: Candidate, context: EvaluationContext, max_seconds: float | None, epochs: int) -> Teacher:
    """Return the trained teacher with its logits on every view of the search's training images.

    Its weights, logits and figures are kept under a hash of all that decides them: a second call reads them.

    Args:
        candidate: uncompressed.
        context: its own `teacher` is not looked at.
        max_seconds: after which the training has annealed to its end; None trains all epochs.
        epochs: at most so many.
    """
    return _trained(candidate, None, context, max_seconds, epochs)


def train_assistant(
    candidate: Candidate, teacher: Teacher, context: EvaluationContext, max_seconds: float | None, epochs: int
) -> Teacher:
    """Return the teacher with an assistant: a smaller network that it has taught, kept like a teacher.

    Mirzadeh et al., "Improved Knowledge Distillation via Teacher Assistant" (2020): a student far smaller than its
    teacher learns more from a network between the two. `who_teaches` says when.

    Args:
        candidate: of `assistant_candidate`; how it is taught is decided here.
        teacher: whose logits, with those beside it, teach.
        context: its own `teacher` is not looked at.
        max_seconds: after which the training has annealed to its end; None trains all epochs.
        epochs: at most so many.
    """
    assistant = _trained(replace(candidate, distillation=ASSISTANT_LESSONS), teacher, context, max_seconds, epochs)
    return replace(teacher, assistant=assistant)


def assistant_candidate(
    teacher: Candidate, least_width: int, least_cells: int, channel_multiple: int
) -> Candidate | None:
    """Return the teacher's own architecture half way to the space's smallest; None where nothing lies between.

    Half way is the geometric mean of the widths, at a multiple of the target's channels, and of the cells.

    Args:
        teacher: of the space's cells.
        least_width: the smallest start width of the space in channels.
        least_cells: the fewest cells of the space.
        channel_multiple: of the target.
    """
    genotype = teacher.genotype
    if not isinstance(genotype, Genotype):
        return None
    width = round(math.sqrt(genotype.width * least_width) / channel_multiple) * channel_multiple
    middle = replace(
        genotype, width=min(max(width, least_width), genotype.width),
        cells=min(max(round(math.sqrt(genotype.cells * least_cells)), least_cells), genotype.cells),
    )  # fmt: skip
    if (middle.width, middle.cells) in {(genotype.width, genotype.cells), (least_width, least_cells)}:
        return None
    return replace(teacher, genotype=middle, pruning=PruningPlan(middle.stage_widths())).canonical()


def who_teaches(teacher: Teacher, student_macs: int) -> Teacher:
    """Return the assistant where there is one and the teacher has more than `GAP` times the student's multiply-adds.

    Args:
        teacher: of the study.
        student_macs: multiply-adds of the student as it will be deployed, for one sample.
    """
    macs = {measurement.name: measurement.value for measurement in teacher.measurements}.get("macs")
    if teacher.assistant is None or macs is None or macs <= GAP * student_macs:
        return teacher
    return teacher.assistant


def named_teacher(path: Path, context: EvaluationContext) -> Teacher:
    """Return the user's own file as the teacher: ONNX, raw pixels of the data's shape in, logits of its classes out.

    Args:
        path: the file, or a bundle's folder that holds `model.onnx`.
        context: of the study.

    Raises:
        InputError: where there is no such file or its answers do not fit the classes.
        TargetError: where it cannot be run.
    """
    file = _checked_file(path, "teacher.source", context)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    scores = score_file(file, sha256, context.dataset.validation, context)
    silent = Teacher(sha256, str(file), None, None, np.empty(0, np.float32), scores, 0.0)
    return replace(silent, logits=taught_logits(silent, _search_views(context), context))


def join_teachers(teacher: Teacher, others: Sequence[tuple[Path, float]], context: EvaluationContext) -> Teacher:
    """Return the teacher with others that speak beside it; its logits become the weighted mean of all.

    Its figures stay those of the main teacher's file.

    Args:
        teacher: the main one, of weight 1.
        others: files or bundles of the user's, each with its weight.
        context: of the study.

    Raises:
        InputError: with every fault: a file that is missing or answers other classes, a weight that is not above 0.
        TargetError: where one cannot be run.
    """
    if not others:
        return teacher
    faults: list[Fault] = []
    files: list[tuple[str, float]] = []
    for index, (path, weight) in enumerate(others):
        where = f"teacher.others[{index}]"
        if not (math.isfinite(weight) and weight > 0):
            faults.append(Fault(f"{where}.weight", "above 0", f"{weight}"))
        try:
            files.append((str(_checked_file(path, f"{where}.source", context)), float(weight)))
        except InputError as error:
            faults.extend(error.faults)
    if faults:
        raise InputError(faults)
    joined = replace(teacher, others=tuple(files))
    return replace(joined, logits=taught_logits(joined, _search_views(context), context))


def _checked_file(path: Path, where: str, context: EvaluationContext) -> Path:
    """Return the teacher's ONNX file, which answers the data's classes."""
    file = path / "model.onnx" if path.is_dir() else path
    if not file.is_file():
        raise input_error(where, "an ONNX file or the folder of a bundle", f"{path}, which is neither")
    classes = len(context.dataset.classes)
    answered = context.target.load(file)(context.dataset.train.pixels[:1]).shape[1]
    if answered != classes:
        raise input_error(where, f"a network of {classes} classes", f"{answered} in {file}")
    return file.resolve()


def _search_views(context: EvaluationContext) -> np.ndarray:
    return augmented_views(context.dataset.train.pixels, context.dataset.augmentation, context.seed)


def _trained(
    candidate: Candidate, by: Teacher | None, context: EvaluationContext, max_seconds: float | None, epochs: int
) -> Teacher:
    """Train a network that will teach, taught itself by another one or not, or read it where that was done."""
    key = _teacher_key(candidate, by, context, epochs)
    folder = context.runs / "teacher"
    record = folder / f"{key}.json"
    if record.exists():
        return _read_teacher(record, candidate)
    recipe = Recipe(context.dataset.train, epochs, max_seconds, None if by is None else table_lookup(by.logits))
    started = time.perf_counter()
    trained = _learn(candidate, recipe, replace(context, teacher=None))
    network = trained.network
    seconds = time.perf_counter() - started
    artefact = keep_file(deployed_file(trained, candidate, context.dataset.train, context), context.runs)
    measurements = (
        *score_file(context.runs / artefact.path, artefact.sha256, context.dataset.validation, context),
        *_deployed_figures(candidate, trained, artefact, context),
    )
    logits = np.stack([predict_logits(network, view) for view in _search_views(context)])
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


def _learn(candidate: Candidate, recipe: Recipe, context: EvaluationContext) -> Trained:
    """Return the trained network; a user's model that comes trained teaches as it is."""
    if has_given_weights(candidate, context):
        return Trained(unpruned_network(candidate, context).eval(), None, (), 0.0, 0)
    return train_candidate(candidate, recipe, context, context.threads)


def _deployed_figures(
    candidate: Candidate, trained: Trained, artefact: Artefact, context: EvaluationContext
) -> tuple[Measurement, ...]:
    """Return the latency and the costs of the teacher's own trained file."""
    key = candidate.shape_key(context.dataset.input_shape, len(context.dataset.classes), context.batch)
    subject = Contestant(context.runs / artefact.path, artefact.sha256, key)
    timing = context.target.compare(subject, control_for(candidate, context), None, "trained")
    costs = file_figures(trained.network, trained, artefact, candidate.runtime, context)
    return (latency_measurement(timing), *costs)


def _teacher_key(candidate: Candidate, by: Teacher | None, context: EvaluationContext, epochs: int) -> str:
    document: dict[str, object] = {
        "candidate": candidate_to_json(candidate), "data": context.dataset.digest, "seed": context.seed,
        "split": context.dataset.split_digest, "augmentation": context.dataset.augmentation, "epochs": epochs,
    }  # fmt: skip
    if by is not None:
        document["by"] = hashlib.sha256(np.ascontiguousarray(by.logits).data).hexdigest()
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
