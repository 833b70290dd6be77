#!/usr/bin/env python3
"""Classify images with the bundle that this script lies in: python predict.py IMAGE... (or .npy files).

Needs numpy and the runtime that manifest.json names (onnxruntime or openvino); Pillow only for image files. An .npy
file holds one raw image or a stack of them, uint8. An image file is scaled so that it covers the network's input
(bilinear), and cut to its centre.

Where the bundle has a tokenizer.json it classifies texts instead: python predict.py FILE..., one text a line (UTF-8;
blank lines are left out). That needs the package tokenizers.
"""

from __future__ import annotations

import argparse
import json
import lzma
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Network = Callable[[np.ndarray], np.ndarray]  # one whole batch of raw images -> logits
SIXTEEN_BITS = {"BF16": "bf16", "FP16": "f16"}  # OpenVINO's capability -> its precision


def load_bundle(folder: Path) -> tuple[dict[str, Any], Network]:
    """Return (manifest, network) of the bundle in `folder`, the network in the runtime that it was measured in."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    if manifest.get("packed", False):
        model = lzma.decompress((folder / "model.onnx.xz").read_bytes())
    else:
        model = (folder / "model.onnx").read_bytes()
    openers = {"onnxruntime": open_onnxruntime, "openvino": open_openvino}
    return manifest, openers[manifest.get("runtime", "onnxruntime")](model)


def open_onnxruntime(model: bytes) -> Network:
    """Return an ONNX file's network in ONNX Runtime, on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: session.run(None, {name: batch})[0]


def open_openvino(model: bytes) -> Network:
    """Return an ONNX file's network in OpenVINO, on one thread, in the precision that it was measured in."""
    import openvino

    core = openvino.Core()
    network = core.read_model(model=model)
    native = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    key = ["framework", "activation_bits"]
    sixteen = network.has_rt_info(key) and network.get_rt_info(key).astype(str) == "16"
    found = [precision for name, precision in SIXTEEN_BITS.items() if name in native]
    if sixteen and not found:
        raise ValueError("this network needs a CPU with native 16-bit arithmetic")
    settings = {
        "INFERENCE_PRECISION_HINT": found[0] if sixteen else "f32",
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_HYPER_THREADING": False,
        "ENABLE_CPU_PINNING": False,
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
    }
    request = core.compile_model(network, "CPU", settings).create_infer_request()
    images, answers = request.get_input_tensor(0), request.get_output_tensor(0)

    def run(batch: np.ndarray) -> np.ndarray:
        images.data[...] = batch
        request.infer(share_outputs=True)
        return np.array(answers.data)

    return run


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


def read_texts(path: Path, tokenizer_file: Path, length: int) -> np.ndarray:
    """Return the token ids of the file's lines, n x length, cut where longer and padded with 0 where shorter."""
    from tokenizers import Tokenizer

    try:
        lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be a text file in UTF-8, but {error}") from error
    if not lines:
        raise ValueError(f"{path} must hold at least one line of text, but got none")
    tokenizer = Tokenizer.from_str(tokenizer_file.read_text(encoding="utf-8"))
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length, pad_id=0)
    return np.array([tokenizer.encode(line).ids for line in lines], np.int64)


def probabilities(network: Network, images: np.ndarray, batch: int) -> np.ndarray:
    """Return class probabilities, n x classes; the last batch is filled up to the file's static size."""
    rows = []
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        filled = np.concatenate([part, np.repeat(part[-1:], batch - len(part), axis=0)])
        logits = network(filled)[: len(part)].astype(np.float64)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        rows.append(powers / powers.sum(axis=1, keepdims=True))
    return np.concatenate(rows)


def predict(folder: Path, paths: Sequence[str | Path]) -> list[dict[str, Any]]:
    """Return one record an image: file, index in it, class, probability.

    Raises:
        ValueError, OSError: where a file cannot be read or does not fit.
        ImportError: where the bundle's runtime is not installed.
    """
    manifest, network = load_bundle(folder)
    image, classes = manifest["input"], manifest["classes"]
    answers = []
    tokenizer = folder / "tokenizer.json"
    for path in paths:
        if tokenizer.is_file():
            images = read_texts(Path(path), tokenizer, image["shape"][0])
        else:
            images = read_images(Path(path), image["shape"], image["pixel_max"])
        for index, row in enumerate(probabilities(network, images, image["batch"])):
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
