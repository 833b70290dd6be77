"""What a sampler hears of a trial: losses and violated limits as plain figures, whatever the sampler is.

Measured is complete. Infeasible is complete in the sampler's memory: with what was measured, the worst value where
nothing was, and the limits that it violates. What may not stand on the front (it does not pay, or its latency is
unstable) violates mildly, so that it ranks behind what may and before what is over a limit. Failed trials say nothing;
open ones only where they are. Where trials are ended early, one rung is heard: every trial that reached it, whatever
became of it, says what it was worth there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from automl.outcome import OBJECTIVES, Infeasible, Measured, RungResult

if TYPE_CHECKING:
    from automl.storage import TrialRecord

OFF_FRONT = 0.01  # as a share, like being over a limit by one per cent
UNEXPLAINED = 1.0


@dataclass(frozen=True)
class Heard:
    """A complete trial: a value for each objective, and relative violations (0 or less means within the limit).

    Every trial of a study has the same constraints in the same order.
    """

    trial: TrialRecord
    values: tuple[float, ...]
    constraints: Mapping[str, float]


def hear(
    trials: Sequence[TrialRecord],
    objectives: Sequence[str],
    limits: Mapping[str, float],
    partial: Mapping[int, RungResult] | None = None,
) -> list[Heard]:
    """Return what is heard of those trials that have something to say, in their order.

    `partial` holds the results of the one rung that is heard, by trial; None hears the outcomes.
    """
    found = {trial.number: _figures(trial, partial) for trial in trials}
    figures = {number: known for number, known in found.items() if known is not None}
    worst = {
        name: _worst(name, [known[name] for known in figures.values() if name in known], limits) for name in objectives
    }
    return [
        Heard(
            trial,
            tuple(figures[trial.number].get(name, worst[name]) for name in objectives),
            _constraints(trial, figures[trial.number], limits),
        )
        for trial in trials
        if trial.number in figures and (is_infeasible(trial) or set(objectives) <= set(figures[trial.number]))
    ]


def is_infeasible(trial: TrialRecord) -> bool:
    """Tell whether the trial was over a limit, which is heard whatever else was measured."""
    return isinstance(trial.outcome, Infeasible)


def _figures(trial: TrialRecord, partial: Mapping[int, RungResult] | None) -> dict[str, float] | None:
    """Return the finite figures of the trial at the rung that is heard, None where it has nothing to say."""
    source: Infeasible | Measured | RungResult | None
    if isinstance(trial.outcome, Infeasible):
        source = trial.outcome
    elif partial is not None:
        source = partial.get(trial.number)
    else:
        source = trial.outcome if isinstance(trial.outcome, Measured) else None
    if source is None:
        return None
    return {each.name: each.value for each in source.measurements if math.isfinite(each.value)}


def _worst(name: str, seen: Sequence[float], limits: Mapping[str, float]) -> float:
    if OBJECTIVES[name].direction == "maximize":
        return 0.0  # such objectives are shares
    return max([*seen, limits.get(name, 1.0)])


def _constraints(trial: TrialRecord, figures: Mapping[str, float], limits: Mapping[str, float]) -> dict[str, float]:
    outcome = trial.outcome
    violations = outcome.violations if isinstance(outcome, Infeasible) else {}
    constraints: dict[str, float] = {}
    for name in sorted(limits):
        value, bound = violations.get(name, (figures.get(name, 0.0), limits[name]))
        constraints[name] = value / bound - 1.0 if math.isfinite(value) else UNEXPLAINED
    constraints["front"] = 0.0
    if isinstance(outcome, Measured) and not (outcome.gain.pays and outcome.stable):
        constraints["front"] = OFF_FRONT
    if isinstance(outcome, Infeasible) and not any(value > 0 for value in constraints.values()):
        constraints["front"] = UNEXPLAINED
    return constraints
