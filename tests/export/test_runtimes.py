"""Bundles of a second runtime and of packed files: written, read, verified, and run by their own script."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from automl.data.dataset import Dataset
from automl.export.bundle import BundleSource, file_record, write_bundle
from automl.export.manifest import read_manifest
from automl.export.predict import predict
from automl.export.verify import verify_bundle
from automl.models.packing import SUFFIX, pack
from automl.outcome import Artefact
from automl.targets import runtime_obstacles
from tests.export.conftest import FakeTarget
from tests.export.test_bundle import run_alone

needs_openvino = pytest.mark.skipif(
    runtime_obstacles()["openvino"] is not None, reason=f"openvino: {runtime_obstacles()['openvino']}"
)
RUNTIMES = ["onnxruntime", pytest.param("openvino", marks=needs_openvino)]
NEEDLESS = ("automl", "torch", "onnx", "PIL", "sklearn", "scipy", "pydantic")


def served_by(source: BundleSource, runtime: str, folder: Path | None = None) -> BundleSource:
    """Return the source in a runtime; with `folder` its model is a packed file there."""
    control = replace(source.control, kind=f"{runtime} fp32", runtime=runtime)
    source = replace(source, candidate=replace(source.candidate, runtime=runtime), control=control)
    if folder is None:
        return source
    path = folder / f"packed{SUFFIX}"
    path.write_bytes(pack(source.model.read_bytes()))
    record, old = file_record(path), source.outcome
    artefact = Artefact(record.sha256, path.name, record.size_bytes)
    figures = tuple(
        replace(one, value=float(record.size_bytes)) if one.name == "size_bytes" else one for one in old.measurements
    )
    timings = tuple(replace(one, artefact=record.sha256) for one in old.timings)
    return replace(source, model=path, outcome=replace(old, artefact=artefact, measurements=figures, timings=timings))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_predict_script_needs_its_runtime_and_numpy_only(
    source: BundleSource, tmp_path: Path, runtime: str, packed: bool
) -> None:
    bundle = tmp_path / "bundle"
    write_bundle(bundle, served_by(source, runtime, tmp_path if packed else None))
    np.save(tmp_path / "images.npy", source.dataset.test.pixels[:20])
    others = tuple(name for name in runtime_obstacles() if name != runtime)
    result = run_alone(bundle, str(tmp_path / "images.npy"), "--json", blocked=(*NEEDLESS, *others))
    assert result.returncode == 0, result.stderr
    classes = [int(answer["class"]) for answer in json.loads(result.stdout)]
    assert np.mean(np.array(classes) == source.dataset.test.labels[:20]) >= 0.7


@needs_openvino
def test_predict_script_names_the_runtime_that_is_missing(source: BundleSource, tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle", served_by(source, "openvino"))
    np.save(tmp_path / "images.npy", source.dataset.test.pixels[:2])
    result = run_alone(tmp_path / "bundle", str(tmp_path / "images.npy"), blocked=("openvino",))
    assert (result.returncode, result.stdout) == (2, "")
    assert "No module named 'openvino'" in result.stderr


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_verify_bundle_scores_and_times_the_file_in_its_own_runtime(
    source: BundleSource, digits: Dataset, tmp_path: Path, runtime: str, packed: bool
) -> None:
    write_bundle(tmp_path / "bundle", served_by(source, runtime, tmp_path if packed else None))
    target = FakeTarget()
    assert verify_bundle(tmp_path / "bundle", digits, target).passed
    assert [one.runtime for one in (*target.asked, *target.held_against)] == [runtime] * 2
    assert target.asked[0].path.name == ("model.onnx.xz" if packed else "model.onnx")


def test_verify_bundle_fails_on_a_changed_packed_file(source: BundleSource, digits: Dataset, tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle", served_by(source, "onnxruntime", tmp_path))
    path = tmp_path / "bundle" / "model.onnx.xz"
    path.write_bytes(path.read_bytes() + b" ")
    verification = verify_bundle(tmp_path / "bundle", digits, FakeTarget())
    assert [check.name for check in verification.checks if check.holds is False] == ["model.onnx.xz"]


def test_a_manifest_that_names_no_runtime_is_onnxruntimes(bundle: Path, source: BundleSource, digits: Dataset) -> None:
    path = bundle / "manifest.json"
    value = json.loads(path.read_text())
    del value["runtime"], value["packed"], value["control"]["runtime"], value["target"]["runtimes"]
    path.write_text(json.dumps(value))
    manifest = read_manifest(bundle)
    assert (manifest.runtime, manifest.control.runtime, manifest.packed) == ("onnxruntime", "onnxruntime", False)
    assert manifest.target.runtimes == ("onnxruntime",)
    np.save(bundle / "image.npy", source.dataset.test.pixels[0])
    assert predict(bundle, [bundle / "image.npy"])[0]["index"] == 0
    assert verify_bundle(bundle, digits, FakeTarget()).passed


def test_a_packed_bundle_holds_no_plain_file_of_an_earlier_one(
    bundle: Path, source: BundleSource, tmp_path: Path
) -> None:
    manifest = write_bundle(bundle, served_by(source, "onnxruntime", tmp_path))
    assert manifest.packed
    assert sorted(path.name for path in bundle.glob("model*")) == ["model.onnx.xz"]
    assert read_manifest(bundle) == manifest


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_model_card_names_what_serves_the_file(source: BundleSource, tmp_path: Path, runtime: str) -> None:
    write_bundle(tmp_path / "bundle", served_by(source, runtime))
    card = (tmp_path / "bundle" / "README.md").read_text()
    assert f"pip install {runtime} numpy pillow" in card
    assert f"run by {'OpenVINO' if runtime == 'openvino' else 'ONNX Runtime'}, which serves it" in card
