from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from automl.data.splits import image_keys, stratified_split, stratified_subset

LABELS = st.lists(st.integers(3, 20), min_size=2, max_size=5).map(
    lambda counts: np.repeat(np.arange(len(counts)), counts)
)


@given(LABELS, st.integers(0, 100), st.sampled_from([(0.2, 0.2), (0.1,), (0.01, 0.9)]))
def test_stratified_split_is_a_partition_with_every_class_in_each_part(
    labels: np.ndarray, seed: int, shares: tuple[float, ...]
) -> None:
    parts = stratified_split(labels, shares, np.random.default_rng(seed))
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(labels)))
    assert all(np.array_equal(np.unique(labels[part]), np.unique(labels)) for part in parts)


@given(LABELS, st.integers(0, 100), st.data())
def test_stratified_subset_has_the_size_and_near_shares(labels: np.ndarray, seed: int, data: st.DataObject) -> None:
    classes = len(np.unique(labels))
    limit = data.draw(st.integers(classes, len(labels)))
    kept = stratified_subset(labels, limit, np.random.default_rng(seed))
    quota = np.bincount(labels) * (limit / len(labels))
    assert len(kept) == len(np.unique(kept)) == limit
    assert np.all(np.bincount(labels[kept], minlength=classes) >= np.maximum(np.floor(quota) - classes, 1))


def test_stratified_subset_without_a_limit_is_everything() -> None:
    assert np.array_equal(stratified_subset(np.array([0, 1, 1]), None, np.random.default_rng(0)), np.arange(3))


def test_image_keys_are_equal_for_equal_images_only() -> None:
    pixels = np.zeros((3, 4, 4), dtype=np.uint8)
    pixels[2, 3, 3] = 1
    keys = image_keys(pixels)
    assert keys[0] == keys[1] != keys[2]
