"""Hypervolumes of several fronts share one reference point."""

from __future__ import annotations

from dataclasses import replace

import pytest

from automl.errors import InputError
from automl.pareto import hypervolume
from automl.storage import Store
from automl.views.comparison import compare_facts, history_facts
from automl.views.facts import StudyFacts, study_facts


def test_compare_facts_measures_all_fronts_on_one_reference(store: Store, facts: StudyFacts) -> None:
    comparison = compare_facts([facts, study_facts(store, "other")])
    reference = [-comparison.reference[0], comparison.reference[1]]
    for study, volume in zip(comparison.studies, comparison.hypervolumes, strict=True):
        points = [[-point.value("accuracy"), point.value("latency_ms")] for point in study.front]
        assert all(point[0] < reference[0] and point[1] < reference[1] for point in points)
        assert volume == pytest.approx(hypervolume(points, reference))


def test_compare_facts_of_one_study_twice_is_a_draw(facts: StudyFacts) -> None:
    comparison = compare_facts([facts, facts])
    assert comparison.hypervolumes[0] == comparison.hypervolumes[1] > 0
    assert 0 < comparison.shares[0] < 1


def test_compare_facts_gives_an_empty_front_nothing(store: Store, facts: StudyFacts) -> None:
    assert compare_facts([facts, study_facts(store, "empty")]).hypervolumes[1] == 0.0


def test_compare_facts_says_when_devices_differ(facts: StudyFacts) -> None:
    assert not compare_facts([facts, replace(facts, device="another")]).same_device


def test_compare_facts_refuses_to_mix_kinds(facts: StudyFacts) -> None:
    with pytest.raises(InputError, match="of one kind, but got fake: measured, table: recorded"):
        compare_facts([facts, replace(facts, name="table", latency_kind="recorded")])


def test_compare_facts_needs_a_front(store: Store) -> None:
    with pytest.raises(InputError, match="at least one with a trial on it"):
        compare_facts([study_facts(store, "empty")])


def test_history_facts_only_grow_and_end_at_one(facts: StudyFacts) -> None:
    history = history_facts(facts)
    assert list(history.shares) == sorted(history.shares)
    assert list(history.numbers) == sorted(history.numbers)
    assert history.shares[-1] == pytest.approx(1.0)


def test_history_facts_of_an_empty_study_are_empty(store: Store) -> None:
    assert history_facts(study_facts(store, "empty")).numbers == ()
