"""Images without labels: a teacher says what they are."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from automl.data.folder import SUFFIXES, read_image
from automl.errors import Fault, InputError, input_error

KEYS = ("x_unlabelled", "x_train", "x")  # of an archive, the first that is there
PIXEL_MAX = 255


def read_unlabelled(path: Path, input_shape: tuple[int, ...], *, resize: int | None = None) -> np.ndarray:
    """Return the images, `n x H x W` or `n x H x W x 3` (uint8), of an .npz archive or of a folder with all below it.

    Args:
        path: an archive with the array `x_unlabelled` (or `x_train`, or `x`), or a folder.
        input_shape: what one image must be like: (H, W) or (H, W, 3), that of the labelled ones.
        resize: the side in pixels that images of a folder are brought to; None keeps them as they are.

    Raises:
        InputError: naming every fault: no such file, no images, other shapes, values that are not 0 to 255.
    """
    pixels = _from_folder(path, input_shape, resize) if path.is_dir() else _from_archive(path)
    if pixels.ndim == len(input_shape) + 2 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    faults = _faults(str(path), pixels, input_shape)
    if faults:
        raise InputError(faults)
    return np.ascontiguousarray(pixels, dtype=np.uint8)


def _from_archive(path: Path) -> np.ndarray:
    expected = f"an .npz archive with one of the arrays {', '.join(KEYS)}, or a folder of images"
    try:
        with np.load(path, allow_pickle=False) as archive:
            key = next((key for key in KEYS if key in archive), None)
            if key is None:
                raise input_error(f"distillation.unlabelled: {path}", expected, f"only {', '.join(archive)}")
            return np.asarray(archive[key])
    except FileNotFoundError:
        raise input_error(f"distillation.unlabelled: {path}", expected, "no such file") from None
    except (OSError, EOFError, ValueError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise input_error(f"distillation.unlabelled: {path}", expected, error) from None


def _from_folder(path: Path, input_shape: tuple[int, ...], resize: int | None) -> np.ndarray:
    files = sorted(entry for entry in path.rglob("*") if entry.suffix.lower() in SUFFIXES)
    if not files:
        raise input_error(f"distillation.unlabelled: {path}", "a folder with images", "none in it")
    images = [read_image(file, resize=resize, grey=len(input_shape) == 2) for file in files]
    others = [
        Fault(str(file), f"an image of shape {input_shape}", f"{image.shape}", "Set data.resize, or resize it.")
        for file, image in zip(files, images, strict=True)
        if image.shape != tuple(input_shape)
    ]
    if others:
        raise InputError(others)
    return np.stack(images)


def _faults(where: str, pixels: np.ndarray, input_shape: tuple[int, ...]) -> list[Fault]:
    where = f"distillation.unlabelled: {where}"
    if pixels.shape[1:] != tuple(input_shape):
        remedy = "Bring them to the shape of the labelled images."
        return [Fault(where, f"images of the shape {tuple(input_shape)} of the data", f"{pixels.shape[1:]}", remedy)]
    if len(pixels) == 0:
        return [Fault(where, "at least one image", "none")]
    if pixels.dtype.kind not in "iu":
        return [Fault(where, "integers from 0 to 255", f"{pixels.dtype}", "Store them as uint8.")]
    low, high = int(pixels.min()), int(pixels.max())
    return [] if low >= 0 and high <= PIXEL_MAX else [Fault(where, "integers from 0 to 255", f"{low} to {high}")]
