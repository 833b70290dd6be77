"""Distillation: the weight of the hard labels and the temperature of the teacher's answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from automl.candidate import DistillationPlan
from automl.space import Choice, Dimension


def distillation_dimensions(alphas: Iterable[float], temperatures: Iterable[float]) -> tuple[Dimension, ...]:
    """Return `alpha`, falling so that the teacher counts for more with each step, and `temperature`, rising.

    The temperature stays a dimension where alpha is 1 and it acts on nothing: the candidate makes it canonical.
    """
    return (
        Dimension(
            "alpha", "distillation", tuple(sorted({float(alpha) for alpha in alphas}, reverse=True)), ordered=True
        ),
        Dimension("temperature", "distillation", tuple(sorted({float(value) for value in temperatures})), ordered=True),
    )


def decode_distillation(choices: Mapping[str, Choice]) -> DistillationPlan:
    """Return alpha x hard + (1 - alpha) x T^2 x soft as chosen."""
    return DistillationPlan(float(choices["alpha"]), float(choices["temperature"]))
