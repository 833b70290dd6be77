"""Write a bundle: copy the very file that was timed, and say in plain files what it is."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automl.candidate import Candidate
from automl.data.dataset import Dataset
from automl.errors import input_error
from automl.export import predict
from automl.export.card import model_card
from automl.export.drawing import draw_cells
from automl.export.manifest import (
    CONTROL_NAME,
    MANIFEST_NAME,
    MODEL_NAME,
    PACKED_NAME,
    TEXT_PREPROCESSING,
    TOKENIZER_NAME,
    ControlRecord,
    DataRecord,
    FileRecord,
    InputRecord,
    Manifest,
    Origin,
    TargetRecord,
    write_manifest,
)
from automl.models.packing import SUFFIX
from automl.outcome import Measured, Timing
from automl.targets import Control

CARD_NAME, DRAWING_NAME, SCRIPT_NAME = "README.md", "cell.svg", "predict.py"


@dataclass(frozen=True)
class BundleSource:
    """What a bundle is made of.

    `model` is the artefact's file, plain or packed, that the candidate's runtime serves, and `control` the one that its
    latency was held against; `data_settings` is the study's data section; `versions` are those of the packages that
    made the study.
    """

    origin: Origin
    candidate: Candidate
    outcome: Measured
    shape_key: str
    model: Path
    control: Control
    dataset: Dataset
    data_settings: Mapping[str, Any]
    target: TargetRecord
    batch: int
    versions: Mapping[str, str]


def write_bundle(folder: Path, source: BundleSource) -> Manifest:
    """Write the bundle into `folder`, which is made, and return its manifest.

    Raises:
        InputError: where the folder holds something else, or a file is gone or is not the one that was timed.
    """
    manifest = make_manifest(source)
    _require_free(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (MODEL_NAME, PACKED_NAME, TOKENIZER_NAME):  # of an earlier bundle
        (folder / name).unlink(missing_ok=True)
    shutil.copyfile(source.model, folder / manifest.model_name)
    shutil.copyfile(source.control.path, folder / CONTROL_NAME)
    shutil.copyfile(Path(predict.__file__), folder / SCRIPT_NAME)
    if source.dataset.tokenizer is not None:
        (folder / TOKENIZER_NAME).write_bytes(source.dataset.tokenizer.encode())
    (folder / DRAWING_NAME).write_text(draw_cells(source.candidate), encoding="utf-8")
    (folder / CARD_NAME).write_text(model_card(manifest), encoding="utf-8")
    write_manifest(folder, manifest)  # last: a folder with a manifest is a whole bundle
    return manifest


def make_manifest(source: BundleSource) -> Manifest:
    """Return the manifest of a bundle, with every file checked against the hash in the record."""
    timing = final_timing(source.outcome)
    dataset, outcome = source.dataset, source.outcome
    model = _checked(source.model, outcome.artefact.sha256)
    control = _checked(source.control.path, source.control.sha256)
    is_finalist = any(measurement.name == "test_accuracy" for measurement in outcome.measurements)
    return Manifest(
        origin=source.origin,
        model=model,
        control=ControlRecord(
            timing.control, control, timing.control_reference_ms, timing.control_ratio, source.control.runtime
        ),
        input=_input_record(dataset, source.batch),
        classes=dataset.classes,
        data=DataRecord(
            dataset.name,
            source.data_settings,
            dataset.digest,
            dataset.split_digest,
            "test" if is_finalist else "validation",
        ),
        target=source.target,
        measurements=outcome.measurements,
        gain=outcome.gain,
        candidate=source.candidate,
        shape_key=source.shape_key,
        versions=source.versions,
        epochs_trained=len({epoch.epoch for epoch in outcome.curve}),
        notes=outcome.notes,
        runtime=source.candidate.runtime,
        packed=source.model.name.endswith(SUFFIX),
    )


def _input_record(dataset: Dataset, batch: int) -> InputRecord:
    if dataset.tokenizer is None:
        return InputRecord(dataset.input_shape, dataset.pixel_max, batch)
    content = dataset.tokenizer.encode()
    tokenizer = FileRecord(hashlib.sha256(content).hexdigest(), len(content))
    return InputRecord(dataset.input_shape, dataset.pixel_max, batch, TEXT_PREPROCESSING, tokenizer)


def final_timing(outcome: Measured) -> Timing:
    """Return the last timing of the artefact itself: the one behind the number on the front."""
    own = [timing for timing in outcome.timings if timing.artefact == outcome.artefact.sha256]
    assert own, "a measured outcome holds a timing of its artefact"
    return own[-1]


def file_record(path: Path) -> FileRecord:
    """Return hash and size of a file."""
    content = path.read_bytes()
    return FileRecord(hashlib.sha256(content).hexdigest(), len(content))


def _checked(path: Path, sha256: str) -> FileRecord:
    if not path.is_file():
        raise input_error(str(path), "the file that the record names", "nothing", "Run the study on the same machine.")
    record = file_record(path)
    if record.sha256 != sha256:
        raise input_error(str(path), f"the file with SHA-256 {sha256}", record.sha256, "It was changed after timing.")
    return record


def _require_free(folder: Path) -> None:
    if folder.is_file():
        raise input_error(str(folder), "a folder", "a file")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MANIFEST_NAME).is_file():
        raise input_error(str(folder), "an empty folder or an earlier bundle", "other files", "Choose another --out.")
