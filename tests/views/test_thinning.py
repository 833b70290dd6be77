"""A crowd is thinned where its marks would lie on each other, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from automl.views.facts import PointFacts, Reading, StudyFacts
from automl.views.figures import front_figure
from automl.views.thinning import along, thinned

COUNT = 5_000


def crowd(facts: StudyFacts, count: int = COUNT) -> list[PointFacts]:
    """Return trials off the front, spread at random."""
    model = next(point for point in facts.trials if point.standing == "dominated")
    values = np.random.default_rng(0).random((count, 2))
    return [
        replace(
            model,
            number=1_000 + index,
            standing="dominated" if index % 3 else "not paying",
            readings={
                **model.readings,
                "accuracy": Reading(0.5 + 0.4 * accuracy, 0.0, 1.0, "measured", 9),
                "latency_ms": Reading(0.2 + latency, 0.1, 2.0, "measured", 9),
            },
        )
        for index, (accuracy, latency) in enumerate(values)
    ]


def place(point: PointFacts) -> tuple[float, float]:
    return (point.value("latency_ms"), point.value("accuracy"))


def test_thinned_leaves_a_few_points_as_they_are(facts: StudyFacts) -> None:
    points = crowd(facts, 30)
    assert thinned(points, lambda _: (0.5,), most=30) == points


def test_thinned_keeps_the_first_of_each_standing_where_points_lie_on_each_other(facts: StudyFacts) -> None:
    points = crowd(facts, 30)
    assert thinned(points, lambda _: (0.5,), most=10) == [points[0], points[1]]


def test_thinned_keeps_points_wherever_there_were_some(facts: StudyFacts) -> None:
    points = crowd(facts)
    kept = thinned(points, place, most=500)
    assert 100 < len(kept) <= 500
    assert [point.number for point in kept] == sorted(point.number for point in kept)
    for point in points[::50]:
        near = [np.hypot(*np.subtract(place(point), place(other))) for other in kept]
        assert min(near) < 0.12


@pytest.mark.parametrize(("name", "value", "share"), [("accuracy", 0.75, 0.5), ("latency_ms", 1.0, 0.5)])
def test_along_is_linear_for_shares_and_logarithmic_for_ratios(name: str, value: float, share: float) -> None:
    span = (0.5, 1.0) if name == "accuracy" else (0.1, 10.0)
    assert along(name, value, span) == pytest.approx(share)


def test_front_figure_of_many_trials_is_small_and_says_what_it_leaves_out(facts: StudyFacts) -> None:
    figure = front_figure(replace(facts, points=(*facts.points, *crowd(facts))))
    drawn = [number for one in figure.data if one.customdata is not None for number in one.customdata]
    assert {point.number for point in facts.front} <= set(drawn)
    hidden = len([p for p in facts.trials if p.standing in ("dominated", "not paying", "unstable")]) + COUNT
    hidden -= len([number for one in figure.data if one.name in NAMES for number in one.customdata])
    assert f"{hidden:,} trials off the front are not drawn" in " ".join(
        each.text for each in figure.layout.annotations if each.text is not None
    )
    assert len(figure.to_json()) < 4e6


NAMES = ("dominated", "compression does not pay", "latency not stable")
