"""A data set that is ready for a study: split, seeded and checked.

The search trains on `train` and looks at `validation` only; `test` is scored once, for the finalists, which train on
`full_train`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from automl.data.folder import read_folder
from automl.data.images import Images, Split, listed
from automl.data.npz import read_npz
from automl.data.splits import image_keys, stratified_split, stratified_subset
from automl.errors import Fault, InputError, input_error

__all__ = ["Dataset", "Split", "join_splits", "load_dataset"]

SOURCES = ("digits", "npz", "folder")
DIGITS_PIXEL_MAX = 16


@dataclass(frozen=True)
class Dataset:
    """Images in disjoint splits.

    `train` and `validation` may be subsets for the search; `full_train` is all that is not test. `digest` is the
    SHA-256 of everything that was read, `split_digest` that of which image went where. `warnings` are for a person.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    full_train: Split
    classes: tuple[str, ...]
    digest: str
    split_digest: str
    pixel_max: int
    augmentation: str
    warnings: tuple[str, ...] = ()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Return the shape of one raw image: (height, width) or (height, width, channels)."""
        return tuple(int(length) for length in self.train.pixels.shape[1:])


def load_dataset(
    source: str,
    path: Path | None,
    *,
    seed: int,
    validation_share: float,
    test_share: float,
    resize: int | None = None,
    train_limit: int | None = None,
    validation_limit: int | None = None,
    augmentation: str = "none",
) -> Dataset:
    """Return the data set, stratified and split by `seed`.

    Args:
        source: "digits" (scikit-learn's, embedded), "npz" or "folder".
        path: of the archive or folder; None for digits.
        seed: decides the splits and, apart from them, the subsets.
        validation_share: of all images that are not given as a test set.
        test_share: likewise; not used where the source has its own test set.
        resize: the side in pixels that images of a folder are brought to.
        train_limit: how many images the search trains on; None for all.
        validation_limit: how many images the search scores on; None for all.
        augmentation: "shift", "shift_flip" or "none": what the data bears.

    Raises:
        InputError: naming every fault found, with what to do.
    """
    images = _read(source, path, resize)
    shares = (validation_share,) if images.test is not None else (validation_share, test_share)
    assert sum(shares) < 1, "the splits leave something to train on"
    rng = np.random.default_rng([seed, 0])
    validation, *held_out, train = stratified_split(images.pool.labels, shares, rng)
    test = images.test if images.test is not None else images.pool.take(held_out[0])
    train, validation, warnings = _without_duplicates(images, train, validation, test)
    _check_left(images, train, validation, train_limit, validation_limit)
    full = np.sort(np.concatenate([train, validation]))
    labels = images.pool.labels
    train = train[stratified_subset(labels[train], train_limit, np.random.default_rng([seed, 1]))]
    validation = validation[stratified_subset(labels[validation], validation_limit, np.random.default_rng([seed, 2]))]
    return Dataset(
        name=images.name,
        train=images.pool.take(train),
        validation=images.pool.take(validation),
        test=test,
        full_train=images.pool.take(full),
        classes=images.classes,
        digest=_digest(*_arrays(images), "\n".join(images.classes)),
        split_digest=_digest(train, validation, full, *held_out),
        pixel_max=images.pixel_max,
        augmentation=augmentation,
        warnings=(*images.warnings, *warnings),
    )


def join_splits(dataset: Dataset) -> Dataset:
    """Return the data set with everything but test to train on, for finalists; its validation is part of train."""
    return replace(dataset, train=dataset.full_train)


def _read(source: str, path: Path | None, resize: int | None) -> Images:
    if source not in SOURCES:
        raise input_error("data.source", f"one of {', '.join(SOURCES)}", repr(source))
    if source == "digits":
        return _read_digits()
    if path is None:
        kind = "an .npz file" if source == "npz" else "a folder of class folders"
        remedy = (
            "Give `--data PATH` or set the environment variable AUTOML_DATA (or write data.path in the study file)."
        )
        raise input_error("data.path", f"the path of {kind}", "nothing", remedy)
    return read_npz(path) if source == "npz" else read_folder(path, resize)


def _read_digits() -> Images:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pool = Split(digits.images.astype(np.uint8), digits.target.astype(np.int64))
    names = [f"digits[{index}]" for index in range(len(pool))]
    return Images("digits", pool, None, tuple("0123456789"), names, DIGITS_PIXEL_MAX)


def _without_duplicates(
    images: Images, train: np.ndarray, validation: np.ndarray, test: Split
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return train and validation without what test has, train without what validation has, and what was taken out."""
    keys = image_keys(images.pool.pixels)
    in_test = np.isin(keys, image_keys(test.pixels))
    in_validation = np.isin(keys, keys[validation])
    copies = (
        (train[in_test[train]], "training images also stand in test"),
        (validation[in_test[validation]], "validation images also stand in test"),
        (train[in_validation[train] & ~in_test[train]], "training images also stand in validation"),
    )
    warnings = [
        f"{len(indices)} {what} and were taken out: {listed([images.names[index] for index in indices])}"
        for indices, what in copies
        if len(indices)
    ]
    return train[~in_test[train] & ~in_validation[train]], validation[~in_test[validation]], warnings


def _check_left(
    images: Images, train: np.ndarray, validation: np.ndarray, train_limit: int | None, validation_limit: int | None
) -> None:
    faults: list[Fault] = []
    for split, indices, limit in (("train", train, train_limit), ("validation", validation, validation_limit)):
        counts = np.bincount(images.pool.labels[indices], minlength=len(images.classes))
        empty = [name for name, count in zip(images.classes, counts, strict=True) if count == 0]
        if empty:
            expected = f"able to give {split} a different image of each class"
            faults.append(Fault(images.name, expected, f"only copies of images in other splits for {listed(empty)}"))
        if limit is not None and limit < len(images.classes):
            expected = f"at least {len(images.classes)}, one image of each class"
            faults.append(Fault(f"data.{split}_limit", expected, str(limit)))
    if faults:
        raise InputError(faults)


def _arrays(images: Images) -> list[np.ndarray]:
    splits = [images.pool] if images.test is None else [images.pool, images.test]
    return [array for split in splits for array in (split.pixels, split.labels)]


def _digest(*values: np.ndarray | str) -> str:
    digest = hashlib.sha256()
    for value in values:
        array = np.ascontiguousarray(value)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
