from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from automl.errors import InputError
from automl.outcome import Measured
from automl.storage import Store, open_store
from tests.storage.sample_outcomes import open_trial, outcome

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
from recorded_study import fill  # a script's folder is no package


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"sqlite:///{tmp_path / 'a.db'}") as store:
        yield store


def test_fill_makes_a_study_of_every_kind_of_trial(store: Store) -> None:
    study = fill(store, "made-up-300", 300, seed=1, open_last=2)
    trials = store.trials(study.id)
    assert [trial.number for trial in trials] == list(range(300))
    assert {trial.state for trial in trials} == {"open", "measured", "infeasible", "stopped", "failed"}
    assert any(trial.reused_from is not None for trial in trials)
    assert all(trial.candidate_hash == trial.candidate.candidate_hash() for trial in trials[:20])
    assert len(store.rungs(study.id)) > 300


def test_fill_says_that_its_figures_were_not_measured(store: Store) -> None:
    study = fill(store, "made-up", 20, seed=1)
    measured = [trial.outcome for trial in store.trials(study.id) if isinstance(trial.outcome, Measured)]
    assert {figure.kind for one in measured for figure in one.measurements} == {"recorded"}
    assert study.device == "made-up device"
    with pytest.raises(InputError, match="must be one that begins with 'made-up'"):
        fill(store, "digits", 1, seed=1)


def test_fill_repeats_itself_for_a_seed(store: Store) -> None:
    first, same, other = (
        store.trials(fill(store, f"made-up-{name}", 30, seed).id) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert [trial.candidate for trial in first] == [trial.candidate for trial in same]
    assert [trial.candidate for trial in first] != [trial.candidate for trial in other]


def test_filled_study_goes_on(store: Store) -> None:
    study = fill(store, "made-up", 5, seed=1)
    open_trial(store, study.id, 5)
    assert store.finish_trial(study.id, 5, outcome(0))
