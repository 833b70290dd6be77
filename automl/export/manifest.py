"""The manifest of a bundle: what was measured, on what, and enough to measure it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from automl.candidate import Candidate, candidate_from_json, candidate_to_json
from automl.errors import input_error
from automl.outcome import Gain, Measurement, Ratio
from automl.targets.target import ONNX_RUNTIME

MANIFEST_NAME = "manifest.json"
MODEL_NAME = "model.onnx"
PACKED_NAME = "model.onnx.xz"
CONTROL_NAME = "control.onnx"
TOKENIZER_NAME = "tokenizer.json"
FORMAT = 1
PREPROCESSING = (
    "None needed: the graph takes raw pixels (uint8, 0 to pixel_max, one image as input.shape, row by row) and does "
    "its own scaling."
)


TEXT_PREPROCESSING = (
    f"Texts become token ids (int64, one text as input.shape, padded with 0) by {TOKENIZER_NAME}, a document of the "
    "package tokenizers; predict.py does that."
)


@dataclass(frozen=True)
class FileRecord:
    """A file of the bundle by its content."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class ControlRecord:
    """The file that the latency was held against in its own `runtime`, and the outcome of that comparison."""

    kind: str
    file: FileRecord
    reference_ms: float
    ratio: Ratio
    runtime: str = ONNX_RUNTIME


@dataclass(frozen=True)
class DataRecord:
    """How the data is loaded again, and the digests that tell whether it is still the same.

    `settings` holds the study's data section (source, path, seed, shares and limits); `split` names the split that
    the accuracy is of, "validation" or "test".
    """

    name: str
    settings: Mapping[str, Any]
    digest: str
    split_digest: str
    split: str


@dataclass(frozen=True)
class InputRecord:
    """What the graph takes: the shape of one image, its greatest pixel value, and the static batch.

    Of texts it is the number of tokens, the greatest token id, and the file of the tokenizer.
    """

    shape: tuple[int, ...]
    pixel_max: int
    batch: int
    preprocessing: str = PREPROCESSING
    tokenizer: FileRecord | None = None


@dataclass(frozen=True)
class TargetRecord:
    """The device: how it is opened, its fingerprint, and the runtimes of the study, whose versions are part of it."""

    name: str
    channel_multiple: int
    device: str
    runtimes: tuple[str, ...] = (ONNX_RUNTIME,)


@dataclass(frozen=True)
class Origin:
    """Where the network comes from. `role` is "trial" or "finalist"; `trial` is the number in the study."""

    study: str
    spec_digest: str
    seed: int
    role: str
    trial: int | None


@dataclass(frozen=True)
class Manifest:
    """All that a bundle says about itself.

    `runtime` is what serves the model, and `packed` tells that its file is entropy-coded and restored at load: older
    manifests say neither. `epochs_trained` counts the epochs that this file's weights saw: a finalist's differ from its
    candidate's, and `notes` say what else was different in its training.
    """

    origin: Origin
    model: FileRecord
    control: ControlRecord
    input: InputRecord
    classes: tuple[str, ...]
    data: DataRecord
    target: TargetRecord
    measurements: tuple[Measurement, ...]
    gain: Gain
    candidate: Candidate
    shape_key: str
    versions: Mapping[str, str]
    epochs_trained: int
    notes: tuple[str, ...]
    runtime: str = ONNX_RUNTIME
    packed: bool = False

    @property
    def model_name(self) -> str:
        """Return the name of the model's file in the bundle."""
        return PACKED_NAME if self.packed else MODEL_NAME

    def measurement(self, name: str) -> Measurement | None:
        """Return the named measurement, None where there is none."""
        return next((measurement for measurement in self.measurements if measurement.name == name), None)

    def score_name(self, name: str) -> str:
        """Return what the accuracy called `name` is called here: a finalist's is scored on test."""
        return f"test_{name}" if self.data.split == "test" else name


def manifest_to_json(manifest: Manifest) -> dict[str, Any]:
    """Return the manifest as plain JSON values."""
    value = asdict(manifest)
    value["candidate"] = candidate_to_json(manifest.candidate)
    value["candidate_hash"] = manifest.candidate.candidate_hash()
    return {"format": FORMAT, **value}


def write_manifest(folder: Path, manifest: Manifest) -> Path:
    """Write the manifest into the bundle `folder` and return its path."""
    path = folder / MANIFEST_NAME
    path.write_text(json.dumps(manifest_to_json(manifest), indent=2, sort_keys=False) + "\n", encoding="utf-8")
    return path


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of the bundle in `folder`.

    Raises:
        InputError: where there is no manifest, it is of another format, or something in it is missing.
    """
    path = folder / MANIFEST_NAME
    if not path.is_file():
        raise input_error(str(folder), f"the folder of a bundle, with a {MANIFEST_NAME}", "none", "Run automl export.")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise input_error(str(path), "a JSON document", str(error)) from error
    found = value.get("format") if isinstance(value, dict) else None
    if found != FORMAT:
        raise input_error(f"{path}: format", str(FORMAT), found, "Install the version of automl that wrote the bundle.")
    try:
        return _from_json(value)
    except (KeyError, TypeError, ValueError) as error:
        raise input_error(str(path), "a complete manifest", f"{type(error).__name__}: {error}") from error


def _from_json(value: Mapping[str, Any]) -> Manifest:
    control = value["control"]
    image = value["input"]
    return Manifest(
        Origin(**value["origin"]),
        FileRecord(**value["model"]),
        ControlRecord(
            control["kind"],
            FileRecord(**control["file"]),
            float(control["reference_ms"]),
            Ratio(**control["ratio"]),
            control.get("runtime", ONNX_RUNTIME),
        ),
        InputRecord(
            tuple(image["shape"]),
            int(image["pixel_max"]),
            int(image["batch"]),
            image["preprocessing"],
            None if image.get("tokenizer") is None else FileRecord(**image["tokenizer"]),
        ),
        tuple(value["classes"]),
        DataRecord(**value["data"]),
        TargetRecord(**{**value["target"], "runtimes": tuple(value["target"].get("runtimes", (ONNX_RUNTIME,)))}),
        tuple(Measurement(**measurement) for measurement in value["measurements"]),
        _gain(value["gain"]),
        candidate_from_json(value["candidate"]),
        value["shape_key"],
        value["versions"],
        int(value["epochs_trained"]),
        tuple(value["notes"]),
        value.get("runtime", ONNX_RUNTIME),
        bool(value.get("packed", False)),
    )


def _gain(value: Mapping[str, Any]) -> Gain:
    ratio = value["twin_ratio"]
    return Gain(value["verdict"], None if ratio is None else Ratio(**ratio), value["size_ratio"])
