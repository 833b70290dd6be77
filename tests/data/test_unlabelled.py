import numpy as np
import pytest
from PIL import Image

from automl.data.unlabelled import read_unlabelled
from automl.errors import InputError


def images(shape: tuple[int, ...] = (8, 8), count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)


@pytest.mark.parametrize("key", ["x_unlabelled", "x_train", "x"])
def test_read_unlabelled_takes_an_archive(tmp_path, key):
    np.savez(tmp_path / "a.npz", **{key: images()[..., None].astype(np.int64)})
    read = read_unlabelled(tmp_path / "a.npz", (8, 8))
    assert read.dtype == np.uint8
    assert np.array_equal(read, images())


def test_read_unlabelled_takes_a_folder_with_all_below_it(tmp_path):
    (tmp_path / "deep").mkdir()
    for index, pixels in enumerate(images((8, 8, 3))):
        Image.fromarray(pixels).save(tmp_path / ("deep" if index else ".") / f"{index}.png")
    assert read_unlabelled(tmp_path, (8, 8, 3)).shape == (3, 8, 8, 3)
    assert read_unlabelled(tmp_path, (8, 8)).shape == (3, 8, 8)
    assert read_unlabelled(tmp_path, (4, 4, 3), resize=4).shape == (3, 4, 4, 3)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": images((9, 8))}, r"images of the shape \(8, 8\) of the data, but got \(9, 8\)"),
        ({"x": images() / 255}, "integers from 0 to 255, but got float64"),
        ({"x": images() * np.int64(2)}, "integers from 0 to 255, but got 0 to 498"),
        ({"x": images(count=0)}, "at least one image, but got none"),
        ({"y": images()}, "one of the arrays x_unlabelled, x_train, x, or a folder of images, but got only y"),
    ],
)
def test_read_unlabelled_refuses_what_is_not_like_the_data(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=message):
        read_unlabelled(tmp_path / "a.npz", (8, 8))


def test_read_unlabelled_refuses_what_is_not_there(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_unlabelled(tmp_path / "a.npz", (8, 8))
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(InputError, match=r"distillation.unlabelled: .* a folder of images, but got"):
        read_unlabelled(tmp_path / "text.npz", (8, 8))
    with pytest.raises(InputError, match="a folder with images, but got none in it"):
        read_unlabelled(tmp_path, (8, 8))


def test_read_unlabelled_names_every_image_of_another_shape(tmp_path):
    for side in (7, 8, 9):
        Image.fromarray(images((side, 8))[0]).save(tmp_path / f"{side}.png")
    with pytest.raises(InputError) as caught:
        read_unlabelled(tmp_path, (8, 8))
    assert [fault.got for fault in caught.value.faults] == ["(7, 8)", "(9, 8)"]
