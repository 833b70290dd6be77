"""Hovers, rows and the terminal's table of a user's model and of methods that are not plain."""

from __future__ import annotations

from dataclasses import replace

from automl.candidate import PruningPlan, QuantizationPlan, UserModel
from automl.commands.front_table import COLUMNS, METHODS, front_table
from automl.views.facts import PointFacts, StudyFacts
from automl.views.hover import hover_text
from automl.views.rows import front_rows
from automl.views.wording import count_words, stage_words

MODEL = UserModel("mine", "0" * 16, ("conv1", "layer1.conv", "layer1.other"), (64, 64, 128), (0, 1, 1), 3)


def users_point(point: PointFacts) -> PointFacts:
    """Return the point with a user's model in place of cells, pruned with Taylor's criterion."""
    candidate = replace(
        point.candidate,
        genotype=MODEL,
        pruning=PruningPlan((64, 32, 96), criterion="taylor"),
        quantization=QuantizationPlan((32, 8, 8), (32, 8, 8), calibration="percentile"),
        runtime="openvino",
    )
    return replace(point, described=candidate)


def with_users_model(facts: StudyFacts) -> StudyFacts:
    return replace(facts, points=tuple(users_point(point) for point in facts.points))


def test_hover_of_a_users_model_names_stages_and_methods(facts: StudyFacts) -> None:
    text = hover_text(users_point(facts.front[0]))
    wanted = ["mine, 3 groups", "128 of 192 channels in 2 groups", "first-order Taylor", "percentile", "OpenVINO"]
    assert [words for words in wanted if words not in text] == []
    assert "normal cell" not in text


def test_stage_words_of_a_stage_without_groups(facts: StudyFacts) -> None:
    assert stage_words(users_point(facts.front[0]).candidate)[2] == "no channels to prune, int8"


def test_front_rows_of_a_users_model_have_no_cells(facts: StudyFacts) -> None:
    rows = front_rows(with_users_model(facts))
    assert len(rows) == len(facts.front)
    assert ("mine, 3 groups of channels",) in {cell.lines for cell in rows[0]}


def test_front_table_has_a_column_for_methods_only_where_there_are_any(facts: StudyFacts) -> None:
    assert front_table(facts)[0] == COLUMNS
    columns, rows = front_table(with_users_model(facts))
    assert columns == (*COLUMNS, METHODS)
    assert "served by OpenVINO" in rows[0][-1]


def test_count_words_keep_four_digits() -> None:
    assert [count_words(value) for value in (870.0, 9999.0, 50590.0, 25_557_032.0, 4.09e9)] == [
        "870", "9999", "50.59 k", "25.56 M", "4.09 G",
    ]  # fmt: skip
