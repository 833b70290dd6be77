"""report and sensitivity from the command line, on networks really trained; the latencies are recorded ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from automl import cli
from automl.commands.joining import join, load_spec
from automl.commands.sensitivity import scanned_network
from automl.storage import open_store
from tests.compressed_study import url_of


def report(folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert cli.run(["report", "tiny-compressed", "--storage", url_of(folder), "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def page_of(folder: Path) -> str:
    return (folder / "runs" / "tiny-compressed" / "report.html").read_text()


def test_report_compares_both_files_on_the_test_set(
    compressed_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = report(compressed_folder, capsys)
    with open_store(url_of(compressed_folder)) as store:
        by_role = {one.role: one.outcome for one in store.finalists(1)}
    difference = found["difference"]
    gap = by_role["twin"].value("test_accuracy") - by_role["finalist"].value("test_accuracy")
    only = difference["only_twin_right"] - difference["only_model_right"]
    assert only / difference["samples"] == pytest.approx(gap)
    assert sum(one["samples"] for one in difference["classes"]) == difference["samples"]


def test_report_says_what_ablation_would_train_and_then_trains_it_once(
    compressed_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {row["role"]: row["reason"] for row in report(compressed_folder, capsys)["ablations"]}
    assert before == {
        "with the reference cell": "it has the reference cells already",
        "without pruning": "not trained",
        "without quantization": "not trained",
        "without a teacher": "it has no teacher",
    }
    assert "This was not run." in page_of(compressed_folder)
    found = report(compressed_folder, capsys, "--ablate")
    trained = {row["role"]: row["measurements"] for row in found["ablations"] if row["measurements"]}
    assert list(trained) == ["without pruning", "without quantization"]
    with open_store(url_of(compressed_folder)) as store:
        records = {one.role: one for one in store.finalists(1)}
    assert not records["without pruning"].candidate.is_pruned()
    assert records["without pruning"].candidate.is_quantized()
    assert not records["without quantization"].candidate.is_quantized()
    report(compressed_folder, capsys, "--ablate")
    with open_store(url_of(compressed_folder)) as store:
        assert len(store.finalists(1)) == 4


def test_report_shows_the_scan_of_the_study(compressed_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = compressed_folder / "scan.html"
    arguments = [
        "--name",
        "tiny-compressed",
        "--storage",
        url_of(compressed_folder),
        "--epochs",
        "1",
        "--out",
        str(out),
    ]
    capsys.readouterr()
    assert cli.run(["sensitivity", str(compressed_folder / "tiny.yaml"), *arguments, "--json"]) == 0
    scan = json.loads(capsys.readouterr().out)
    assert {(one["axis"], one["stage"]) for one in scan["levels"]} == {
        (axis, stage) for axis in ("ratio", "bits") for stage in range(3)
    }
    assert scan["suggestion"]["genotype"] == "residual"
    assert "sensitivity" in out.read_text()
    report(compressed_folder, capsys)
    assert "Accuracy by stage" in page_of(compressed_folder)


def test_sensitivity_suggests_an_entry_that_the_study_can_queue(compressed_folder: Path) -> None:
    text = yaml.safe_load((compressed_folder / "tiny.yaml").read_text())
    entry = {"genotype": "darts_v2", "width": 8, "prune_*": 0.5, "bits_0": "w8a8"}
    text["search"]["enqueue"] = [entry]
    (compressed_folder / "queued.yaml").write_text(yaml.safe_dump(text))
    base, candidate = scanned_network(join(load_spec(str(compressed_folder / "queued.yaml"), {})))
    assert base == {"genotype": "darts_v2", "width": 8}
    assert not candidate.is_compressed()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "the study must be one of: tiny-compressed, but got 'nothing'"),
        (["tiny-compressed", "--trial", "7"], "a measured trial of tiny-compressed, but got no such trial"),
        (["tiny-compressed", "--out", "/proc/none/page.html"], "--out /proc/none/page.html must be a file"),
    ],
)
def test_report_names_what_it_cannot_do(
    compressed_folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert cli.run(["report", *arguments, "--storage", url_of(compressed_folder)]) == 2
    assert message in capsys.readouterr().err


def test_report_without_the_files_says_why_nothing_is_compared(
    compressed_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = sorted((compressed_folder / "runs" / "tiny-compressed" / "artefacts").glob("*.onnx"))
    for file in files:
        file.rename(file.with_suffix(".gone"))
    try:
        found = report(compressed_folder, capsys)
    finally:
        for file in files:
            file.with_suffix(".gone").rename(file)
    assert "The two files could not be run" in found["difference"]["none"]
