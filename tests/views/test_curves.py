"""Learning curves, read from the figures themselves."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime

import plotly.graph_objects as go
import pytest

from automl.outcome import Epoch, Failed, Measured, Measurement, Outcome, RungResult, Stopped, state_of
from automl.storage import RungRecord, TrialRecord
from automl.views.curves import ENDINGS, MOST, CurveFacts, curve_facts, curve_rows, curves_figure, rung_rows
from tests.fake_study import fake_trials

CURVE = tuple(
    Epoch(phase, epoch, 2.0 / (place + 1), 1.0, 1e-3, 0.5)
    for place, (phase, epoch) in enumerate([("dense", 0), ("pruned", 0), ("pruned", 1), ("pruned", 2)])
)
WHY = "stopped at rung 1 of 3 (11 % of its epochs): rank 3 of 3, and one in 3 goes on"
FAKE = next(trial for trial in fake_trials(20) if isinstance(trial.outcome, Measured))


def measured(curve: tuple[Epoch, ...] = CURVE) -> Measured:
    assert isinstance(FAKE.outcome, Measured)
    return replace(FAKE.outcome, curve=curve)


def trial(number: int, outcome: Outcome | None, reused_from: int | None = None) -> TrialRecord:
    state = "open" if outcome is None else state_of(outcome)
    candidate, now = FAKE.candidate, datetime(2026, 1, 1, tzinfo=UTC)
    return TrialRecord(
        number, {}, candidate, candidate.candidate_hash(), "shape", state, 1, reused_from, {}, outcome, now, now, False,
    )  # type: ignore[arg-type]  # fmt: skip


def rung(sequence: int, number: int, index: int, accuracy: float, epochs: int = 1) -> RungRecord:
    low, high = accuracy - 0.1, accuracy + 0.1
    figure = Measurement("accuracy", accuracy, "measured", "top-1 of the file", low, high, 100, "cpu", "file")
    return RungRecord(sequence, number, RungResult(index, (figure,), (), CURVE[: epochs + 1], {}, None))


TRIALS = (
    trial(3, None),
    trial(0, measured()),
    trial(1, Stopped(WHY, {})),
    trial(2, Failed("training diverged", "")),
    trial(4, measured(), reused_from=0),
)
RUNGS = (rung(1, 0, 0, 0.5), rung(2, 1, 0, 0.3), rung(3, 0, 1, 0.7, 2), rung(4, 3, 0, 0.6))


@pytest.fixture
def curves() -> tuple[CurveFacts, ...]:
    return curve_facts(TRIALS, RUNGS)


def trace(figure: go.Figure, name: str, axis: str) -> go.Scatter:
    return next(one for one in figure.data if one.name == name and (one.xaxis or "x") == axis)


def test_curve_facts_are_of_what_has_trained_once(curves: tuple[CurveFacts, ...]) -> None:
    assert [(one.number, one.ending) for one in curves] == [(0, "measured"), (1, "stopped"), (3, "open")]


def test_curve_facts_take_the_outcomes_curve_or_the_latest_rungs(curves: tuple[CurveFacts, ...]) -> None:
    assert [len(one.epochs) for one in curves] == [4, 2, 2]
    assert curves[1].reason == WHY


def test_curve_facts_end_at_the_whole_training(curves: tuple[CurveFacts, ...]) -> None:
    assert [(point.rung, point.is_top, point.accuracy) for point in curves[0].rungs] == [
        (1, False, 0.5), (2, False, 0.7), (3, True, measured().value("accuracy")),
    ]  # fmt: skip
    assert [point.is_top for point in curves[1].rungs] == [False]


def test_places_part_an_epoch_of_two_phases(curves: tuple[CurveFacts, ...]) -> None:
    assert curves[0].places() == [0.5, 1.0, 2.0, 3.0]


def test_curves_figure_has_a_line_a_trial_with_gaps(curves: tuple[CurveFacts, ...]) -> None:
    more = (*curves, replace(curves[0], number=7))
    line = trace(curves_figure(more), "measured", "x")
    assert list(line.y) == [*(epoch.loss for epoch in CURVE), None] * 2
    assert list(line.customdata) == [0] * 5 + [7] * 5


def test_curves_figure_marks_the_files_accuracy_at_each_rung(curves: tuple[CurveFacts, ...]) -> None:
    figure = curves_figure(curves)
    marks = trace(figure, "measured", "x2")
    assert list(marks.x) == [1, 2, 3, None]
    assert list(marks.y[:2]) == [0.5, 0.7]
    assert [one.name for one in figure.data if one.showlegend is not False] == ["stopped early", "running", "measured"]


def test_curves_figure_says_on_hover_why_a_trial_ended(curves: tuple[CurveFacts, ...]) -> None:
    words = trace(curves_figure(curves), "stopped early", "x2").hovertext[0].split("<br>")
    assert (words[0], " ".join(words[1:-1])) == ("<b>trial 1</b>, stopped early", WHY)
    assert words[-1] == "rung 1: accuracy of the file 30.0% (20.0% to 40.0%)"


def test_curves_figure_escapes_a_reason() -> None:
    (curve,) = curve_facts([trial(1, Stopped("<script>", {}))], [rung(1, 1, 0, 0.5)])
    assert "&lt;script&gt;" in curves_figure([curve]).data[0].hovertext[0]


def test_curves_figure_without_rungs_is_of_losses_alone() -> None:
    figure = curves_figure(curve_facts([trial(0, measured())]))
    assert [one.xaxis for one in figure.data] == ["x"]
    assert figure.layout.yaxis.type == "log"


def test_curves_figure_draws_the_latest_and_says_so(curves: tuple[CurveFacts, ...]) -> None:
    many = [replace(curves[0], number=number) for number in range(MOST + 5)]
    figure = curves_figure(many)
    assert len(set(trace(figure, "measured", "x").customdata)) == MOST
    assert f"the latest {MOST} of {MOST + 5} trials" in figure.layout.title.subtitle.text


def test_curves_figure_leaves_a_gap_where_a_loss_is_no_number(curves: tuple[CurveFacts, ...]) -> None:
    broken = replace(curves[0], epochs=(CURVE[0], replace(CURVE[1], loss=math.nan)))
    assert list(trace(curves_figure([broken]), "measured", "x").y) == [CURVE[0].loss, None, None]


def test_curves_figure_of_nothing_is_empty() -> None:
    assert list(curves_figure(()).data) == []


def test_endings_know_every_state() -> None:
    assert set(ENDINGS) == {"open", "measured", "infeasible", "stopped", "failed"}


def test_rows_are_words_for_a_terminal(curves: tuple[CurveFacts, ...]) -> None:
    columns, rows = curve_rows(curves[0])
    assert rows[1] == ["1", "pruned", "1", "1", "0.001", "0.5"] and len(columns) == len(rows[1])
    assert [row[0] for row in rung_rows(curves[0])[1]] == ["1", "2", "whole"]
    assert rung_rows(curves[1])[1] == [["1", "30.0%", "20.0%", "40.0%"]]
