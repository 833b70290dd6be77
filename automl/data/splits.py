"""Seeded, stratified, disjoint splits of labelled images, with no image in two of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np


def stratified_split(labels: np.ndarray, shares: Sequence[float], rng: np.random.Generator) -> list[np.ndarray]:
    """Return rising indices of one part for each share, then those of the rest, each with every class.

    Args:
        labels: `n` class indices; each class has more images than there are shares.
        shares: of each class, below 1 together.
        rng: decides who goes where.
    """
    parts: list[list[np.ndarray]] = [[] for _ in range(len(shares) + 1)]
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        start = 0
        for position, share in enumerate(shares):
            left = len(shares) - position  # each later part, the rest among them, needs one
            count = min(max(round(share * len(members)), 1), len(members) - start - left)
            parts[position].append(members[start : start + count])
            start += count
        parts[-1].append(members[start:])
    return [np.sort(np.concatenate(part)) for part in parts]


def stratified_subset(labels: np.ndarray, limit: int | None, rng: np.random.Generator) -> np.ndarray:
    """Return rising indices of `limit` images with the classes' shares kept, at least one of each; all where None.

    With one seed, a larger limit gives a superset of a smaller one as long as each class grows with it.
    """
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    classes, counts = np.unique(labels, return_counts=True)
    assert limit >= len(classes), "a limit keeps at least one image of each class"
    orders = [rng.permutation(np.flatnonzero(labels == label)) for label in classes]
    kept = [order[:count] for order, count in zip(orders, _apportioned(counts, limit), strict=True)]
    return np.sort(np.concatenate(kept))


def _apportioned(counts: np.ndarray, limit: int) -> np.ndarray:
    """Return how many of each class to keep: at least one, largest remainders first, `limit` together."""
    quota = counts * (limit / counts.sum())
    given: np.ndarray = np.maximum(np.floor(quota).astype(np.int64), 1)
    while given.sum() < limit:
        given[np.argmax(np.where(given < counts, quota - given, -np.inf))] += 1
    while given.sum() > limit:
        given[np.argmin(np.where(given > 1, quota - given, np.inf))] -= 1
    return given


def image_keys(pixels: np.ndarray) -> np.ndarray:
    """Return `n` keys that are equal where two images are equal pixel by pixel."""
    flat = np.ascontiguousarray(pixels).reshape(len(pixels), -1)
    keys = [hashlib.blake2b(row.tobytes(), digest_size=16).hexdigest() for row in flat]
    return np.array(keys, dtype="U32")
