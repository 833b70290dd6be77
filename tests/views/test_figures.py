"""What the pictures show, read from the figures themselves."""

from __future__ import annotations

import math
from dataclasses import replace

import plotly.graph_objects as go
import pytest

from automl.storage import Store
from automl.views.axes import span, ticks
from automl.views.comparison import compare_facts
from automl.views.facts import StudyFacts, study_facts
from automl.views.figures import compare_figure, front_figure, history_figure
from automl.views.landmarks import landmarks, line_points
from automl.views.style import STANDINGS, diameters


@pytest.fixture(scope="module")
def figure(facts: StudyFacts) -> go.Figure:
    return front_figure(facts)


def trace(figure: go.Figure, name: str) -> go.Scatter:
    return next(one for one in figure.data if one.name == name)


def test_front_figure_places_every_measured_trial_once(figure: go.Figure, facts: StudyFacts) -> None:
    groups = ("compression", "standing")
    drawn = [number for one in figure.data if one.legendgroup in groups for number in one.customdata]
    known = ("front", "dominated", "not paying", "unstable", "infeasible")
    assert sorted(drawn) == [point.number for point in facts.trials if point.standing in known]


def test_front_figure_line_is_the_attained_front(figure: go.Figure, facts: StudyFacts) -> None:
    line = trace(figure, "front")
    assert line.line.shape == "hv"
    inner = [(x, y) for x, y in zip(line.x[1:-1], line.y[1:-1], strict=True)]
    expected = [
        (one.value("latency_ms"), one.value("accuracy")) for one in line_points(facts.front, "latency_ms", "accuracy")
    ]
    assert inner == expected
    assert list(line.y) == sorted(line.y)


def test_front_figure_bars_reach_low_and_high(figure: go.Figure, facts: StudyFacts) -> None:
    point = facts.front[0]
    drawn = trace(figure, point.compression)
    at = list(drawn.customdata).index(point.number)
    for bars, name in ((drawn.error_x, "latency_ms"), (drawn.error_y, "accuracy")):
        reading = point.readings[name]
        assert reading.value + bars.array[at] == pytest.approx(reading.high)
        assert reading.value - bars.arrayminus[at] == pytest.approx(reading.low)


def test_front_figure_hover_holds_the_whole_candidate(figure: go.Figure, facts: StudyFacts) -> None:
    point = next(point for point in facts.front if point.candidate.is_pruned())
    drawn = trace(figure, point.compression)
    text = drawn.hovertext[list(drawn.customdata).index(point.number)]
    wanted = [
        "normal cell",
        "reduction cell",
        "stage 0",
        "stage 2",
        "alpha",
        point.candidate_hash,
        "measured",
        "channels",
    ]
    assert [word for word in wanted if word not in text] == []


def test_front_figure_tells_standings_apart_by_symbol(figure: go.Figure) -> None:
    names = [STANDINGS[name].label for name in ("dominated", "not paying", "infeasible")]
    symbols = {trace(figure, name).marker.symbol for name in names}
    assert len(symbols) == 3
    assert trace(figure, "dominated").marker.opacity < 0.5


@pytest.mark.parametrize("name", ["finalist, test set", "uncompressed twin, test set", "teacher"])
def test_front_figure_marks_what_it_is_compared_with(figure: go.Figure, name: str) -> None:
    assert len(trace(figure, name).x) >= 1


def test_front_figure_marks_the_limit(figure: go.Figure, facts: StudyFacts) -> None:
    assert any(shape.x0 == facts.limits["latency_ms"] for shape in figure.layout.shapes)


def test_front_figure_says_the_kind_of_latency(facts: StudyFacts) -> None:
    figure = front_figure(replace(facts, latency_kind="recorded"))
    assert "recorded" in figure.layout.xaxis.title.text


def test_front_figure_leaves_out_what_is_only_reused(facts: StudyFacts) -> None:
    first = facts.front[0]
    again = replace(first, number=99, reused_from=first.number, standing="dominated")
    figure = front_figure(replace(facts, points=(*facts.points, again)))
    assert all(99 not in (one.customdata if one.customdata is not None else ()) for one in figure.data)


def test_front_figure_of_an_empty_study_has_axes_and_no_marks(store: Store) -> None:
    figure = front_figure(study_facts(store, "empty"))
    assert len(figure.data) == 0
    assert figure.layout.xaxis.title.text


def test_front_figure_takes_other_axes(facts: StudyFacts) -> None:
    figure = front_figure(facts, x="size_bytes", y="balanced_accuracy", size="latency_ms")
    assert "File size" in figure.layout.xaxis.title.text


def test_front_figure_escapes_names(facts: StudyFacts) -> None:
    figure = front_figure(replace(facts, name="<b>x</b>"))
    assert "&lt;b&gt;x" in figure.layout.title.text


def test_compare_figure_tells_studies_apart_by_symbol(store: Store, facts: StudyFacts) -> None:
    figure = compare_figure(compare_facts([facts, study_facts(store, "other"), study_facts(store, "empty")]))
    marks = [one for one in figure.data if one.mode == "markers"]
    assert len({one.marker.symbol for one in marks}) == len(marks) == 2
    assert "%" in marks[0].name


def test_history_figure_ends_at_the_last_trial(facts: StudyFacts) -> None:
    assert history_figure(facts).data[0].x[-1] == 40


def test_landmarks_name_one_point_once(facts: StudyFacts) -> None:
    assert len(landmarks(facts.front[:1], "latency_ms", "accuracy")) == 1
    assert landmarks([], "latency_ms", "accuracy") == {}


def test_diameters_are_proportional_in_area() -> None:
    small, large = diameters([1e5, 4e5], 4e5)
    assert large == pytest.approx(2 * small)


def test_span_leaves_a_long_tail_of_poor_shares_below() -> None:
    low, high = span("accuracy", [0.1, 0.12, *[0.95 + index / 1000 for index in range(20)]])
    assert 0.85 < low < 0.95
    assert high > 0.969


@pytest.mark.parametrize(("low", "high"), [(0.11, 0.3), (0.04, 2.4), (0.9, 1.1), (0.01, 300.0)])
def test_ticks_are_few_and_inside(low: float, high: float) -> None:
    values = ticks(low, high)
    assert 1 <= len(values) <= 14
    assert all(low <= value <= high and math.isfinite(value) for value in values)


def test_front_figure_keeps_the_names_of_points_at_the_left_edge_inside(facts: StudyFacts) -> None:
    figure = front_figure(facts)
    low, high = figure.layout.xaxis.range
    named = [each for each in figure.layout.annotations if each.text is not None and "<br><b>" in each.text]
    assert named
    assert all(each.xanchor == "left" for each in named if each.x < low + 0.25 * (high - low))
