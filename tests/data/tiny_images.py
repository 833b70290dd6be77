"""Tiny labelled images for the tests of data: every image different, every class distinguishable."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def arrays(count: int = 40, classes: int = 4, shape: tuple[int, ...] = (6, 6), seed: int = 0) -> dict[str, np.ndarray]:
    """Return x_train and y_train of `count` different random images, the classes taking turns."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
    return {"x_train": pixels, "y_train": np.arange(count) % classes}


def with_test(count: int = 12, **options: int) -> dict[str, np.ndarray]:
    """Return `arrays` with a test set of other images."""
    test = arrays(count, seed=99)
    return {**arrays(**options), "x_test": test["x_train"], "y_test": test["y_train"]}


def write_npz(folder: Path, values: dict[str, np.ndarray]) -> Path:
    path = folder / "tiny.npz"
    np.savez(path, **values)  # type: ignore[arg-type]
    return path


def write_folder(root: Path, counts: dict[str, int], size: tuple[int, int] = (6, 6), mode: str = "RGB") -> Path:
    """Write `counts` different PNG images of `size` (width, height) in a folder for each class."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
            Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(root / name / f"{index}.png")
    return root
