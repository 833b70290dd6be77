"""The command `automl replay`: the table it prints, the files it writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from automl.commands.replaying import replay
from automl.errors import InputError
from tests.search.test_replay import toy_columns, write_csv


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "toy.csv", toy_columns())


def run(*arguments: str) -> str:
    app = typer.Typer()
    app.command()(replay)
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_replay_prints_a_row_a_method_and_writes_both_files(toy: Path, tmp_path: Path) -> None:
    page, values = tmp_path / "page.html", tmp_path / "values.json"
    shown = run(
        str(toy), "--method", "evolution", "--method", "random", "--seeds", "2", "--evaluations", "50",
        "--html", str(page), "--json", str(values), "--quiet",
    )  # fmt: skip
    assert "macs (multiply-adds, M)" in shown and "latency" not in shown
    assert [line.split()[0] for line in shown.splitlines() if line.startswith(("evolution", "random"))] == [
        "evolution", "random",
    ]  # fmt: skip
    found = json.loads(values.read_text())
    assert [len(each["curve"][1]) for each in found["methods"]] == [50, 50]
    assert 0 < found["methods"][0]["shares"]["50"]["median"] <= 1
    assert "Share of the true hypervolume" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--method", "annealing"], "--method must be one of nsga2, tpe, .*, but got annealing"),
        (["--method", "sklearn_grid", "--evaluations", "50"], "at least the 192 points of the grid"),
        (["--objectives", "valid,speed"], "--objectives must be of valid, macs, but got 'speed'"),
        (["--objectives", "valid,valid"], "--objectives must be different columns"),
        (["--evaluations", "500"], "--evaluations must be from 1 to 192, the rows of the table, but got 500"),
        (["--seeds", "0"], "--seeds must be at least 1"),
        (
            ["--html", "/proc/nowhere/page.html", "--method", "random", "--evaluations", "5"],
            "a file that can be written",
        ),
    ],
)
def test_replay_refuses(arguments: list[str], words: str, toy: Path) -> None:
    with pytest.raises(InputError, match=words):
        run(str(toy), *arguments, "--quiet")
