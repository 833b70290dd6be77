"""Images from a NumPy archive: `x_train`, `y_train` and, if it has a test set, `x_test`, `y_test`.

Images are integers from 0 to 255, `n x H x W` or `n x H x W x C` with 1 or 3 channels; labels are integers or names.
An optional `classes` names the labels 0, 1, ...
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from automl.data.images import Images, Split, check_images, listed
from automl.errors import Fault, InputError, input_error

KEYS = ("x_train", "y_train")
TEST_KEYS = ("x_test", "y_test")
PIXEL_MAX = 255
CHANNELS = (1, 3)
_AS_INTEGERS = "Store them as integers: (x * 255).round().astype('uint8') where they lie between 0 and 1."


def read_npz(path: Path) -> Images:
    """Return the images of the archive.

    Raises:
        InputError: naming every fault: no such file, not an archive, keys missing, labels that do not match, pixels
            that are not integers from 0 to 255 or not finite, one class only.
    """
    return images_of(_load(path), path.stem, str(path))


def images_of(arrays: Mapping[str, np.ndarray], name: str, where: str) -> Images:
    """Return the images of arrays with the keys of an archive; `where` names them in faults.

    Raises:
        InputError: naming every fault.
    """
    faults = [fault for key in _keys(arrays) for fault in _array_faults(where, key, arrays)]
    if faults:
        raise InputError(faults)
    classes = _classes(where, arrays)
    given = TEST_KEYS[0] in arrays
    images = Images(
        name=name,
        pool=_split(arrays, KEYS, classes),
        test=_split(arrays, TEST_KEYS, classes) if given else None,
        classes=tuple(str(label) for label in arrays.get("classes", classes)),
        names=[f"x_train[{index}]" for index in range(len(arrays["y_train"]))],
        pixel_max=PIXEL_MAX,
    )
    _check_test(images, where)
    check_images(images, where)
    return images


def array_faults(arrays: object, where: str) -> list[Fault]:
    """Return what keeps a value from being arrays with the keys of an archive; what they hold is not looked at."""
    if not isinstance(arrays, Mapping):
        return [Fault(where, "a mapping of arrays with x_train and y_train", f"a {type(arrays).__name__}")]
    missing = [key for key in KEYS if key not in arrays]
    missing += [key for key in TEST_KEYS if key not in arrays and set(TEST_KEYS) & set(arrays)]
    if missing:
        got = f"no {', '.join(missing)} among {listed(list(arrays))}"
        return [Fault(where, "arrays with x_train, y_train (and x_test, y_test)", got)]
    return [
        Fault(f"{where}: {key}", "a NumPy array", f"a {type(arrays[key]).__name__}")
        for key in (*KEYS, *TEST_KEYS, "classes")
        if key in arrays and not isinstance(arrays[key], np.ndarray)
    ]


def _load(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays that are wanted, none of them unpickled."""
    try:
        opened = np.load(path, allow_pickle=False)
        if not isinstance(opened, np.lib.npyio.NpzFile):
            raise input_error(str(path), "an .npz archive with x_train and y_train", "a single array")
        with opened as archive:
            missing = [key for key in KEYS if key not in archive]
            missing += [key for key in TEST_KEYS if key not in archive and set(TEST_KEYS) & set(archive)]
            if missing:
                got = f"no {', '.join(missing)} among {listed(list(archive))}"
                raise input_error(str(path), "an archive with x_train, y_train (and x_test, y_test)", got)
            return {key: _member(path, archive, key) for key in (*KEYS, *TEST_KEYS, "classes") if key in archive}
    except FileNotFoundError:
        raise input_error(str(path), "an .npz file", "no such file") from None
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise input_error(str(path), "a readable .npz archive", error) from None


def _member(path: Path, archive: Mapping[str, np.ndarray], key: str) -> np.ndarray:
    try:
        return archive[key]
    except ValueError as error:
        if "Object arrays" not in str(error):
            raise
        expected = "one plain array of numbers, with images of one size"
        raise input_error(f"{path}: {key}", expected, "an array of Python objects (images of unequal size?)") from None


def _keys(arrays: Mapping[str, np.ndarray]) -> list[tuple[str, str]]:
    return [KEYS, TEST_KEYS] if TEST_KEYS[0] in arrays else [KEYS]


def _array_faults(where: str, keys: tuple[str, str], arrays: Mapping[str, np.ndarray]) -> list[Fault]:
    pixels, labels = (arrays[key] for key in keys)
    faults = [*_pixel_faults(f"{where}: {keys[0]}", pixels), *_label_faults(f"{where}: {keys[1]}", labels)]
    if pixels.ndim and labels.ndim and len(pixels) != len(labels):
        expected = f"one label for each of the {len(pixels)} images in {keys[0]}"
        faults.append(Fault(f"{where}: {keys[1]}", expected, f"{len(labels)} labels"))
    if keys == TEST_KEYS and pixels.shape[1:] != arrays["x_train"].shape[1:]:
        expected = f"images of the shape {arrays['x_train'].shape[1:]} of x_train"
        faults.append(Fault(f"{where}: {keys[0]}", expected, f"{pixels.shape[1:]}"))
    if (labels.dtype.kind == "U") != (arrays["y_train"].dtype.kind == "U"):
        faults.append(Fault(f"{where}: {keys[1]}", "labels like those of y_train", f"{labels.dtype}"))
    return faults


def _pixel_faults(where: str, pixels: np.ndarray) -> list[Fault]:
    if pixels.ndim not in (3, 4) or (pixels.ndim == 4 and pixels.shape[3] not in CHANNELS):
        channels_first = pixels.ndim == 4 and pixels.shape[1] in CHANNELS
        remedy = "Move the channels last: x.transpose(0, 2, 3, 1)." if channels_first else ""
        expected = "images of the shape (n, height, width) or (n, height, width, 1 or 3)"
        return [Fault(where, expected, f"the shape {pixels.shape}", remedy)]
    if len(pixels) == 0:
        return [Fault(where, "at least one image", "none")]
    if pixels.dtype.kind == "f":
        odd = int(np.count_nonzero(~np.isfinite(pixels)))
        got = f"{pixels.dtype} with {odd} pixels that are NaN or infinite" if odd else f"{pixels.dtype}"
        return [Fault(where, "integers from 0 to 255", got, _AS_INTEGERS)]
    if pixels.dtype.kind not in "iu":
        return [Fault(where, "integers from 0 to 255", f"{pixels.dtype}")]
    low, high = int(pixels.min()), int(pixels.max())
    if low < 0 or high > PIXEL_MAX:
        return [Fault(where, "integers from 0 to 255", f"values from {low} to {high}")]
    return []


def _label_faults(where: str, labels: np.ndarray) -> list[Fault]:
    flat = labels.ndim == 1 or (labels.ndim == 2 and labels.shape[1] == 1)
    if not flat:
        return [Fault(where, "one label an image, of the shape (n,)", f"the shape {labels.shape}")]
    if labels.dtype.kind not in "iuU":
        return [Fault(where, "integers or names", f"{labels.dtype}", "Convert them: y.astype('int64').")]
    return []


def _classes(where: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the distinct labels of the training images, rising: the index in it is our label."""
    found = np.unique(arrays["y_train"])
    if "classes" not in arrays:
        return found
    count = arrays["classes"].size
    expected = "from 0 up, one for each name in `classes`"
    if found.dtype.kind == "U" or found.min() < 0 or found.max() >= count:
        raise input_error(f"{where}: y_train", f"{expected} ({count})", f"{listed([str(label) for label in found])}")
    return np.arange(count)


def _split(arrays: Mapping[str, np.ndarray], keys: tuple[str, str], classes: np.ndarray) -> Split:
    """Return the images with labels as indices into `classes`, -1 for a label that is not among them."""
    pixels, labels = arrays[keys[0]].astype(np.uint8, copy=False), arrays[keys[1]].reshape(-1)
    if pixels.ndim == 4 and pixels.shape[3] == 1:
        pixels = pixels[..., 0]
    index = np.clip(np.searchsorted(classes, labels), 0, len(classes) - 1)
    return Split(pixels, np.where(classes[index] == labels, index, -1).astype(np.int64))


def _check_test(images: Images, where: str) -> None:
    if images.test is not None and np.any(images.test.labels < 0):
        count = int(np.count_nonzero(images.test.labels < 0))
        raise input_error(f"{where}: y_test", "labels that y_train has too", f"{count} others")
