from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from automl.data.dataset import Dataset
from automl.export.manifest import read_manifest
from automl.export.verify import Verification, latency_holds, reload_dataset, score, verify_bundle
from automl.outcome import Ratio
from tests.export.conftest import FakeTarget, with_images


def failed(verification: Verification) -> list[str]:
    return [check.name for check in verification.checks if check.holds is False]


def edit(bundle: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = bundle / "manifest.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def set_figure(name: str, figure: float) -> Callable[[dict[str, Any]], None]:
    def change(value: dict[str, Any]) -> None:
        next(one for one in value["measurements"] if one["name"] == name)["value"] = figure

    return change


def test_verify_bundle_passes_what_was_exported(bundle: Path, digits: Dataset) -> None:
    verification = verify_bundle(bundle, digits, FakeTarget())
    assert verification.passed
    assert {"accuracy", "latency ratio", "data", "model.onnx"} <= {check.name for check in verification.checks}


@pytest.mark.parametrize("name", ["model.onnx", "control.onnx"])
def test_verify_bundle_fails_on_a_changed_file_without_running_it(bundle: Path, digits: Dataset, name: str) -> None:
    content = bytearray((bundle / name).read_bytes())
    content[-20] ^= 1
    (bundle / name).write_bytes(content)
    target = FakeTarget()
    assert failed(verify_bundle(bundle, digits, target)) == [name]
    assert target.asked == []


def test_verify_bundle_fails_on_a_missing_file(bundle: Path, digits: Dataset) -> None:
    (bundle / "control.onnx").unlink()
    assert failed(verify_bundle(bundle, digits, FakeTarget())) == ["control.onnx"]


@pytest.mark.parametrize(
    ("name", "figure"), [("accuracy", 0.999), ("balanced_accuracy", 0.999), ("size_bytes", 10.0), ("latency_ms", 0.9)]
)
def test_verify_bundle_fails_on_a_changed_figure(bundle: Path, digits: Dataset, name: str, figure: float) -> None:
    edit(bundle, set_figure(name, figure))
    assert failed(verify_bundle(bundle, digits, FakeTarget())) == [name]


def test_verify_bundle_fails_on_a_changed_ratio(bundle: Path, digits: Dataset) -> None:
    edit(bundle, lambda value: value["control"].update(ratio={"value": 0.4, "low": 0.396, "high": 0.404}))
    edit(bundle, set_figure("latency_ms", 0.8))  # consistent, and still wrong
    target = FakeTarget()
    assert failed(verify_bundle(bundle, digits, target)) == ["latency ratio"]
    assert len(target.asked) == 2


def test_verify_bundle_repeats_a_disturbed_timing_once(bundle: Path, digits: Dataset) -> None:
    target = FakeTarget((Ratio(0.7, 0.69, 0.71), Ratio(0.5, 0.49, 0.51)))
    assert verify_bundle(bundle, digits, target).passed


def test_verify_bundle_fails_on_changed_data(bundle: Path, digits: Dataset) -> None:
    changed = replace(digits, digest="f" * 64)
    assert failed(verify_bundle(bundle, changed, FakeTarget())) == ["data"]


def test_verify_bundle_fails_on_changed_labels(bundle: Path, digits: Dataset) -> None:
    changed = with_images(digits, np.roll(digits.validation.labels, 1))
    assert failed(verify_bundle(bundle, changed, FakeTarget())) == ["accuracy", "balanced_accuracy"]


def test_verify_bundle_fails_on_another_split(bundle: Path, digits: Dataset) -> None:
    edit(bundle, lambda value: value["data"]["settings"].update(seed=1))
    changed = reload_dataset(read_manifest(bundle), None)
    assert "split" in failed(verify_bundle(bundle, changed, FakeTarget()))
    assert changed.digest == digits.digest


def test_verify_bundle_fails_on_images_of_another_shape(bundle: Path, digits: Dataset) -> None:
    larger = replace(digits.validation, pixels=np.zeros((len(digits.validation), 9, 9), np.uint8))
    assert "accuracy" in failed(verify_bundle(bundle, replace(digits, validation=larger), FakeTarget()))


def test_verify_bundle_on_another_device_compares_accuracy_only(bundle: Path, digits: Dataset) -> None:
    target = FakeTarget(fingerprint="another device")
    verification = verify_bundle(bundle, digits, target)
    latency = next(check for check in verification.checks if check.name == "latency ratio")
    assert (verification.passed, latency.holds, target.asked) == (True, None, [])
    assert "latency cannot be compared" in latency.got


def test_verify_bundle_on_another_device_still_fails_on_accuracy(bundle: Path, digits: Dataset) -> None:
    edit(bundle, set_figure("accuracy", 0.999))
    assert failed(verify_bundle(bundle, digits, FakeTarget(fingerprint="another device"))) == ["accuracy"]


def test_verify_bundle_allows_one_image_on_another_device_only(bundle: Path, digits: Dataset) -> None:
    recorded = read_manifest(bundle).measurement("accuracy")
    assert recorded is not None
    edit(bundle, set_figure("accuracy", recorded.value + 1 / len(digits.validation)))
    assert failed(verify_bundle(bundle, digits, FakeTarget())) == ["accuracy"]
    assert verify_bundle(bundle, digits, FakeTarget(fingerprint="another device")).passed


def test_reload_dataset_gives_the_same_data(bundle: Path, digits: Dataset) -> None:
    again = reload_dataset(read_manifest(bundle), None)
    assert (again.digest, again.split_digest) == (digits.digest, digits.split_digest)


@pytest.mark.parametrize(
    ("found", "holds"),
    [
        (Ratio(0.52, 0.52, 0.52), True),
        (Ratio(0.53, 0.53, 0.53), False),
        (Ratio(0.53, 0.504, 0.55), True),
        (Ratio(0.9, 0.5, 1.3), False),  # overlaps, but says nothing
        (Ratio(0.25, 0.24, 0.26), False),
    ],
)
def test_latency_holds_within_tolerance_or_overlap(found: Ratio, holds: bool) -> None:
    assert latency_holds(Ratio(0.5, 0.495, 0.505), found) is holds


def test_score_weighs_classes_alike_when_balanced() -> None:
    logits = np.array([[1, 0], [1, 0], [1, 0], [1, 0]], np.float32)
    assert score(logits, np.array([0, 0, 0, 1])) == {"accuracy": 0.75, "balanced_accuracy": 0.5}
