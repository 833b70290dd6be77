"""A scan is kept, drawn and told; the suggestion can be pasted into a study file."""

from __future__ import annotations

from pathlib import Path

import yaml

from automl.views.sensitivity import (
    FILE_NAME,
    read_sensitivity,
    sensitivity_figure,
    sensitivity_page,
    sensitivity_rows,
    suggestion_words,
    write_sensitivity,
)
from tests.views.made_up_report import made_up_sensitivity


def test_write_sensitivity_and_read_it_back(tmp_path: Path) -> None:
    path = write_sensitivity(tmp_path / "runs", made_up_sensitivity())
    assert path.name == FILE_NAME
    assert read_sensitivity(tmp_path / "runs") == made_up_sensitivity()


def test_read_sensitivity_of_another_release_is_none(tmp_path: Path) -> None:
    assert read_sensitivity(tmp_path) is None
    (tmp_path / FILE_NAME).write_text('{"levels": [{"old": 1}]}')
    assert read_sensitivity(tmp_path) is None


def test_sensitivity_figure_has_a_curve_a_stage_and_axis() -> None:
    figure = sensitivity_figure(made_up_sensitivity())
    assert [trace.name for trace in figure.data] == [f"stage {stage}" for stage in range(3)] * 2
    assert list(figure.data[1].x) == ["0", "0.25", "0.5", "0.75"]
    lowest = min(level.accuracy for level in made_up_sensitivity().levels)
    assert figure.layout.yaxis.range[0] < lowest


def test_sensitivity_rows_have_a_column_a_level() -> None:
    columns, rows = sensitivity_rows(made_up_sensitivity())
    assert columns == [
        "stage",
        *(f"prune {ratio}" for ratio in ("0", "0.25", "0.5", "0.75")),
        "w32a32",
        "w8a8",
        "w4a32",
    ]
    assert rows[2][1:4] == ["97.0%", "90.0%", "83.0%"]


def test_suggestion_words_are_an_entry_of_the_queue() -> None:
    (entry,) = yaml.safe_load(suggestion_words(made_up_sensitivity()))
    assert entry == {"genotype": "residual", "prune_0": 0.5, "bits_0": "w8a8"}


def test_sensitivity_page_says_how_it_was_scored() -> None:
    page = sensitivity_page("mine", made_up_sensitivity())
    assert "an exported file on 360 validation samples" in page
    assert page.count("plotly.js v") == 1
