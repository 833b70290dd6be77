import numpy as np
import pytest

from automl.training.views import VIEWS, augmented_views


def images(shape: tuple[int, ...] = (8, 8)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, *shape), dtype=np.uint8)


def test_augmented_views_start_with_the_images_themselves():
    views = augmented_views(images(), "shift", 0)
    assert views.shape == (VIEWS, 5, 8, 8)
    assert np.array_equal(views[0], images())


def test_augmented_views_are_seeded():
    first, second, other = (augmented_views(images(), "shift", seed) for seed in (0, 0, 1))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3)])
def test_shifted_view_is_a_shift_by_at_most_one_pixel(shape):
    original, view = images(shape)[0], augmented_views(images(shape), "shift", 0)[1][0]
    padded = np.pad(original, [(1, 1), (1, 1)] + [(0, 0)] * (len(shape) - 2))
    shifts = [padded[i : i + 8, j : j + 8] for i in range(3) for j in range(3)]
    assert any(np.array_equal(view, shift) for shift in shifts)


def test_flips_happen_only_where_the_data_bear_them():
    mirrored = np.zeros((64, 8, 8), np.uint8)
    mirrored[:, :, :2] = 1
    assert augmented_views(mirrored, "shift_flip", 0)[1][:, :, 4:].any()
    assert not augmented_views(mirrored, "shift", 0)[1][:, :, 4:].any()


def test_no_augmentation_is_one_view():
    assert augmented_views(images(), "none", 0).shape == (1, 5, 8, 8)


def test_unknown_augmentation_is_refused():
    with pytest.raises(ValueError, match="none, shift or shift_flip, but got rotate"):
        augmented_views(images(), "rotate", 0)
