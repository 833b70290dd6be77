"""A data set that is ready for a study: split, seeded and checked.

The search trains on `train` and looks at `validation` only; `test` is scored once, for the finalists, which train on
`full_train`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from automl import plugins
from automl.data.folder import read_folder
from automl.data.images import Images, Split, listed
from automl.data.npz import array_faults, images_of, read_npz
from automl.data.splits import image_keys, stratified_split, stratified_subset
from automl.data.text import DEFAULT_LENGTH, DEFAULT_VOCABULARY, read_text
from automl.errors import Fault, InputError

__all__ = ["Dataset", "Split", "join_splits", "load_dataset"]

SOURCES = ("digits", "npz", "folder", "text")
DIGITS_PIXEL_MAX = 16


@dataclass(frozen=True)
class Dataset:
    """Images, or the token ids of texts, in disjoint splits.

    `train` and `validation` may be subsets for the search; `full_train` is all that is not test. `digest` is the
    SHA-256 of everything that was read, `split_digest` that of which sample went where. `pixel_max` is the largest
    pixel or token id that there may be. `warnings` are for a person. `tokenizer` is the JSON document of what made
    texts into ids, None of images. `normalisation` is mean and deviation by channel where they are not to be taken from
    the pixels of `train`.
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
    tokenizer: str | None = None
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Return the shape of one raw sample: (height, width), (height, width, channels), or (length,) of a text."""
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
    length: int | None = None,
    vocabulary: int | None = None,
) -> Dataset:
    """Return the data set, stratified and split by `seed`.

    Args:
        source: "digits" (scikit-learn's, embedded), "npz", "folder", "text", or the name of a plugin.
        path: of the archive, folder or CSV file; None for digits.
        seed: decides the splits and, apart from them, the subsets.
        validation_share: of all images that are not given as a test set.
        test_share: likewise; not used where the source has its own test set.
        resize: the side in pixels that images of a folder are brought to.
        train_limit: how many images the search trains on; None for all.
        validation_limit: how many images the search scores on; None for all.
        augmentation: "shift", "shift_flip" or "none": what the data bears; texts bear none.
        length: tokens of each text; None for 64.
        vocabulary: how many different tokens there are at most; None for 2048.

    Raises:
        InputError: naming every fault found, with what to do.
    """
    if source == "text":
        images = _read_text(path, (validation_share, test_share), seed, augmentation, length, vocabulary)
    else:
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
        digest=_digest_of(images) if images.digest is None else images.digest,
        split_digest=_digest(train, validation, full, *held_out, *_tokens(images)),
        pixel_max=images.pixel_max,
        augmentation=augmentation,
        warnings=(*images.warnings, *warnings),
        tokenizer=images.tokenizer,
    )


def join_splits(dataset: Dataset) -> Dataset:
    """Return the data set with everything but test to train on, for finalists; its validation is part of train."""
    return replace(dataset, train=dataset.full_train)


def _read(source: str, path: Path | None, resize: int | None) -> Images:
    if source not in SOURCES:
        return _read_foreign(source, path, resize)
    if source == "digits":
        return _read_digits()
    if path is None:
        raise InputError([_no_path("an .npz file" if source == "npz" else "a folder of class folders")])
    return read_npz(path) if source == "npz" else read_folder(path, resize)


def _read_foreign(source: str, path: Path | None, resize: int | None) -> Images:
    """Return the images of a plugin, which gives arrays as an .npz archive holds them."""
    where = f"data.source {source}"
    arrays = plugins.ask(plugins.load(plugins.DATASETS, source, SOURCES), where, path, resize)
    faults = array_faults(arrays, where)
    if faults:
        raise InputError(faults)
    return images_of(arrays, source, where)


def _no_path(kind: str) -> Fault:
    remedy = "Give `--data PATH` or set the environment variable AUTOML_DATA (or write data.path in the study file)."
    return Fault("data.path", f"the path of {kind}", "nothing", remedy)


def _read_text(
    path: Path | None, shares: tuple[float, float], seed: int, augmentation: str, length: int | None,
    vocabulary: int | None,
) -> Images:  # fmt: skip
    faults = []
    if augmentation != "none":
        faults.append(Fault("data.augmentation", "none where data.source is text", augmentation))
    if path is None:
        faults.append(_no_path("a folder with train.csv, or of a CSV file"))
    if faults or path is None:
        raise InputError(faults)
    return read_text(
        path,
        length=DEFAULT_LENGTH if length is None else length,
        vocabulary=DEFAULT_VOCABULARY if vocabulary is None else vocabulary,
        shares=shares,
        seed=seed,
    )


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
        (train[in_test[train]], f"training {images.noun}s also stand in test"),
        (validation[in_test[validation]], f"validation {images.noun}s also stand in test"),
        (train[in_validation[train] & ~in_test[train]], f"training {images.noun}s also stand in validation"),
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
            expected = f"able to give {split} a different {images.noun} of each class"
            got = f"only copies of {images.noun}s in other splits for {listed(empty)}"
            faults.append(Fault(images.name, expected, got))
        if limit is not None and limit < len(images.classes):
            expected = f"at least {len(images.classes)}, one {images.noun} of each class"
            faults.append(Fault(f"data.{split}_limit", expected, str(limit)))
    if faults:
        raise InputError(faults)


def _digest_of(images: Images) -> str:
    splits = [images.pool] if images.test is None else [images.pool, images.test]
    return _digest(*(array for split in splits for array in (split.pixels, split.labels)), "\n".join(images.classes))


def _tokens(images: Images) -> list[str]:
    """Return the tokenizer of texts: what was made of them depends on the split that it was trained on."""
    return [] if images.tokenizer is None else [images.tokenizer]


def _digest(*values: np.ndarray | str) -> str:
    digest = hashlib.sha256()
    for value in values:
        array = np.ascontiguousarray(value)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
