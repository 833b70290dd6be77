"""export, verify and predict from the command line, on networks really trained; the latencies are recorded ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from automl import cli
from automl.candidate import Candidate
from automl.commands.joining import Joined, join, load_spec, study_folder
from automl.data.dataset import Dataset
from automl.evaluation import EvaluationContext, evaluate, finish, prepare_controls
from automl.outcome import Measured
from automl.storage import Store, open_store
from automl.study_spec import open_dataset
from automl.targets.recorded import write_recording

STUDY = """
name: tiny
data: {source: digits, train_limit: 200, validation_limit: 100}
target: {name: "recorded:device.json", channel_multiple: 8}
space: {widths: [16], cells: [2]}
training: {epochs: 2, batch_size: 32}
distillation: {alphas: [1.0], temperatures: [1.0]}
teacher: {source: none}
budget: {trials: 2}
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("study")
    (folder / "tiny.yaml").write_text(STUDY)
    url = f"sqlite:///{folder}/runs/automl.db"
    record_latencies(folder, {})
    joined = join(load_spec(str(folder / "tiny.yaml"), {}))
    dataset = open_dataset(joined.spec.data)
    candidates = [plain(joined), plain(joined, prune_1=0.5, bits_0="w8a8", bits_1="w8a8", bits_2="w8a8")]
    shapes = [one.shape_key(dataset.input_shape, 10) for one in (*candidates, *(one.twin() for one in candidates))]
    record_latencies(folder, dict(zip(shapes, [1.0, 0.6, 1.0, 1.0], strict=True)))
    joined = join(load_spec(str(folder / "tiny.yaml"), {}))
    with open_store(url) as store:
        record(store, joined, dataset, candidates, study_folder(url, "tiny"))
    return url


def plain(joined: Joined, **choices: Any) -> Candidate:
    first = {one.name: one.choices[0] for one in joined.space.dimensions}
    learning = {"normal_1_op_a": "conv_3x3", "reduction_0_op_a": "conv_3x3", "reduction_1_op_b": "sep_conv_3x3"}
    return joined.space.decode(joined.space.point({**first, **learning, **choices}))


def record_latencies(folder: Path, latencies: dict[str, float]) -> None:
    write_recording(
        folder / "device.json",
        fingerprint="a recorded device",
        channel_multiple=8,
        controls={"fp32": 2.0, "int8": 1.5},
        latency_ms=latencies,
    )


def record(store: Store, joined: Joined, dataset: Dataset, candidates: list[Candidate], runs: Path) -> None:
    """Record both candidates as measured trials, and the second one as a finalist too."""
    spec, target = joined.spec, joined.target
    study = store.create_study(
        "tiny", spec.to_json(), spec.digest(), 0, {"torch": "2"}, target.fingerprint, spec.objectives
    )
    controls = prepare_controls(target, dataset, runs, 1, {})
    for control in controls.values():
        store.set_control_reference(study.id, target.fingerprint, control.kind, control.reference_ms, control.sha256)
    context = EvaluationContext(
        dataset=dataset, target=target, controls=controls, limits={}, objectives=spec.objectives, runs=runs, seed=0,
        teacher=None, lane_folder=runs / "lanes", threads=1, batch=1, largest_code=63, finalist_epochs=1,
        finalist_seconds=None,
    )  # fmt: skip
    for number, candidate in enumerate(candidates):
        outcome = evaluate(candidate, context, None)
        assert isinstance(outcome, Measured), outcome
        key = candidate.shape_key(dataset.input_shape, 10)
        store.add_trial(study.id, number, {"width": 0}, candidate, candidate.candidate_hash(), key, {}, False)
        store.finish_trial(study.id, number, outcome)
    store.add_finalist(study.id, "finalist", 1, candidates[1], finish(candidates[1], context, "finalist"))


def export(url: str, out: Path, *arguments: str) -> Path:
    assert cli.run(["export", "tiny", "--out", str(out), "--storage", url, *arguments]) == 0
    return out


def manifest(bundle: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((bundle / "manifest.json").read_text())
    return value


def test_export_of_a_trial_is_the_very_file_in_the_record(url: str, tmp_path: Path) -> None:
    bundle = export(url, tmp_path / "bundle", "--trial", "1")
    with open_store(url) as store:
        trial = store.trial(1, 1)
    assert trial is not None
    assert isinstance(trial.outcome, Measured)
    recorded = study_folder(url, "tiny") / trial.outcome.artefact.path
    assert (bundle / "model.onnx").read_bytes() == recorded.read_bytes()
    assert manifest(bundle)["origin"]["role"] == "trial"


def test_export_of_the_best_takes_the_retrained_file(url: str, tmp_path: Path) -> None:
    value = manifest(export(url, tmp_path / "bundle", "--best", "latency"))
    assert (value["origin"]["role"], value["origin"]["trial"], value["data"]["split"]) == ("finalist", 1, "test")


def test_export_within_a_latency_that_nothing_keeps_exits_2(url: str, tmp_path: Path) -> None:
    assert cli.run(["export", "tiny", "--out", str(tmp_path / "b"), "--storage", url, "--max-latency-ms", "0.1"]) == 2


@pytest.mark.parametrize("choice", [["--trial", "0"], ["--trial", "1"], ["--best", "latency"]])
def test_verify_passes_on_every_bundle(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], choice: list[str]
) -> None:
    bundle = export(url, tmp_path / "bundle", *choice)
    capsys.readouterr()
    code = cli.run(["verify", str(bundle), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (code, found["passed"]) == (0, True), found


def test_verify_exits_1_on_a_changed_figure(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = export(url, tmp_path / "bundle", "--trial", "0")
    value = manifest(bundle)
    next(one for one in value["measurements"] if one["name"] == "accuracy")["value"] = 1.0
    (bundle / "manifest.json").write_text(json.dumps(value))
    assert cli.run(["verify", str(bundle)]) == 1
    assert "NOT verified" in capsys.readouterr().out


def test_predict_agrees_with_the_labels_as_often_as_measured(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = export(url, tmp_path / "bundle", "--trial", "0")
    value = manifest(bundle)
    validation = open_dataset(load_spec(str(Path(url[10:]).parents[1] / "tiny.yaml"), {}).data).validation
    np.save(tmp_path / "images.npy", validation.pixels)
    capsys.readouterr()
    assert cli.run(["predict", str(bundle), str(tmp_path / "images.npy"), "--json"]) == 0
    answers = np.array([int(answer["class"]) for answer in json.loads(capsys.readouterr().out)])
    recorded = next(one for one in value["measurements"] if one["name"] == "accuracy")["value"]
    assert np.mean(answers == validation.labels) == pytest.approx(recorded)
