"""Finalists: retrained on all training data, exported, timed, and scored on test, once."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from automl.candidate import Candidate, DistillationPlan
from automl.evaluation.context import EvaluationContext
from automl.evaluation.costs import file_figures
from automl.evaluation.files import keep_file
from automl.evaluation.ladder import Stopwatch, measured, nominal_files, time_trained, time_untrained
from automl.evaluation.recipes import final_recipe
from automl.evaluation.scoring import score_file
from automl.evaluation.weights import deployed_file, train_candidate
from automl.outcome import Measured

UNTAUGHT = "trained without the teacher, which has seen less than half of these images"


def finish(candidate: Candidate, context: EvaluationContext, role: str) -> Measured:
    """Return the measured figures of a candidate's final training; its accuracies are `test_accuracy` and so on.

    A teacher that was trained on a subset for the search would hold back a student that sees all images, so it is left
    out where it has seen less than half of them; the outcome's notes say so.

    Args:
        candidate: of the front; for role "twin" its uncompressed twin is trained, with the same budget.
        context: of the study.
        role: "finalist" or "twin".

    Raises:
        DivergedError: where the training diverges.
        TargetError: where the file cannot be timed.
    """
    if role == "twin":
        candidate = candidate.twin(context.float_runtime).canonical()
    watch, split, dataset = Stopwatch(), context.dataset.full_train, context.dataset
    notes: tuple[str, ...] = ()
    if candidate.distillation.alpha < 1.0 and not _knows_enough(context):
        candidate, notes = replace(candidate, distillation=DistillationPlan(1.0, 1.0)), (UNTAUGHT,)
    with watch.stage("train"):
        trained = train_candidate(candidate, final_recipe(candidate, context), context)
    with watch.stage("export"):
        artefact = keep_file(deployed_file(trained, candidate, split, context), context.runs)
    with watch.stage("score"):
        path = context.runs / artefact.path
        scores = score_file(path, artefact.sha256, dataset.test, context, "test_", candidate.runtime)
    with tempfile.TemporaryDirectory(prefix="automl-") as folder:
        with watch.stage("time_trained"):
            nominal = nominal_files(candidate, context, Path(folder))
            untrained = time_untrained(candidate, nominal, context)
            timings = time_trained(artefact, candidate, nominal, untrained, context, moment="finalist")
        with watch.stage("count"):
            costs = (
                *file_figures(trained.network, trained, artefact, candidate.runtime, context),
                *nominal.twin_costs(),
            )
    outcome = measured(candidate, trained, artefact, nominal, timings, (*scores, *costs), context, watch)
    return replace(outcome, notes=(*outcome.notes, *notes))


def _knows_enough(context: EvaluationContext) -> bool:
    """Tell whether there is a teacher that may teach finalists: the user's own, or one that saw most of the images."""
    if context.teacher is None:
        return False
    seen, all_images = len(context.dataset.train.labels), len(context.dataset.full_train.labels)
    return context.teacher.candidate is None or 2 * seen >= all_images
