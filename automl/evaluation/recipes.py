"""Recipes: what a candidate trains on, for how long, and who teaches it, in the search and as a finalist."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from automl.candidate import Candidate
from automl.data.images import Split
from automl.data.splits import stratified_subset
from automl.evaluation.context import EvaluationContext, Teacher
from automl.evaluation.lessons import soft_targets_of, soft_targets_on_demand, stage_features_of
from automl.evaluation.networks import nominal_network
from automl.evaluation.teacher import who_teaches
from automl.evaluation.weights import Recipe, count_multiply_adds, table_lookup
from automl.training.loop import SoftTargets
from automl.training.methods import METHODS
from automl.training.views import augmented_views


def search_recipe(candidate: Candidate, context: EvaluationContext) -> Recipe:
    """Return how the search trains the candidate: on its own images, for its own epochs."""
    return _recipe(candidate, context, context.dataset.train, candidate.training.epochs, None)


def final_recipe(candidate: Candidate, context: EvaluationContext) -> Recipe:
    """Return how a finalist is trained: on all training images, annealed within its seconds."""
    return _recipe(candidate, context, context.dataset.full_train, context.finalist_epochs, context.finalist_seconds)


def smaller_recipe(recipe: Recipe, share: float, context: EvaluationContext) -> Recipe:
    """Return the recipe on a share of its samples, the classes' shares kept; a smaller share's lie in a larger one's.

    They are shown in the views of the whole, so that what a teacher says of these holds.

    Args:
        recipe: of a whole training.
        share: above 0, at most 1; at least one sample of each class stays.
        context: of the study.
    """
    if share >= 1:
        return recipe
    split, unlabelled, rng = recipe.split, recipe.unlabelled, np.random.default_rng([context.seed, 0x5BA3])
    limit = max(round(share * len(split)), len(np.unique(split.labels)))
    own = shown = stratified_subset(split.labels, limit, rng)
    if unlabelled is not None:
        order = np.random.default_rng([context.seed, 0x5BA4]).permutation(unlabelled.shape[1])
        more = np.sort(order[: max(round(share * len(order)), 1)])
        unlabelled, shown = unlabelled[:, more], np.concatenate([own, len(split) + more])
    soft, stages = recipe.soft_targets, recipe.stage_features
    return replace(
        recipe,
        split=split.take(own),
        views=_views(split.pixels, context)[:, own],
        unlabelled=unlabelled,
        soft_targets=None if soft is None else lambda view, indices: soft(view, shown[indices]),
        stage_features=None if stages is None else lambda view, indices: stages(view, shown[indices]),
    )


def _recipe(
    candidate: Candidate, context: EvaluationContext, split: Split, epochs: int, seconds: float | None
) -> Recipe:
    method = METHODS[candidate.distillation.method]
    if context.teacher is None or candidate.distillation.alpha == 1.0 or not method.needs_teacher:
        return Recipe(split, epochs, seconds, None)
    teacher = _teacher_of(candidate, context, context.teacher)
    own, unlabelled = _views(split.pixels, context), None
    shown = own
    if context.unlabelled is not None:
        unlabelled = _views(context.unlabelled, context)
        shown = np.concatenate([own, unlabelled], axis=1)
    stages = stage_features_of(teacher, shown, context) if method.needs_stages else None
    is_known = split is context.dataset.train and unlabelled is None  # the search's own images: answered already
    soft: SoftTargets
    if is_known:
        soft = table_lookup(teacher.logits)
    else:
        soft = (soft_targets_of if seconds is None else soft_targets_on_demand)(teacher, shown, context)
    return Recipe(split, epochs, seconds, soft, stages, unlabelled)


def _teacher_of(candidate: Candidate, context: EvaluationContext, teacher: Teacher) -> Teacher:
    if teacher.assistant is None:
        return teacher
    return who_teaches(teacher, count_multiply_adds(nominal_network(candidate, context)))


def _views(pixels: np.ndarray, context: EvaluationContext) -> np.ndarray:
    return augmented_views(pixels, context.dataset.augmentation, context.seed)
