"""What is plotted and marked follows from the record."""

from __future__ import annotations

import math

import pytest

from automl.errors import InputError
from automl.outcome import Measured
from automl.search.front import study_front
from automl.storage import Store
from automl.views.facts import StudyFacts, front_trials, study_facts
from automl.views.hover import hover_text
from automl.views.wording import cell_words, stage_words
from tests.fake_study import LIMITS, OBJECTIVES


def test_study_facts_hold_every_trial_and_what_it_is_compared_with(facts: StudyFacts) -> None:
    assert [point.number for point in facts.trials] == list(range(41))
    assert {point.role for point in facts.points} == {"trial", "finalist", "twin", "teacher"}


def test_study_facts_front_is_the_study_front(store: Store, facts: StudyFacts) -> None:
    study = store.find_study("fake")
    assert study is not None
    expected = {trial.number for trial in study_front(store.trials(study.id), OBJECTIVES)}
    assert {point.number for point in facts.front} == expected == {one.number for one in front_trials(store, "fake")}


def test_study_facts_standing_says_why(store: Store, facts: StudyFacts) -> None:
    study = store.find_study("fake")
    assert study is not None
    for trial, point in zip(store.trials(study.id), facts.trials, strict=True):
        if isinstance(trial.outcome, Measured):
            paying = trial.outcome.gain.pays
            assert (point.standing == "not paying") is (not paying)
            assert (point.standing == "unstable") is (paying and not trial.outcome.stable)
        else:
            assert point.standing == trial.state


def test_study_facts_keep_spread_and_kind(facts: StudyFacts) -> None:
    reading = facts.front[0].readings["latency_ms"]
    assert reading.low < reading.value < reading.high
    assert (reading.kind, facts.latency_kind) == ("measured", "measured")


def test_study_facts_read_limits_from_the_spec(facts: StudyFacts) -> None:
    assert facts.limits == LIMITS


def test_study_facts_have_no_accuracy_where_nothing_was_trained(facts: StudyFacts) -> None:
    infeasible = [point for point in facts.trials if point.standing == "infeasible"]
    assert infeasible
    assert all(math.isnan(point.value("accuracy")) and point.value("latency_ms") > 0 for point in infeasible)


def test_study_facts_of_an_empty_study_are_empty(store: Store) -> None:
    facts = study_facts(store, "empty")
    assert (facts.points, facts.front, facts.counts) == ((), (), {})


def test_study_facts_name_the_studies_there_are(store: Store) -> None:
    with pytest.raises(InputError, match=r"one of: fake, other, empty, but got 'fkae'"):
        study_facts(store, "fkae")


def test_stage_words_say_kept_width_ratio_and_bits(facts: StudyFacts) -> None:
    point = next(point for point in facts.trials if point.candidate.is_pruned())
    words = " ".join(stage_words(point.candidate))
    assert f"{point.candidate.pruning.kept_widths[0]} of {point.candidate.genotype.width} channels" in words
    assert "%" in words


def test_cell_words_count_only_reachable_nodes(facts: StudyFacts) -> None:
    cells = [point.candidate.genotype.normal for point in facts.trials]
    cell = next(cell for cell in cells if len(cell.reachable_nodes()) < 4)
    counted = sum(int(word.split()[0]) for word in cell_words(cell).split(" (")[0].split(" · "))
    assert counted == 2 * len(cell.reachable_nodes())


def test_study_facts_of_a_long_study_are_those_of_a_short_one(
    store: Store, facts: StudyFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("automl.views.facts.LONG", 10)
    light = study_facts(store, "fake")
    assert [(one.role, one.number, one.standing) for one in light.points] == [
        (one.role, one.number, one.standing) for one in facts.points
    ]
    assert [one.value("latency_ms") for one in light.trials] == pytest.approx(
        [one.value("latency_ms") for one in facts.trials], nan_ok=True
    )
    assert (light.front, light.counts, light.latency_kind) == (facts.front, facts.counts, facts.latency_kind)


def test_study_facts_of_a_long_study_describe_the_front_alone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("automl.views.facts.LONG", 10)
    light = study_facts(store, "fake")
    assert {one.number for one in light.trials if one.described is not None} == {one.number for one in light.front}


def test_hover_of_what_is_not_described_says_where_to_look(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("automl.views.facts.LONG", 10)
    point = next(one for one in study_facts(store, "fake").trials if one.standing == "dominated")
    text = hover_text(point)
    assert f"automl trial {point.number}" in text
    assert "accuracy, validation" in text and "normal cell" not in text
