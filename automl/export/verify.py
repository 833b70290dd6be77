"""Verify a bundle: hash, score and time it again, and say whether both of its numbers hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from automl.data.dataset import Dataset, Split, load_dataset
from automl.errors import input_error
from automl.export.bundle import file_record
from automl.export.manifest import CONTROL_NAME, TOKENIZER_NAME, FileRecord, Manifest, read_manifest
from automl.outcome import Ratio, Timing
from automl.targets import Contestant, Control, Target

LATENCY_TOLERANCE = 0.05  # of the ratio to the control, between two sessions on one device
WIDEST_INTERVAL = 0.10  # half width; beyond it, overlapping intervals say nothing
LEAST_IMAGES = 1  # answers that may differ on another device, however few there are; on the same one none may
OTHER_DEVICE_SHARE = 0.002  # of the answers: kernels of another CPU round differently
SHOWN = 16  # digits of a hash
SESSIONS = 2  # a timing that does not hold is repeated once, since a neighbour may have disturbed it


@dataclass(frozen=True)
class Check:
    """One thing that was held against the manifest. `holds` is None where it cannot be compared here."""

    name: str
    holds: bool | None
    expected: str
    got: str
    tolerance: str


@dataclass(frozen=True)
class Verification:
    """All checks of a bundle."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Tell whether nothing that could be compared failed."""
        return all(check.holds is not False for check in self.checks)


def verify_bundle(folder: Path, dataset: Dataset, target: Target) -> Verification:
    """Return what became of each number of the bundle on this machine.

    A changed file is not run: only its hash is reported then.

    Raises:
        InputError: where the folder holds no readable bundle.
    """
    manifest = read_manifest(folder)
    files = _check_files(folder, manifest)
    if any(check.holds is False for check in files):
        return Verification(tuple(files))
    same_device = target.fingerprint == manifest.target.device
    checks = [*files, *_check_data(manifest, dataset), *_check_consistency(manifest)]
    checks += _check_scores(folder, manifest, dataset, target, same_device)
    checks.append(_check_latency(folder, manifest, target, same_device))
    return Verification(tuple(checks))


def reload_dataset(manifest: Manifest, path: Path | None) -> Dataset:
    """Return the bundle's data, loaded again as its manifest says; `path` stands in for the recorded one.

    Raises:
        InputError: where the data cannot be loaded.
    """
    settings: Mapping[str, Any] = manifest.data.settings
    recorded = None if settings["path"] is None else Path(settings["path"])
    return load_dataset(
        settings["source"],
        recorded if path is None else path,
        seed=settings["seed"],
        validation_share=settings["validation"],
        test_share=settings["test"],
        resize=settings["resize"],
        train_limit=settings["train_limit"],
        validation_limit=settings["validation_limit"],
        augmentation=settings["augmentation"],
        length=settings.get("length"),
        vocabulary=settings.get("vocabulary"),
    )


def score(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
    """Return accuracy and balanced accuracy (the mean of the classes' recalls) of `n x classes` logits."""
    right = logits.argmax(axis=1) == labels
    recalls = [float(right[labels == label].mean()) for label in np.unique(labels)]
    return {"accuracy": float(right.mean()), "balanced_accuracy": float(np.mean(recalls))}


def latency_holds(recorded: Ratio, found: Ratio) -> bool:
    """Tell whether two ratios to one control agree: within the tolerance, or with overlapping narrow intervals."""
    if abs(found.value / recorded.value - 1) <= LATENCY_TOLERANCE:
        return True
    overlap = found.low <= recorded.high and recorded.low <= found.high
    return overlap and all(ratio.high - ratio.low <= 2 * WIDEST_INTERVAL * ratio.value for ratio in (recorded, found))


def _check_files(folder: Path, manifest: Manifest) -> list[Check]:
    files: list[tuple[str, FileRecord]] = [
        (manifest.model_name, manifest.model),
        (CONTROL_NAME, manifest.control.file),
    ]
    if manifest.input.tokenizer is not None:
        files.append((TOKENIZER_NAME, manifest.input.tokenizer))
    return [_check_file(folder / name, record) for name, record in files]


def _check_file(path: Path, record: FileRecord) -> Check:
    expected = f"SHA-256 {record.sha256[:SHOWN]}"
    if not path.is_file():
        return Check(path.name, False, expected, "no such file", "exact")
    found = file_record(path)
    return Check(path.name, found == record, expected, f"SHA-256 {found.sha256[:SHOWN]}", "exact")


def _check_data(manifest: Manifest, dataset: Dataset) -> list[Check]:
    digests = (
        ("data", manifest.data.digest, dataset.digest),
        ("split", manifest.data.split_digest, dataset.split_digest),
    )
    checks = [
        Check(name, expected == got, f"SHA-256 {expected[:SHOWN]}", f"SHA-256 {got[:SHOWN]}", "exact")
        for name, expected, got in digests
    ]
    classes = [", ".join(names) for names in (manifest.classes, dataset.classes)]
    return [*checks, Check("classes", classes[0] == classes[1], classes[0], classes[1], "exact")]


def _check_consistency(manifest: Manifest) -> list[Check]:
    """Hold the manifest's figures against each other: a figure that was edited contradicts its parts."""
    size, latency = manifest.measurement("size_bytes"), manifest.measurement("latency_ms")
    checks = []
    if size is not None:
        got = manifest.model.size_bytes
        checks.append(Check("size_bytes", size.value == got, f"{size.value:.0f}", str(got), "exact"))
    if latency is not None:
        product = manifest.control.ratio.value * manifest.control.reference_ms
        holds = abs(latency.value - product) <= 1e-6 * product
        checks.append(Check("latency_ms", holds, f"{latency.value:.6g}", f"{product:.6g} = ratio x reference", "1e-6"))
    return checks


def _check_scores(folder: Path, manifest: Manifest, dataset: Dataset, target: Target, same_device: bool) -> list[Check]:
    split: Split = getattr(dataset, manifest.data.split)
    if split.pixels.shape[1:] != manifest.input.shape:
        got = str(split.pixels.shape[1:])
        return [Check("accuracy", False, f"images of {manifest.input.shape}", got, "exact")]
    found = score(target.load(folder / manifest.model_name, manifest.runtime)(split.pixels), split.labels)
    count = len(split.labels)
    images = 0 if same_device else max(LEAST_IMAGES, round(OTHER_DEVICE_SHARE * count))
    checks = []
    for name in ("accuracy", "balanced_accuracy"):
        recorded = manifest.measurement(manifest.score_name(name))
        if recorded is not None:
            # One image weighs more in a small class.
            tolerance = _weight(split, name) * images
            holds = abs(found[name] - recorded.value) <= tolerance + 1e-9
            text = f"{tolerance:.5f} ({images} of {count} images)" if images else "exact"
            checks.append(Check(recorded.name, holds, f"{recorded.value:.5f}", f"{found[name]:.5f}", text))
    if not checks:
        raise input_error(f"{folder}: measurements", "an accuracy", "none")
    return checks


def _weight(split: Split, name: str) -> float:
    if name == "accuracy":
        return 1 / len(split.labels)
    counts = np.unique(split.labels, return_counts=True)[1]
    return float(1 / (len(counts) * counts.min()))


def _check_latency(folder: Path, manifest: Manifest, target: Target, same_device: bool) -> Check:
    control = manifest.control
    expected = _show(control.ratio)
    tolerance = f"{LATENCY_TOLERANCE:.0%} or overlap"
    if not same_device:
        got = f"another device ({target.fingerprint}): latency cannot be compared"
        return Check("latency ratio", None, expected, got, tolerance)
    for _ in range(SESSIONS):
        found = _time_again(folder, manifest, target).control_ratio
        if latency_holds(control.ratio, found):
            break
    return Check("latency ratio", latency_holds(control.ratio, found), expected, _show(found), tolerance)


def _time_again(folder: Path, manifest: Manifest, target: Target) -> Timing:
    control = manifest.control
    model = folder / manifest.model_name
    subject = Contestant(model, manifest.model.sha256, manifest.shape_key, manifest.runtime)
    against = Control(control.kind, folder / CONTROL_NAME, control.file.sha256, control.reference_ms, control.runtime)
    return target.compare(subject, against, None, "verify")


def _show(ratio: Ratio) -> str:
    return f"{ratio.value:.4f} ({ratio.low:.4f} to {ratio.high:.4f})"
