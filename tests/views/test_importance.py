"""The importance of a group follows from what decides the outcomes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from automl.outcome import Measured, Measurement
from automl.storage import TrialRecord
from automl.views.importance import FEWEST_TRIALS, Importance, importances
from tests.search.search_fakes import small_space, trial_of


def trials_decided_by(names: tuple[str, ...], count: int) -> list[TrialRecord]:
    """Return trials whose accuracy is a function of these dimensions alone."""
    space, rng, trials = small_space(), np.random.default_rng(0), []
    for number in range(count):
        point = space.sample(rng)
        accuracy = 0.9 - sum(point[name] * 0.1 for name in names)
        trial = trial_of(number, space.decode(point))
        figure = Measurement("accuracy", accuracy, "measured", "", accuracy, accuracy, 1, "", "")
        outcome = trial_of(number, space.decode({**point, "width": 0})).outcome
        assert isinstance(outcome, Measured)
        outcome = replace(outcome, measurements=(figure, *outcome.measurements[1:]))
        trials.append(replace(trial, point=point, outcome=outcome))
    return trials


@pytest.mark.parametrize(
    ("names", "group"),
    [(("prune_0", "prune_1", "prune_2"), "pruning"), (("bits",), "quantization"), (("alpha",), "distillation")],
)
def test_importances_find_the_group_that_decides(names: tuple[str, ...], group: str) -> None:
    (found,) = importances(small_space(), trials_decided_by(names, 30), ["accuracy"])
    assert found.shares[group] == max(found.shares.values())
    assert found.shares[group] > 0.8
    assert sum(found.shares.values()) == pytest.approx(1.0)
    assert found.explained > 0.5


def test_importances_say_nothing_of_too_few_trials() -> None:
    assert importances(small_space(), trials_decided_by(("bits",), FEWEST_TRIALS - 1), ["accuracy"]) == ()


def test_importances_say_nothing_where_nothing_differs() -> None:
    assert importances(small_space(), trials_decided_by((), 20), ["accuracy"]) == ()


def test_importances_leave_out_repeated_trials() -> None:
    trials = [replace(trial, reused_from=0) for trial in trials_decided_by(("bits",), 20)]
    assert importances(small_space(), trials, ["accuracy"]) == ()


def test_importance_warns_of_few_trials_and_of_a_poor_fit() -> None:
    assert Importance("accuracy", 100, 0.9, {}).caution() == ""
    assert Importance("accuracy", 12, 0.2, {}).caution() == (
        "Read with care: only 12 trials and the choices explain 20% of unseen trials."
    )
