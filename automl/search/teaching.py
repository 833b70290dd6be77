"""Who teaches in a study: its own largest network, files of the user's beside it, an assistant, and on what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from automl.candidate import Candidate, Genotype, PruningPlan, QuantizationPlan, UserModel
from automl.compression.user_model import describe_user_model
from automl.data.images import Split
from automl.evaluation import (
    AssistantTask,
    EvaluationContext,
    SynthesisTask,
    Teacher,
    TeacherTask,
    largest_candidate,
    named_teacher,
    task_of,
)
from automl.evaluation.lessons import taught_logits
from automl.evaluation.teacher import assistant_candidate, join_teachers
from automl.search.executor import Executor
from automl.search.finalists import run_one
from automl.space import SearchSpace
from automl.storage import Store, StudyRecord
from automl.study_spec import StudySpec, is_factory
from automl.training.views import augmented_views


def with_model(candidate: Candidate, model: UserModel) -> Candidate:
    """Return the uncompressed candidate of another model, trained as `candidate` is."""
    plain = (32,) * model.stage_count
    return replace(
        candidate,
        genotype=model,
        pruning=PruningPlan(model.widths),
        quantization=QuantizationPlan(plain, plain),
    ).canonical()


SAMPLES = 2048  # made from the teacher at most, where there is no data to learn from


@dataclass(frozen=True)
class Classroom:
    """What the teaching of one study needs: the spec, its space and record, and the pool that trains."""

    spec: StudySpec
    space: SearchSpace
    store: Store
    study: StudyRecord
    executor: Executor
    renew: Callable[[], None]

    def teacher(self, context: EvaluationContext) -> Teacher | None:
        """Return the study's teacher: trained within its share of the budget, read from its file, or None.

        Raises:
            InputError: where a named teacher cannot be used.
        """
        plan = self.spec.teacher
        if plan.source == "none":
            return None
        is_trained_here = plan.source == "space" or is_factory(plan.source)
        main = self._trained(context) if is_trained_here else named_teacher(Path(plan.source), context)
        teacher = join_teachers(main, [(Path(other.source), other.weight) for other in plan.others], context)
        return self._with_assistant(teacher, context) if plan.assistant else teacher

    def taught(self, context: EvaluationContext) -> EvaluationContext:
        """Return the context with samples made from its teacher in place of the training data, where the study says so.

        Only the training data is replaced: what is validated and tested is real.
        """
        kind = self.spec.distillation.data
        if kind == "real" or context.teacher is None:
            return context
        dataset = context.dataset
        count = min(len(dataset.train), SAMPLES)
        samples = run_one(self.executor, SynthesisTask(kind, count), f"samples ({kind}) of the teacher", self.renew)
        assert isinstance(samples, np.ndarray)
        views = augmented_views(samples, dataset.augmentation, context.seed)
        logits = taught_logits(context.teacher, views, context)
        split = Split(samples, logits[0].argmax(axis=1).astype(np.int64))
        teacher = replace(context.teacher, logits=logits)
        if teacher.assistant is not None:
            heard = taught_logits(teacher.assistant, views, context)
            teacher = replace(teacher, assistant=replace(teacher.assistant, logits=heard))
        task = task_of(dataset)  # the teacher was trained on pixels of this mean and deviation
        made = replace(dataset, train=split, full_train=split, normalisation=(task.mean, task.deviation))
        return replace(context, dataset=made, teacher=teacher)

    def _trained(self, context: EvaluationContext) -> Teacher:
        candidate = largest_candidate(self.space)
        if context.teacher_model is not None:
            candidate = with_model(candidate, describe_user_model(context.teacher_model, task_of(context.dataset))[0])
        task = TeacherTask(candidate, self._seconds(), self.spec.teacher.epochs)
        teacher = run_one(self.executor, task, "the teacher", self.renew)
        assert isinstance(teacher, Teacher) and teacher.candidate is not None
        saved = self.store.teacher(self.study.id)
        if saved is None or saved.sha256 != teacher.sha256:
            self.store.save_teacher(
                self.study.id, sha256=teacher.sha256, path=teacher.path, candidate=teacher.candidate,
                measurements=teacher.measurements, seconds=teacher.seconds,
            )  # fmt: skip
        return teacher

    def _with_assistant(self, teacher: Teacher, context: EvaluationContext) -> Teacher:
        """Return the teacher with an assistant half way to the smallest network of the space, where there is a way."""
        candidate = teacher.candidate
        if candidate is None or not isinstance(candidate.genotype, Genotype):
            return teacher
        choices = {dimension.name: dimension.choices for dimension in self.space.dimensions}
        middle = assistant_candidate(
            candidate, int(min(choices["width"])), int(min(choices["cells"])), context.target.channel_multiple
        )
        if middle is None:
            return teacher
        task = AssistantTask(middle, teacher, self._seconds(), self.spec.teacher.epochs)
        assisted = run_one(self.executor, task, "the teacher's assistant", self.renew)
        assert isinstance(assisted, Teacher)
        return assisted

    def _seconds(self) -> float | None:
        """Return the seconds of one teacher's training: the study's share, halved where an assistant follows."""
        seconds, plan = self.spec.budget.seconds, self.spec.teacher
        return None if seconds is None else seconds * plan.share / (2 if plan.assistant else 1)
