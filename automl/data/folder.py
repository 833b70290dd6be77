"""Images from a folder with one folder a class, read by Pillow.

The resize rule: the shorter side is brought to `resize` pixels (bilinear), then a square is cut from the centre.
Grey images stay grey where all are; otherwise all become RGB. Transparency is dropped, the orientation that a camera
noted is obeyed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from automl.data.images import Images, Split, check_images, listed
from automl.errors import InputError, input_error

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
GREY_MODES = ("1", "L", "LA")
DEEP_MODES = ("F", "I", "I;16", "I;16B", "I;16L", "I;16N")
PIXEL_MAX = 255


@dataclass
class _Found:
    """What reading a folder has gathered so far."""

    arrays: list[np.ndarray] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def read_folder(path: Path, resize: int | None) -> Images:
    """Return the images below `path`, whose folders are the classes, in the order of their names.

    Files that cannot be read are left out and listed in `warnings`.

    Raises:
        InputError: where there is no such folder, fewer than two classes, a class with too few readable images, or
            images of unequal size and no `resize`.
    """
    if not path.is_dir():
        got = "a file" if path.exists() else "no such folder"
        raise input_error(str(path), "a folder with one folder of images a class", got)
    classes = sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if len(classes) < 2:
        got = f"one class only: {classes[0]}" if classes else "no folders in it"
        raise input_error(str(path), "a folder with at least two class folders", got)
    found = _Found()
    for label, name in enumerate(classes):
        _read_class(path, name, label, resize, found)
    return _as_images(path, classes, found)


def read_image(path: Path, *, resize: int | None, grey: bool | None = None) -> np.ndarray:
    """Return the image in `path` as `H x W` or `H x W x 3` (uint8), resized by the rule where `resize` is given.

    Args:
        path: of the file.
        resize: the side of the square in pixels.
        grey: which of the two shapes is wanted; None keeps what the file is.

    Raises:
        InputError: where it cannot be read as an image.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            if opened.mode in DEEP_MODES:
                raise input_error(str(path), "an image of 8 bits a channel", f"the mode {opened.mode}")
            image = ImageOps.exif_transpose(opened)
            as_grey = image.mode in GREY_MODES if grey is None else grey
            image = image.convert("L" if as_grey else "RGB")
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise input_error(str(path), "a readable image", error) from None
    return np.asarray(image if resize is None else _square(image, resize), dtype=np.uint8)


def _square(image: Image, side: int) -> Image:
    from PIL.Image import Resampling

    scale = side / min(image.size)
    width, height = (max(side, round(length * scale)) for length in image.size)
    left, top = (width - side) // 2, (height - side) // 2
    return image.resize((width, height), Resampling.BILINEAR).crop((left, top, left + side, top + side))


def _read_class(root: Path, name: str, label: int, resize: int | None, found: _Found) -> None:
    for path in sorted(entry for entry in (root / name).rglob("*") if entry.is_file()):
        relative = path.relative_to(root).as_posix()
        if path.suffix.lower() not in SUFFIXES:
            found.ignored.append(relative)
            continue
        try:
            found.arrays.append(read_image(path, resize=resize))
        except InputError as error:
            found.unreadable.append(f"{relative} ({error.faults[0].got})")
            continue
        found.labels.append(label)
        found.names.append(relative)


def _as_images(path: Path, classes: list[str], found: _Found) -> Images:
    if not found.arrays:
        got = f"none ({listed([*found.unreadable, *found.ignored])})"
        raise input_error(str(path), "a folder with readable images", got)
    sizes = Counter(array.shape[:2] for array in found.arrays)
    if len(sizes) > 1:
        got = ", ".join(f"{count} of {height} x {width}" for (height, width), count in sizes.most_common(5))
        remedy = "Say how to make them equal: data.resize is the side in pixels, such as data.resize: 64."
        raise input_error(str(path), "images of one size, as there is no resize rule", got, remedy)
    all_grey = all(array.ndim == 2 for array in found.arrays)
    pixels = np.stack(found.arrays if all_grey else [_rgb(array) for array in found.arrays])
    split = Split(pixels, np.array(found.labels, dtype=np.int64))
    images = Images(path.name, split, None, tuple(classes), found.names, PIXEL_MAX, _warnings(found))
    try:
        check_images(images, str(path))
    except InputError as error:
        if not found.unreadable:
            raise
        unread = input_error(str(path), "a folder of readable images", f"unreadable ones: {listed(found.unreadable)}")
        raise InputError([*error.faults, *unread.faults]) from None
    return images


def _rgb(array: np.ndarray) -> np.ndarray:
    return np.repeat(array[..., None], 3, axis=2) if array.ndim == 2 else array


def _warnings(found: _Found) -> tuple[str, ...]:
    said = (
        (found.unreadable, "could not be read as images and were left out"),
        (found.ignored, "are no images by their names and were left out"),
    )
    return tuple(f"{len(names)} files {what}: {listed(names)}" for names, what in said if names)
