from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from automl.data.dataset import load_dataset
from automl.data.folder import read_folder, read_image
from automl.errors import InputError
from tests.data.tiny_images import write_folder

COUNTS = {"cat": 4, "dog": 5}


def test_read_folder_takes_folder_names_as_classes(tmp_path: Path) -> None:
    images = read_folder(write_folder(tmp_path, COUNTS), None)
    assert images.classes == ("cat", "dog")
    assert np.bincount(images.pool.labels).tolist() == [4, 5]
    assert images.pool.pixels.shape == (9, 6, 6, 3)
    assert images.warnings == ()


def test_read_folder_reads_pixels_exactly(tmp_path: Path) -> None:
    images = read_folder(write_folder(tmp_path, COUNTS), None)
    first = np.asarray(Image.open(tmp_path / "cat" / "0.png"))
    assert np.array_equal(images.pool.pixels[0], first)


def test_read_folder_keeps_grey_where_all_are(tmp_path: Path) -> None:
    write_folder(tmp_path, COUNTS, mode="L")
    assert read_folder(tmp_path, None).pool.pixels.shape == (9, 6, 6)
    write_folder(tmp_path, {"emu": 3})
    assert read_folder(tmp_path, None).pool.pixels.shape == (12, 6, 6, 3)


def test_read_folder_refuses_unequal_sizes_without_a_resize_rule(tmp_path: Path) -> None:
    write_folder(tmp_path, {"cat": 4})
    write_folder(tmp_path, {"dog": 3}, size=(8, 7))
    with pytest.raises(InputError, match=r"no resize rule, but got 4 of 6 x 6, 3 of 7 x 8\. .*data.resize: 64"):
        read_folder(tmp_path, None)
    assert read_folder(tmp_path, 5).pool.pixels.shape == (7, 5, 5, 3)


def test_read_folder_lists_corrupt_and_other_files(tmp_path: Path) -> None:
    write_folder(tmp_path, COUNTS)
    (tmp_path / "cat" / "broken.png").write_bytes((tmp_path / "cat" / "0.png").read_bytes()[:40])
    (tmp_path / "dog" / "empty.jpg").write_bytes(b"")
    (tmp_path / "dog" / "notes.txt").write_text("not an image")
    images = read_folder(tmp_path, None)
    assert len(images.pool) == 9
    assert "2 files could not be read as images" in images.warnings[0]
    assert "cat/broken.png" in images.warnings[0]
    assert "dog/empty.jpg" in images.warnings[0]
    assert "1 files are no images by their names and were left out: dog/notes.txt" in images.warnings[1]


def test_read_folder_refuses_a_class_that_is_all_corrupt_and_lists_its_files(tmp_path: Path) -> None:
    write_folder(tmp_path, COUNTS)
    for path in (tmp_path / "cat").iterdir():
        path.write_bytes(b"x")
    with pytest.raises(InputError, match=r"3 images of each class.* got cat \(0\)\n.*unreadable ones: cat/0.png"):
        read_folder(tmp_path, None)


def test_read_folder_refuses_deep_pixels_by_name(tmp_path: Path) -> None:
    write_folder(tmp_path, COUNTS)
    Image.fromarray(np.zeros((6, 6), dtype=np.uint16)).save(tmp_path / "cat" / "deep.png")
    assert "cat/deep.png (the mode I;16)" in read_folder(tmp_path, None).warnings[0]


def test_read_folder_refuses_one_class_only(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least two class folders, but got one class only: cat"):
        read_folder(write_folder(tmp_path, {"cat": 4}), None)


def test_read_folder_refuses_what_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="but got no such folder"):
        read_folder(tmp_path / "absent", None)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="but got a file"):
        read_folder(tmp_path / "file", None)
    with pytest.raises(InputError, match="but got no folders in it"):
        read_folder(tmp_path, None)


def test_read_folder_refuses_folders_without_images(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="readable images, but got none"):
        read_folder(tmp_path, None)


def test_read_image_brings_the_shorter_side_to_size_and_cuts_the_centre(tmp_path: Path) -> None:
    pixels = np.zeros((10, 30, 3), dtype=np.uint8)
    pixels[:, 10:20] = 200  # the centre square alone is bright
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    image = read_image(tmp_path / "wide.png", resize=5)
    assert image.shape == (5, 5, 3)
    assert image[:, 1:4].min() == 200


@pytest.mark.parametrize(("grey", "shape"), [(None, (6, 6, 3)), (True, (6, 6)), (False, (6, 6, 3))])
def test_read_image_is_grey_or_colour_as_asked(tmp_path: Path, grey: bool | None, shape: tuple[int, ...]) -> None:
    write_folder(tmp_path, {"cat": 1})
    assert read_image(tmp_path / "cat" / "0.png", resize=None, grey=grey).shape == shape


def test_read_image_obeys_the_orientation_that_the_camera_noted(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.new("RGB", (8, 4)).save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg", resize=None).shape == (8, 4, 3)


def test_load_dataset_lists_copies_across_splits_by_file(tmp_path: Path) -> None:
    write_folder(tmp_path, {"cat": 9, "dog": 9})
    (tmp_path / "cat" / "copy.png").write_bytes((tmp_path / "cat" / "0.png").read_bytes())
    loaded = [load_dataset("folder", tmp_path, seed=seed, validation_share=0.3, test_share=0.3) for seed in range(6)]
    warnings = [" ".join(dataset.warnings) for dataset in loaded]
    assert any("cat/copy.png" in text or "cat/0.png" in text for text in warnings)  # apart in 1 of 3 splits at least
