"""How much each group of choices decides each objective, read from the trials of a study.

A random forest (Breiman, "Random Forests", 2001) learns the objective from the choices. The importance of a group is
what its prediction of unseen trials loses when all choices of the group are shuffled together among them (grouped
permutation importance: Gregorutti et al., 2015). Shuffling together keeps correlated choices of a group from
covering for each other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from automl.outcome import Infeasible, Measured
from automl.space import GROUPS, SearchSpace
from automl.storage import TrialRecord

FEWEST_TRIALS = 8  # below it nothing is said
FEW_TRIALS = 40  # below it a warning is
POOR_FIT = 0.5  # of the variance of unseen trials
TREES, FOLDS, REPEATS = 60, 5, 8
LOGARITHMIC = ("latency_ms", "size_bytes")  # what is compared by ratio


@dataclass(frozen=True)
class Importance:
    """What decides one objective.

    `explained` is the share of the variance of unseen trials that the forest explains; `shares` maps each group to its
    part of what is lost where the groups are shuffled one by one. The parts add up to 1, or are all 0.
    """

    objective: str
    trials: int
    explained: float
    shares: Mapping[str, float]

    def caution(self) -> str:
        """Return what a reader should keep in mind, empty where there is nothing."""
        words = []
        if self.trials < FEW_TRIALS:
            words.append(f"only {self.trials} trials")
        if self.explained < POOR_FIT:
            words.append(f"the choices explain {max(self.explained, 0.0):.0%} of unseen trials")
        return f"Read with care: {' and '.join(words)}." if words else ""


def importances(space: SearchSpace, trials: Sequence[TrialRecord], objectives: Sequence[str]) -> tuple[Importance, ...]:
    """Return the importance of each group that the space varies, for each objective with enough trials.

    Trials that only repeat another one's outcome are left out. An infeasible trial counts where it was measured.
    """
    own = [trial for trial in trials if trial.reused_from is None and trial.point in space]
    found = (_importance(space, own, objective) for objective in objectives)
    return tuple(one for one in found if one is not None)


def _importance(space: SearchSpace, trials: Sequence[TrialRecord], objective: str) -> Importance | None:
    values = [(trial, _value(trial, objective)) for trial in trials]
    known = [(trial, value) for trial, value in values if math.isfinite(value)]
    columns = group_columns(space)
    if len(known) < FEWEST_TRIALS or not columns:
        return None
    inputs = space.encode([trial.point for trial, _ in known])
    answers = np.array([value for _, value in known])
    if np.ptp(answers) == 0:
        return None
    explained, shares = _grouped_permutation(inputs, answers, columns)
    return Importance(objective, len(known), explained, shares)


def _value(trial: TrialRecord, objective: str) -> float:
    if not isinstance(trial.outcome, Measured | Infeasible):
        return math.nan
    found = (one.value for one in trial.outcome.measurements if one.name == objective)
    value = next(found, math.nan)
    if objective in LOGARITHMIC:
        return math.log(value) if value > 0 else math.nan
    return value


def group_columns(space: SearchSpace) -> dict[str, list[int]]:
    """Return the columns of `space.encode` of each group that has more than one choice anywhere."""
    columns: dict[str, list[int]] = {}
    start = 0
    for dimension in space.dimensions:
        width = 1 if dimension.ordered else len(dimension.choices)
        if len(dimension.choices) > 1:
            columns.setdefault(dimension.group, []).extend(range(start, start + width))
        start += width
    return {group: columns[group] for group in GROUPS if group in columns}


def _grouped_permutation(
    inputs: np.ndarray, answers: np.ndarray, columns: Mapping[str, list[int]]
) -> tuple[float, dict[str, float]]:
    """Return the explained share of the variance of unseen rows, and each group's part of what is lost without it."""
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.model_selection import KFold

    rng = np.random.default_rng(0)
    plain = np.zeros(len(answers))
    shuffled = {group: np.zeros((REPEATS, len(answers))) for group in columns}
    for train, unseen in KFold(min(FOLDS, len(answers)), shuffle=True, random_state=0).split(inputs):
        forest = RandomForestRegressor(TREES, random_state=0, n_jobs=1).fit(inputs[train], answers[train])
        plain[unseen] = forest.predict(inputs[unseen])
        for group, of_group in columns.items():
            mixed = np.repeat(inputs[unseen][None], REPEATS, axis=0)  # repeats x unseen x columns
            for rows in mixed:
                rows[:, of_group] = rows[rng.permutation(len(unseen))][:, of_group]
            shuffled[group][:, unseen] = forest.predict(mixed.reshape(-1, inputs.shape[1])).reshape(REPEATS, -1)
    variance = float(np.square(answers - answers.mean()).mean())
    error = float(np.square(answers - plain).mean()) / variance
    lost = {group: np.square(answers - rows).mean() / variance - error for group, rows in shuffled.items()}
    total = sum(max(loss, 0.0) for loss in lost.values())
    return 1.0 - error, {group: float(max(loss, 0.0) / total) if total > 0 else 0.0 for group, loss in lost.items()}
