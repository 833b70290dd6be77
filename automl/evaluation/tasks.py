"""What a worker is handed: frozen, picklable, called with the context that the worker already has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from automl.candidate import Candidate
from automl.evaluation.context import EvaluationContext, Teacher
from automl.evaluation.finalist import finish
from automl.evaluation.ladder import evaluate
from automl.evaluation.rungs import Rung, evaluate_rung
from automl.evaluation.synthesis import synthetic_samples
from automl.evaluation.teacher import train_assistant, train_teacher
from automl.outcome import Measured, Outcome, RungResult, Timing


@dataclass(frozen=True)
class EvaluateTask:
    """Evaluate a candidate: whole, or from rung to rung, going on from the result of the rung below."""

    candidate: Candidate
    known: Timing | None
    rung: Rung | None = None
    since: RungResult | None = None

    def __call__(self, context: EvaluationContext) -> Outcome | RungResult:
        """Return its outcome, or its result at a rung below the top."""
        if self.rung is None:
            return evaluate(self.candidate, context, self.known)
        return evaluate_rung(self.candidate, context, self.known, self.rung, self.since)


@dataclass(frozen=True)
class TeacherTask:
    """Train the study's teacher."""

    candidate: Candidate
    max_seconds: float | None
    epochs: int

    def __call__(self, context: EvaluationContext) -> Teacher:
        """Return the teacher."""
        return train_teacher(self.candidate, context, self.max_seconds, self.epochs)


@dataclass(frozen=True)
class AssistantTask:
    """Train an assistant that stands between the teacher and students that are much smaller."""

    candidate: Candidate
    teacher: Teacher
    max_seconds: float | None
    epochs: int

    def __call__(self, context: EvaluationContext) -> Teacher:
        """Return the teacher with its assistant."""
        return train_assistant(self.candidate, self.teacher, context, self.max_seconds, self.epochs)


@dataclass(frozen=True)
class SynthesisTask:
    """Make training samples from the study's teacher: "inverted" from its statistics, or "generated"."""

    kind: str
    count: int

    def __call__(self, context: EvaluationContext) -> np.ndarray:
        """Return `count x` raw samples."""
        return synthetic_samples(self.kind, self.count, context)


@dataclass(frozen=True)
class FinishTask:
    """Train and score a finalist or a twin."""

    candidate: Candidate
    role: str

    def __call__(self, context: EvaluationContext) -> Measured:
        """Return its figures."""
        return finish(self.candidate, context, self.role)
