from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from automl.errors import InputError
from automl.export.bundle import BundleSource, file_record, make_manifest, write_bundle
from automl.export.manifest import manifest_to_json, read_manifest
from automl.export.predict import predict, read_images
from automl.outcome import Epoch, Measurement

RUN_ALONE = """
import runpy, sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}} (blocked)", name=name)
sys.meta_path.insert(0, Blocker())
sys.argv = {argv!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_alone(bundle: Path, *arguments: str, blocked: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    text = RUN_ALONE.format(blocked=blocked, argv=[str(bundle / "predict.py"), *arguments])
    return subprocess.run([sys.executable, "-I", "-c", text], capture_output=True, text=True, check=False)


def test_write_bundle_writes_every_file(bundle: Path) -> None:
    names = {path.name for path in bundle.iterdir()}
    assert names == {"README.md", "cell.svg", "control.onnx", "manifest.json", "model.onnx", "predict.py"}


def test_write_bundle_copies_the_timed_file_byte_for_byte(bundle: Path, source: BundleSource) -> None:
    assert (bundle / "model.onnx").read_bytes() == source.model.read_bytes()
    assert (bundle / "control.onnx").read_bytes() == source.control.path.read_bytes()


def test_manifest_survives_the_file(bundle: Path, source: BundleSource) -> None:
    assert read_manifest(bundle) == make_manifest(source)


def test_manifest_holds_what_verification_needs(bundle: Path, source: BundleSource) -> None:
    value = json.loads((bundle / "manifest.json").read_text())
    assert value["model"] == {
        "sha256": source.outcome.artefact.sha256,
        "size_bytes": source.outcome.artefact.size_bytes,
    }
    assert (value["data"]["digest"], value["data"]["split"]) == (source.dataset.digest, "validation")
    assert value["control"]["ratio"]["value"] == 0.5  # of the artefact, not of the untrained file
    assert value["candidate_hash"] == source.candidate.candidate_hash()


def test_manifest_of_a_finalist_names_the_test_split(source: BundleSource) -> None:
    sha256 = source.outcome.artefact.sha256
    figure = Measurement("test_accuracy", 0.9, "measured", "p", 0.9, 0.9, 1, "d", sha256)
    manifest = make_manifest(replace(source, outcome=replace(source.outcome, measurements=(figure,))))
    assert manifest.data.split == "test"


def test_write_bundle_refuses_a_changed_artefact(source: BundleSource, tmp_path: Path) -> None:
    changed = tmp_path / "model.onnx"
    changed.write_bytes(source.model.read_bytes() + b" ")
    with pytest.raises(InputError, match="changed after timing"):
        write_bundle(tmp_path / "bundle", replace(source, model=changed))
    assert not (tmp_path / "bundle").exists()


def test_write_bundle_says_when_the_artefact_is_gone(source: BundleSource, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.onnx must be the file that the record names, but got nothing"):
        write_bundle(tmp_path / "bundle", replace(source, model=tmp_path / "gone.onnx"))


def test_write_bundle_leaves_other_folders_alone(source: BundleSource, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("dear")
    with pytest.raises(InputError, match="an empty folder or an earlier bundle"):
        write_bundle(tmp_path, source)


def test_write_bundle_replaces_an_earlier_bundle(bundle: Path, source: BundleSource) -> None:
    write_bundle(bundle, replace(source, shape_key="other"))
    assert read_manifest(bundle).shape_key == "other"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "a JSON document"),
        ("[]", "format must be 1, but got None"),
        ('{"format": 9}', "format must be 1, but got 9"),
        ('{"format": 1}', "a complete manifest"),
    ],
)
def test_read_manifest_refuses_what_it_cannot_read(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_manifest(tmp_path)


def test_read_manifest_names_a_folder_that_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the folder of a bundle, with a manifest\.json"):
        read_manifest(tmp_path)


def test_manifest_to_json_is_plain(source: BundleSource) -> None:
    value = manifest_to_json(make_manifest(source))
    assert json.loads(json.dumps(value))["input"]["shape"] == [8, 8]


def test_model_card_states_the_figures(bundle: Path, source: BundleSource) -> None:
    card = (bundle / "README.md").read_text()
    accuracy = source.outcome.value("accuracy")
    assert f"| accuracy | {100 * accuracy:.2f} % | exact | measured |" in card
    assert "0.5000 (0.4950 to 0.5050) times that of `control.onnx` (fp32, 2 ms)" in card
    assert "16 of 32 channels w8a8" in card


def test_predict_script_needs_onnxruntime_and_numpy_only(bundle: Path, source: BundleSource, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", source.dataset.test.pixels[:20])
    blocked = ("automl", "torch", "onnx", "PIL", "sklearn", "scipy", "pydantic")
    result = run_alone(bundle, str(tmp_path / "images.npy"), "--json", blocked=blocked)
    assert result.returncode == 0, result.stderr
    classes = [int(answer["class"]) for answer in json.loads(result.stdout)]
    assert np.mean(np.array(classes) == source.dataset.test.labels[:20]) >= 0.7


def test_predict_script_says_which_file_does_not_fit(bundle: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "wrong.npy", np.zeros((3, 3), np.uint8))
    result = run_alone(bundle, str(tmp_path / "wrong.npy"), blocked=("automl", "torch"))
    assert (result.returncode, result.stdout) == (2, "")
    assert "must hold images of shape (8, 8), but got (3, 3)" in result.stderr


@pytest.mark.parametrize("pixels", [np.full((8, 8), 0.5), np.full((8, 8), 17, np.uint8), np.full((8, 8), -1)])
def test_read_images_refuses_pixels_out_of_range(tmp_path: Path, pixels: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", pixels)
    with pytest.raises(ValueError, match="whole numbers from 0 to 16"):
        read_images(tmp_path / "a.npy", (8, 8), 16)


def test_predict_reads_an_image_file_like_the_raw_pixels(bundle: Path, source: BundleSource, tmp_path: Path) -> None:
    from PIL import Image

    pixels = source.dataset.test.pixels[3]
    np.save(tmp_path / "a.npy", pixels)
    Image.fromarray(np.rint(pixels * (255 / 16)).astype(np.uint8)).save(tmp_path / "a.png")
    raw, picture = predict(bundle, [tmp_path / "a.npy", tmp_path / "a.png"])
    assert (raw["class"], raw["probability"]) == (picture["class"], picture["probability"])


@pytest.mark.parametrize("size", [(50, 32), (32, 50), (32, 32), (9, 17)])
def test_read_picture_agrees_with_the_data_set(tmp_path: Path, size: tuple[int, int]) -> None:
    from PIL import Image

    from automl.data.folder import read_image

    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    expected = read_image(tmp_path / "a.png", resize=32)
    assert np.array_equal(read_images(tmp_path / "a.png", (32, 32, 3), 255)[0], expected)


def test_file_record_is_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    record = file_record(tmp_path / "a")
    assert (record.sha256[:8], record.size_bytes) == ("ba7816bf", 3)


def test_model_card_counts_the_epochs_that_the_file_saw(source: BundleSource, tmp_path: Path) -> None:
    curve = tuple(Epoch("dense", epoch, 1.0, 1.0, 1e-3, 1.0) for epoch in range(23))
    longer = replace(source, outcome=replace(source.outcome, curve=curve))
    write_bundle(tmp_path / "longer", longer)
    assert "epochs 23," in (tmp_path / "longer" / "README.md").read_text()
