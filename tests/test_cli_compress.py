"""compress from the command line: a recipe that is really trained, and what it says of recipes that are none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from automl import cli
from automl.commands.joining import load_spec
from automl.commands.recipe import make_recipe, parse_choices
from automl.errors import InputError
from tests.compressed_study import compress, set_options, study_file, url_of


def test_compress_writes_the_bundle_of_the_retrained_recipe(compressed_folder: Path) -> None:
    manifest = json.loads((compressed_folder / "bundle" / "manifest.json").read_text())
    candidate = manifest["candidate"]
    assert candidate["pruning"]["kept_widths"] == [4, 8, 16]
    assert candidate["quantization"]["weight_bits"] == [8, 8, 8]
    assert manifest["origin"]["role"] == "finalist"


def test_compress_again_tells_before_and_after_without_training(
    compressed_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compress(compressed_folder, *set_options(), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for row in found["figures"]}
    assert found["verified"] is True
    assert found["twin_trained"] is True
    assert rows["latency_ms"]["change"] == "×0.500 (0.500 to 0.500), head to head"
    assert rows["parameters"]["twin"] != rows["parameters"]["model"]
    assert {"test_accuracy", "size_bytes", "training_seconds"} <= set(rows)


def test_compress_records_a_study_of_one_trial(compressed_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["status", "--json", "--storage", url_of(compressed_folder)]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["study"], row["trials"], row["measured"], row["finalists"]) == ("tiny-compressed", 1, 1, 1)


def test_compress_of_another_recipe_under_one_name_exits_2(
    compressed_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compress(compressed_folder, "--set", "prune_*=0.5", "--quiet") == 2
    assert "search.enqueue" in capsys.readouterr().err


def test_compress_that_does_not_pay_says_so_with_both_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study_file(tmp_path, compressed_ms=1.5)
    assert compress(tmp_path, *set_options(), "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["gain"]["verdict"] == "no gain on this target"
    assert (found["twin_trained"], found["verified"]) == (True, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "must be one recipe: a space of one point, or choices"),
        (["--set", "prune_0=1.0"], "--set prune_0 must be a ratio of at least 0 and below 1: a ratio of 1 would leave"),
        (["--set", "prune_9=0.5"], "--set prune_9 must be one of genotype, concat, cells, width, prune_0"),
        (["--set", "bits_0=w3a8"], "--set bits_0 must be one of w32a32, w16a32"),
        (["--set", "criterion=l3"], "pruning.criteria.0 must be 'l1'"),
        (["--set", "genotype=nope"], "must be one of darts_v1, darts_v2, residual, but got 'nope'"),
        (["--set", "prune_0"], "must be KEY=VALUE"),
        (["--until-accuracy", "90"], "--until-accuracy must be a share above 0 and below 1"),
        (["--until-accuracy", "0.9", "--steps", "all"], "--steps must be one of iterative, adaptive, but got 'all'"),
    ],
)
def test_compress_says_what_is_no_recipe(
    compressed_folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert compress(compressed_folder, "--name", "other", *arguments) == 2
    assert message in capsys.readouterr().err


def test_make_recipe_names_every_fault_at_once(compressed_folder: Path) -> None:
    document = load_spec(str(compressed_folder / "tiny.yaml"), {}).to_json()
    with pytest.raises(InputError) as caught:
        make_recipe(document, parse_choices(["bits_0=w3a8", "prunes=0.5"]))
    assert [fault.where for fault in caught.value.faults] == ["--set bits_0", "--set prunes"]


def test_make_recipe_takes_ratios_and_methods_that_the_study_does_not_list(compressed_folder: Path) -> None:
    document = load_spec(str(compressed_folder / "tiny.yaml"), {}).to_json()
    recipe = make_recipe(document, parse_choices(["prune_2=0.6", "criterion=taylor", "schedule=gradual"]))
    candidate = recipe.joined.space.decode(recipe.point)
    assert candidate.pruning.kept_widths == (8, 16, 12)
    assert (candidate.pruning.criterion, candidate.pruning.schedule) == ("taylor", "gradual")
    assert not candidate.is_quantized()


def test_compress_until_an_accuracy_prunes_as_far_as_it_bears(
    compressed_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from automl.commands import accuracy_floor

    told: list[str] = []
    scores = iter([0.95, 0.93, 0.91, 0.5])  # unpruned, asked again, two rounds that hold or not
    monkeypatch.setattr(accuracy_floor, "file_score", lambda *_: lambda *_: next(scores))
    document = load_spec(str(compressed_folder / "tiny.yaml"), {}).to_json()
    found = accuracy_floor.widths_above(document, {"bits_*": "w8a8"}, 0.9, "iterative", told.append)
    assert found["bits_*"] == "w8a8"
    ratios = [float(found[f"prune_{stage}"]) for stage in range(3)]
    assert 0 < max(ratios) < 0.75
    assert [line.split(" with")[0] for line in told] == ["95.00%", "93.00%", "91.00%", "50.00%"]


def test_compress_until_an_accuracy_that_is_never_reached_exits_2(
    compressed_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compress(compressed_folder, "--until-accuracy", "0.999", "--name", "never", "--quiet") == 2
    assert "which the unpruned file reaches on validation" in capsys.readouterr().err
