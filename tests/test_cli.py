from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from automl import cli
from automl.errors import InputError, LeaseError, StorageError, TargetError, input_error
from automl.outcome import Epoch, Measurement, RungResult
from automl.storage import open_store
from tests.fake_study import record_study

COMMANDS = (
    "init", "search", "status", "trial", "front", "export", "verify", "predict", "baseline", "dashboard", "clean",
    "doctor", "space", "compress", "sensitivity", "report", "summary", "cluster",
    "replay", "storage",
)  # fmt: skip


@pytest.fixture
def recorded(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/runs/automl.db"
    with open_store(url) as store:
        record_study(store, "first", count=30)
        record_study(store, "second", count=30, seed=1)
    return url


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert cli.run([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def lines_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if line]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_states_the_exit_codes(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([command, "--help"]) == 0
    assert "Exit codes: 0 done; 1" in capsys.readouterr().out


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert [command for command in COMMANDS if command not in shown] == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (input_error("a", "b", "c"), 2),
        (TargetError("no such device"), 2),
        (StorageError("cannot be written"), 2),
        (LeaseError("process 7 drives it"), 3),
    ],
)
def test_run_turns_errors_into_exit_codes(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli, "COMMANDS", (("boom", fail), ("other", fail)))
    assert cli.run(["boom"]) == code
    assert capsys.readouterr().err.strip() == str(error)


def test_run_prints_each_fault_on_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise InputError([*input_error("a" * 200, "b", "c").faults, *input_error("d", "e", "f").faults])

    monkeypatch.setattr(cli, "COMMANDS", (("boom", fail), ("other", fail)))
    assert cli.run(["boom"]) == 2
    assert lines_of(capsys.readouterr().err) == [f"{'a' * 200} must be b, but got c", "d must be e, but got f"]


def test_run_does_not_hide_our_own_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "COMMANDS", (("boom", fail), ("other", fail)))
    with pytest.raises(ZeroDivisionError):
        cli.run(["boom"])


def test_run_exits_130_when_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "COMMANDS", (("boom", stop), ("other", stop)))
    assert cli.run(["boom"]) == 130


def test_unknown_option_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["search", "digits", "--bogus"]) == 2
    assert "--bogus" in capsys.readouterr().err


def test_status_counts_the_trials_of_every_study(recorded: str, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = as_json(capsys, "status", "--storage", recorded)
    assert (first["study"], second["study"], first["trials"], first["open"]) == ("first", "second", 31, 1)
    words = ("measured", "infeasible", "reused", "failed", "stopped", "open")
    assert sum(first[word] for word in words) == 31


def test_status_is_a_table_for_a_person(recorded: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["status", "--storage", recorded]) == 0
    shown = capsys.readouterr().out
    assert "measured" in shown
    assert "second" in shown


def test_storage_is_taken_from_the_environment(
    recorded: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUTOML_STORAGE", recorded)
    assert len(as_json(capsys, "status")) == 2


def test_reading_commands_do_not_make_a_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["status"]) == 2
    assert "no such file. Run `automl search` here first" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_trial_shows_everything(recorded: str, capsys: pytest.CaptureFixture[str]) -> None:
    trial = as_json(capsys, "trial", "0", "--study", "first", "--storage", recorded)
    assert trial["candidate"]["genotype"]["normal"]["nodes"]
    assert trial["outcome"]["timings"][0]["samples_ms"]["candidate"]


def test_trial_shows_its_learning_curve_and_rungs(recorded: str, capsys: pytest.CaptureFixture[str]) -> None:
    with open_store(recorded) as store:
        study = store.find_study("first")
        assert study is not None
        number = next(trial.number for trial in store.trials(study.id) if trial.state == "open")
        accuracy = Measurement("accuracy", 0.75, "measured", "top-1 of the file", 0.7, 0.8, 100, "cpu", "a" * 64)
        curve = (Epoch("dense", 0, 1.25, 0.5, 1e-3, 2.0),)
        store.add_rung(study.id, number, RungResult(0, (accuracy,), (), curve, {}, None))
    assert cli.run(["trial", str(number), "--study", "first", "--storage", recorded]) == 0
    shown = capsys.readouterr().out
    assert "accuracy of the file" in shown and "75.0%" in shown
    assert "gradient norm" in shown and "1.25" in shown


def test_trial_shows_the_traceback_of_a_failure(recorded: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["trial", "7", "--study", "first", "--storage", recorded]) == 0
    shown = capsys.readouterr().out
    assert "loss is NaN at epoch 3" in shown
    assert "Traceback: <made up>" in shown


def test_trial_that_is_not_there_exits_2(recorded: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["trial", "99", "--storage", recorded]) == 2
    assert "must be below 31, the trials of second, but got 99" in capsys.readouterr().err


def test_front_is_that_of_the_latest_study(recorded: str, capsys: pytest.CaptureFixture[str]) -> None:
    front = as_json(capsys, "front", "--storage", recorded)
    assert front["study"] == "second"
    latencies = [point["readings"]["latency_ms"]["value"] for point in front["front"]]
    assert latencies == sorted(latencies)


def test_front_writes_a_page(recorded: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "out" / "front.html"
    assert cli.run(["front", "first", "--html", str(page), "--storage", recorded]) == 0
    assert "plotly" in page.read_text().lower()
    assert f"Wrote {page}" in capsys.readouterr().err


def test_front_compares_studies(recorded: str, capsys: pytest.CaptureFixture[str]) -> None:
    comparison = as_json(capsys, "front", "first", "second", "--storage", recorded)
    assert [study["study"] for study in comparison["studies"]] == ["first", "second"]
    assert all(study["hypervolume"] > 0 for study in comparison["studies"])


def test_front_of_an_unknown_study_names_the_known_ones(recorded: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["front", "third", "--storage", recorded]) == 2
    assert "first, second" in capsys.readouterr().err


def test_front_without_points_exits_1(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    with open_store(url) as store:
        store.create_study("empty", {}, "d", 0, {}, "cpu", ("accuracy", "latency_ms"))
    assert cli.run(["front", "--storage", url]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "told what to take: --best, --max-latency-ms or --trial"),
        (["--best", "speed"], "--best must be one of accuracy, latency, knee, but got 'speed'"),
        (["--best", "knee", "--trial", "3"], "--trial must be given alone"),
        (["--trial", "7"], "a measured trial of first, but got one that is failed"),
        (["--trial", "700"], "a measured trial of first, but got no such trial"),
        (["--max-latency-ms", "0.000001"], "the fastest on the front, but got 1e-06"),
    ],
)
def test_export_says_what_it_cannot_take(
    recorded: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    code = cli.run(["export", "first", "--out", str(tmp_path / "bundle"), "--storage", recorded, *arguments])
    assert code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("command", [["verify"], ["predict"]])
def test_bundle_commands_name_a_folder_that_is_none(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extra = ["image.png"] if command == ["predict"] else []
    assert cli.run([*command, str(tmp_path), *extra]) == 2
    assert "the folder of a bundle" in capsys.readouterr().err


def test_clean_removes_only_what_nothing_needs(
    recorded: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "runs" / "first"
    front = as_json(capsys, "front", "first", "--storage", recorded)["front"]
    needed = as_json(capsys, "trial", str(front[0]["trial"]), "--study", "first", "--storage", recorded)
    kept = [folder / needed["outcome"]["artefact"]["path"], folder / "controls" / "c.onnx"]
    for path in (*kept, folder / "artefacts" / "unneeded.onnx"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    said = as_json(capsys, "clean", "--dry-run", "--storage", recorded)
    assert len(said["removed"]) == 1
    assert (folder / "artefacts" / "unneeded.onnx").exists()
    assert cli.run(["clean", "--storage", recorded]) == 0
    assert sorted(path for path in folder.rglob("*.onnx")) == sorted(kept)


def test_doctor_states_the_facts(capsys: pytest.CaptureFixture[str]) -> None:
    facts = as_json(capsys, "doctor", "--no-probe")
    assert facts["TPU"] == "not supported"
    assert facts["cores"] >= 1
    assert {"GPU", "runtimes", "fingerprint"} <= set(facts)


def test_space_prints_the_exact_size_and_the_formats(capsys: pytest.CaptureFixture[str]) -> None:
    facts = as_json(capsys, "space", "digits")
    assert facts["size"] == int(np.prod([len(one["choices"]) for one in facts["dimensions"]], dtype=object))
    executable = {(one["weight_bits"], one["activation_bits"]) for one in facts["formats"] if one["executable"]}
    assert {(32, 32), (8, 8), (4, 32)} <= executable
    assert all(one["reason"] for one in facts["formats"])


@pytest.mark.parametrize("name", ["digits", "fashion_mnist", "folder"])
def test_space_prints_every_shipped_study(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["space", name]) == 0
    assert "Exactly" in capsys.readouterr().out


def study_file(folder: Path, text: str) -> str:
    path = folder / "study.yaml"
    path.write_text(text)
    return str(path)


MINIMAL = "name: mine\ndata: {source: digits}\nbudget: {trials: 2}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MINIMAL + "serach: {}\n", "Did you mean search?"),
        (MINIMAL + "space: {widths: [20]}\n", "space.widths must be multiples of 16"),
        (MINIMAL + "target: {name: tpu}\n", "target.name must be one of cpu, cuda, recorded:FILE, but got 'tpu'"),
        (MINIMAL + "target: {name: cuda}\n", "a target with a CUDA GPU"),
        (MINIMAL.replace("digits", "npz"), "Give `--data PATH` or set the environment variable AUTOML_DATA"),
        (MINIMAL.replace("digits}", "npz, path: gone.npz}"), "gone.npz"),
        ("name: [\n", "must be YAML"),
    ],
)
def test_search_names_bad_input_and_exits_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTOML_DATA", raising=False)
    assert cli.run(["search", study_file(tmp_path, text), "--dry-run"]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert (captured.out, [path.name for path in tmp_path.iterdir()]) == ("", ["study.yaml"])


def newer_database(folder: Path) -> str:
    url = f"sqlite:///{folder}/newer.db"
    open_store(url).close()
    with sqlite3.connect(folder / "newer.db") as connection:
        connection.execute("UPDATE automl_schema_version SET version = 999")
    return url


def unwritable_database(folder: Path) -> str:
    (folder / "file").write_text("")
    return f"sqlite:///{folder}/file/automl.db"


@pytest.mark.parametrize(
    ("database", "message"),
    [(newer_database, "999"), (unwritable_database, "cannot"), (lambda folder: "nonsense", "nonsense")],
)
def test_search_says_which_database_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], database: Callable[[Path], str], message: str
) -> None:
    assert cli.run(["search", study_file(tmp_path, MINIMAL), "--storage", database(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err


def test_progress_line_tells_what_reuse_saved() -> None:
    from automl.commands.progress import progress_line
    from automl.search.progress import Progress

    words = progress_line(Progress("search", trials=3, measured=1, reused=2, saved_seconds=75.0))
    assert words == "searching; 3 trials: 1 measured, 0 infeasible, 2 reused, 1:15 saved by reuse; front 0"


def test_progress_lines_appear_when_a_phase_begins_or_time_has_passed(capsys: pytest.CaptureFixture[str]) -> None:
    from automl.commands.progress import PlainLines
    from automl.search.progress import Progress

    now = SimpleNamespace(seconds=100.0)
    lines = PlainLines("mine", lambda: now.seconds)
    for seconds, progress in (
        (100.0, Progress("teacher")),
        (101.0, Progress("search", trials=1, measured=1)),
        (102.0, Progress("search", trials=2, measured=2)),  # too soon
        (120.0, Progress("search", trials=3, measured=2, infeasible=1, seconds_left=65.0)),
        (140.0, Progress("search", trials=3, measured=2, infeasible=1)),  # nothing new
    ):
        now.seconds = seconds
        lines(progress)
    said = lines_of(capsys.readouterr().err)
    assert said[0] == "mine: training the teacher"
    assert said[2] == "mine: searching; 3 trials: 2 measured, 1 infeasible; front 0; 1:05 left"
    assert len(said) == 3
