"""Seeded augmented views of a training set: the teacher and its students see the very same images.

Beyer et al., "Knowledge Distillation: A Good Teacher is Patient and Consistent" (2022): distillation works best
where teacher and student see the same crop. A fixed number of views lets the teacher's logits be computed once.
"""

from __future__ import annotations

import numpy as np

VIEWS = 3


def augmented_views(pixels: np.ndarray, augmentation: str, seed: int) -> np.ndarray:
    """Return `views x n x h x w[ x c]` pixels; the first view is the images themselves.

    Args:
        pixels: `n x h x w[ x c]`, unsigned 8-bit.
        augmentation: "shift" (by up to a tenth of the side, at least one pixel, edges filled with 0),
            "shift_flip" (and mirrored half of the time), or "none" (a single view).
        seed: of the shifts and flips.

    Raises:
        ValueError: for an unknown augmentation.
    """
    if augmentation == "none":
        return pixels[None]
    if augmentation not in ("shift", "shift_flip"):
        raise ValueError(f"augmentation must be none, shift or shift_flip, but got {augmentation}")
    rng = np.random.default_rng([seed, 0x5EED])
    shifted = [_shifted(pixels, rng, mirror=augmentation == "shift_flip") for _ in range(VIEWS - 1)]
    return np.stack([pixels, *shifted])


def _shifted(pixels: np.ndarray, rng: np.random.Generator, *, mirror: bool) -> np.ndarray:
    count, height, width = pixels.shape[:3]
    reach = max(1, round(0.1 * min(height, width)))
    padding = [(0, 0), (reach, reach), (reach, reach)] + [(0, 0)] * (pixels.ndim - 3)
    padded = np.pad(pixels, padding)
    rows: np.ndarray = rng.integers(0, 2 * reach + 1, count)[:, None] + np.arange(height)  # n x h
    columns: np.ndarray = rng.integers(0, 2 * reach + 1, count)[:, None] + np.arange(width)  # n x w
    if mirror:
        flips = rng.integers(0, 2, count) == 0
        columns = np.where(flips[:, None], columns[:, ::-1], columns)
    return np.asarray(padded[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]])
