"""What must not change while a study is gone on with: its device, its data; and the versions that it began with."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from platform import python_version

from automl.data.dataset import Dataset
from automl.errors import input_error
from automl.storage import StudyRecord
from automl.targets import Target

PACKAGES = ("automl", "torch", "onnxruntime", "onnx", "numpy", "optuna", "ray", "sqlalchemy", "scikit-learn")
DATA = "data"  # beside the packages' versions: the digest of what the study was begun with


def package_versions() -> dict[str, str]:
    """Return the versions that may decide results."""
    found = {"python": python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def check_same_device(study: StudyRecord, target: Target) -> None:
    """Refuse to go on with a study on another device than it began on.

    Raises:
        InputError: naming both.
    """
    if study.device != target.fingerprint:
        remedy = "Latencies of different devices cannot share a front: choose another name for this one."
        raise input_error(f"study {study.name}: the device", study.device, target.fingerprint, remedy)


def check_same_data(study: StudyRecord, dataset: Dataset) -> None:
    """Refuse to go on with other images than the study began with, though they lie at the same path."""
    began = study.versions.get(DATA, dataset.digest)
    if began != dataset.digest:
        remedy = "Bring the old data back, or choose another name for a study of the new."
        wanted = f"what it began with (SHA-256 {began[:16]})"
        raise input_error(f"study {study.name}: the data", wanted, dataset.digest[:16], remedy)
