"""Evaluation: a candidate and a context in, an outcome out; every figure is that of an exported file.

Imports what lies below it (data, models, training, compression, targets) and neither ray nor optuna, so that any
machine with the data and the target can evaluate.
"""

from automl.evaluation.context import EvaluationContext, Teacher, largest_candidate, task_of
from automl.evaluation.controls import prepare_controls
from automl.evaluation.finalist import finish
from automl.evaluation.ladder import evaluate
from automl.evaluation.tasks import AssistantTask, EvaluateTask, FinishTask, SynthesisTask, TeacherTask
from automl.evaluation.teacher import named_teacher, train_teacher

__all__ = [
    "AssistantTask",
    "EvaluateTask",
    "EvaluationContext",
    "FinishTask",
    "SynthesisTask",
    "Teacher",
    "TeacherTask",
    "evaluate",
    "finish",
    "largest_candidate",
    "named_teacher",
    "prepare_controls",
    "task_of",
    "train_teacher",
]
