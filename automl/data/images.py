"""Labelled samples, images or token ids, as they were read, before any split, and what must hold of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from automl.errors import Fault, InputError

SMALLEST_SIDE = 4  # two reductions halve it twice
FEWEST_A_CLASS = 3  # one for each split
LISTED = 20  # names in a message; the rest is counted


@dataclass(frozen=True)
class Split:
    """Samples and their labels: `labels` is `n` (int64).

    `pixels` is `n x H x W` or `n x H x W x C` (uint8) of images, `n x length` (int64) of the token ids of texts.
    """

    pixels: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.labels)

    def take(self, indices: np.ndarray) -> Split:
        """Return the samples at `indices`."""
        return Split(self.pixels[indices], self.labels[indices])


@dataclass(frozen=True)
class Images:
    """All images, or texts, of a source. `test` is its own test set where it has one; labels count up into `classes`.

    `names` says how to call each sample of `pool` in messages, `noun` what it is. Of texts, `pixel_max` is the largest
    token id there may be, `tokenizer` the JSON document of what made the ids, and `digest` the SHA-256 of the texts
    themselves (the ids depend on the split as well); None where the arrays are what was read.
    """

    name: str
    pool: Split
    test: Split | None
    classes: tuple[str, ...]
    names: Sequence[str]
    pixel_max: int
    warnings: tuple[str, ...] = ()
    noun: str = "image"
    tokenizer: str | None = None
    digest: str | None = None


def check_images(images: Images, where: str) -> None:
    """Refuse images that nothing can be learned from.

    Raises:
        InputError: naming one class only, classes with too few images or none, and images that are too small.
    """
    faults: list[Fault] = []
    if len(images.classes) < 2:
        faults.append(Fault(where, "images of at least two classes", f"one class only: {', '.join(images.classes)}"))
    fewest = FEWEST_A_CLASS if images.test is None else FEWEST_A_CLASS - 1
    counts = np.bincount(images.pool.labels, minlength=len(images.classes))
    few = [f"{name} ({count})" for name, count in zip(images.classes, counts, strict=True) if count < fewest]
    if few:
        faults.append(Fault(where, f"at least {fewest} images of each class, so that it can be split", listed(few)))
    height, width = images.pool.pixels.shape[1:3]
    if min(height, width) < SMALLEST_SIDE:
        expected = f"images of at least {SMALLEST_SIDE} x {SMALLEST_SIDE} pixels"
        faults.append(Fault(where, expected, f"{height} x {width}"))
    if faults:
        raise InputError(faults)


def listed(names: Sequence[str]) -> str:
    """Return the names for a message: the first ones, and how many more there are."""
    text = ", ".join(names[:LISTED])
    return text if len(names) <= LISTED else f"{text} and {len(names) - LISTED} more"
