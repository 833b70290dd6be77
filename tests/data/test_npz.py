from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from automl.data.npz import read_npz
from automl.errors import InputError
from tests.data.tiny_images import arrays, with_test, write_npz

Arrays = dict[str, np.ndarray]


def test_read_npz_keeps_pixels_and_counts_labels_up(tmp_path: Path) -> None:
    values = arrays()
    images = read_npz(write_npz(tmp_path, {**values, "y_train": values["y_train"] * 10 + 5}))
    assert np.array_equal(images.pool.pixels, values["x_train"])
    assert images.classes == ("5", "15", "25", "35")
    assert images.pool.labels.tolist() == values["y_train"].tolist()


def test_read_npz_takes_names_as_labels(tmp_path: Path) -> None:
    values = with_test()
    names = np.array(["dog", "cat", "ant", "bee"])
    named = {**values, "y_train": names[values["y_train"]], "y_test": names[values["y_test"]]}
    images = read_npz(write_npz(tmp_path, named))
    assert images.test is not None
    assert images.classes == ("ant", "bee", "cat", "dog")
    assert [images.classes[label] for label in images.test.labels[:4]] == names.tolist()


def test_read_npz_takes_class_names(tmp_path: Path) -> None:
    images = read_npz(write_npz(tmp_path, {**arrays(), "classes": np.array(["a", "b", "c", "d"])}))
    assert images.classes == ("a", "b", "c", "d")


@pytest.mark.parametrize(("shape", "kept"), [((6, 5), (6, 5)), ((6, 5, 1), (6, 5)), ((6, 5, 3), (6, 5, 3))])
def test_read_npz_takes_grey_and_colour(tmp_path: Path, shape: tuple[int, ...], kept: tuple[int, ...]) -> None:
    images = read_npz(write_npz(tmp_path, arrays(shape=shape)))
    assert images.pool.pixels.shape[1:] == kept


def test_read_npz_takes_labels_in_a_column_and_wider_integers(tmp_path: Path) -> None:
    values = arrays()
    wide = {"x_train": values["x_train"].astype(np.int32), "y_train": values["y_train"][:, None]}
    images = read_npz(write_npz(tmp_path, wide))
    assert images.pool.pixels.dtype == np.uint8
    assert np.array_equal(images.pool.pixels, values["x_train"])


def nan_pixels(values: Arrays) -> Arrays:
    pixels = values["x_train"].astype(np.float32)
    pixels[0, 0, 0] = np.nan
    return {**values, "x_train": pixels}


def change(**arrays_: Callable[[Arrays], np.ndarray]) -> Callable[[Arrays], Arrays]:
    return lambda values: {**values, **{key: make(values) for key, make in arrays_.items()}}


def without(key: str) -> Callable[[Arrays], Arrays]:
    return lambda values: {name: array for name, array in values.items() if name != key}


FAULTS: list[tuple[Callable[[Arrays], Arrays], str]] = [
    (without("y_train"), "an archive with x_train, y_train .* but got no y_train among x_train, x_test, y_test"),
    (without("x_test"), "but got no x_test among"),
    (change(y_train=lambda v: v["y_train"][:-3]), "y_train must be one label for each of the 40 .*but got 37 labels"),
    (
        change(y_train=lambda v: v["y_train"] * 0, y_test=lambda v: v["y_test"] * 0),
        "two classes, but got one class only: 0",
    ),
    (nan_pixels, r"x_train must be integers from 0 to 255, but got float32 with 1 pixels that are NaN.* Store them"),
    (change(x_train=lambda v: v["x_train"] / 255), "integers from 0 to 255, but got float64. Store them as integers: "),
    (change(x_train=lambda v: v["x_train"].astype(np.int64) - 9), "integers from 0 to 255, but got values from -"),
    (change(x_train=lambda v: v["x_train"][:, 0]), r"\(n, height, width\) .* but got the shape \(40, 6\)"),
    (change(x_train=lambda v: np.zeros((40, 3, 6, 6), np.uint8)), "Move the channels last: x.transpose"),
    (change(x_test=lambda v: v["x_test"][:, :5]), r"x_test must be images of the shape \(6, 6\) of x_train"),
    (change(y_test=lambda v: v["y_test"] + 1), "y_test must be labels that y_train has too, but got 3 others"),
    (change(y_test=lambda v: v["y_test"].astype(str)), "y_test must be labels like those of y_train, but got <U"),
    (change(y_train=lambda v: v["y_train"] / 2), "y_train must be integers or names, but got float64"),
    (change(y_train=lambda v: np.eye(4)[v["y_train"]].astype(int)), r"one label an image, .* got the shape \(40, 4\)"),
    (change(classes=lambda v: np.array(["a", "b"])), r"one for each name in `classes` \(2\), but got 0, 1, 2, 3"),
    (change(y_train=lambda v: np.where(np.arange(40) == 0, 7, v["y_train"])), r"at least 2 images of each .* 7 \(1\)"),
    (
        change(x_train=lambda v: v["x_train"][:0], y_train=lambda v: v["y_train"][:0]),
        "at least one image, but got none",
    ),
    (change(x_train=lambda v: v["x_train"][:, :2], x_test=lambda v: v["x_test"][:, :2]), "4 x 4 pixels, but got 2 x 6"),
]


@pytest.mark.parametrize(("spoil", "message"), FAULTS)
def test_read_npz_refuses(tmp_path: Path, spoil: Callable[[Arrays], Arrays], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_npz(write_npz(tmp_path, spoil(with_test())))


def test_read_npz_names_every_fault_at_once(tmp_path: Path) -> None:
    values = with_test()
    spoilt = {**nan_pixels(values), "y_train": values["y_train"][:-1], "x_test": values["x_test"] / 255}
    with pytest.raises(InputError) as caught:
        read_npz(write_npz(tmp_path, spoilt))
    assert [fault.where.rsplit(": ")[-1] for fault in caught.value.faults] == ["x_train", "y_train", "x_test"]


def test_read_npz_refuses_images_of_unequal_size_without_unpickling(tmp_path: Path) -> None:
    pixels = np.empty(2, dtype=object)
    pixels[0], pixels[1] = np.zeros((4, 4)), np.zeros((5, 5))
    with pytest.raises(InputError, match=r"x_train must be one plain array .* unequal size"):
        read_npz(write_npz(tmp_path, {"x_train": pixels, "y_train": np.array([0, 1])}))


def test_read_npz_refuses_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent.npz must be an .npz file, but got no such file"):
        read_npz(tmp_path / "absent.npz")


@pytest.mark.parametrize("kept", [0, 10, 300])
def test_read_npz_refuses_a_truncated_file(tmp_path: Path, kept: int) -> None:
    path = write_npz(tmp_path, arrays())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"must be a readable .npz archive"):
        read_npz(path)


def test_read_npz_refuses_a_single_array(tmp_path: Path) -> None:
    np.save(tmp_path / "single.npy", np.zeros(3))
    with pytest.raises(InputError, match=r"an .npz archive with x_train and y_train, but got a single array"):
        read_npz(tmp_path / "single.npy")
