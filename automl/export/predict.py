#!/usr/bin/env python3
"""Classify images with the bundle that this script lies in: python predict.py IMAGE... (or .npy files).

Needs onnxruntime and numpy; Pillow only for image files. An .npy file holds one raw image or a stack of them, uint8.
An image file is scaled so that it covers the network's input (bilinear), and cut to its centre.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def load_bundle(folder: Path) -> tuple[dict[str, Any], Any]:
    """Return (manifest, session) of the bundle in `folder`."""
    import onnxruntime

    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = str(folder / "model.onnx")
    return manifest, onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def read_images(path: Path, shape: Sequence[int], pixel_max: int) -> np.ndarray:
    """Return the raw images in the file as uint8, n x shape; ValueError where they do not fit."""
    images = np.load(path, allow_pickle=False) if path.suffix == ".npy" else read_picture(path, shape, pixel_max)
    if images.shape == tuple(shape):
        images = images[None]
    if images.shape[1:] != tuple(shape):
        raise ValueError(f"{path} must hold images of shape {tuple(shape)}, but got {images.shape}")
    if not np.issubdtype(images.dtype, np.integer) or images.size == 0 or images.min() < 0 or images.max() > pixel_max:
        raise ValueError(f"{path} must hold whole numbers from 0 to {pixel_max}, but got {images.dtype}")
    return images.astype(np.uint8)


def read_picture(path: Path, shape: Sequence[int], pixel_max: int) -> np.ndarray:
    """Return an image file as raw pixels of `shape`: shorter side to fit, bilinear, centre crop."""
    from PIL import Image, ImageOps

    height, width = shape[:2]
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB" if len(shape) == 3 and shape[2] == 3 else "L")
    scale = max(height / image.height, width / image.width)
    size = (max(width, round(image.width * scale)), max(height, round(image.height * scale)))
    if size != image.size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    pixels = np.asarray(image.crop((left, top, left + width, top + height)), dtype=np.float64)
    return np.rint(pixels * (pixel_max / 255)).astype(np.uint8).reshape(shape)


def probabilities(session: Any, images: np.ndarray, batch: int) -> np.ndarray:
    """Return class probabilities, n x classes; the last batch is filled up to the file's static size."""
    rows = []
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        filled = np.concatenate([part, np.repeat(part[-1:], batch - len(part), axis=0)])
        logits = session.run(None, {session.get_inputs()[0].name: filled})[0][: len(part)].astype(np.float64)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        rows.append(powers / powers.sum(axis=1, keepdims=True))
    return np.concatenate(rows)


def predict(folder: Path, paths: Sequence[str | Path]) -> list[dict[str, Any]]:
    """Return one record an image: file, index in it, class, probability.

    Raises:
        ValueError, OSError: where a file cannot be read or does not fit.
    """
    manifest, session = load_bundle(folder)
    image, classes = manifest["input"], manifest["classes"]
    answers = []
    for path in paths:
        images = read_images(Path(path), image["shape"], image["pixel_max"])
        for index, row in enumerate(probabilities(session, images, image["batch"])):
            best = int(row.argmax())
            answers.append(
                {"file": str(path), "index": index, "class": classes[best], "probability": round(float(row[best]), 4)}
            )
    return answers


def main() -> int:
    """Print one line an image: file, class, probability."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="+", metavar="IMAGE")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    try:
        answers = predict(Path(__file__).resolve().parent, arguments.images)
    except (ValueError, OSError, ImportError) as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.json:
        print(json.dumps(answers))
    else:
        for answer in answers:
            print(f"{answer['file']}[{answer['index']}]\t{answer['class']}\t{answer['probability']:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
