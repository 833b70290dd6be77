"""A file that a runtime holds ready to run, and what every runtime asks of it: one input, static, of a known type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from automl.errors import TargetError

ELEMENTS: dict[str, type[Any]] = {"uint8": np.uint8, "float32": np.float32, "int64": np.int64}
SMALL_IDS = 100  # token ids below this are in every vocabulary


@dataclass(frozen=True)
class OpenedFile:
    """A file in a runtime. `run` maps one whole batch of `shape` and type `element` to its first output.

    `classes` is the last size of that output.
    """

    shape: tuple[int, ...]
    element: type[Any]
    classes: int
    run: Callable[[NDArray[Any]], NDArray[Any]]

    def fixed_batch(self, seed: int) -> NDArray[Any]:
        """Return seeded random input: pixels from 0 to 255, or token ids that every vocabulary has."""
        bound = SMALL_IDS if self.element is np.int64 else 256
        return np.random.default_rng(seed).integers(0, bound, self.shape).astype(self.element)


def require_file(path: Path) -> None:
    """Refuse a path where no file lies.

    Raises:
        TargetError: naming it.
    """
    if not path.is_file():
        raise TargetError(f"{path} must be an ONNX file, but there is no such file. Export the candidate again.")


def require_input(
    path: Path, inputs: Sequence[tuple[str, Sequence[Any], str]]
) -> tuple[str, tuple[int, ...], type[Any]]:
    """Return name, shape and type of a file's one input.

    Args:
        path: of the file.
        inputs: (name, shape, type) of each as the runtime says: a size that is no positive whole number is not static,
            a type is called as NumPy calls it.

    Raises:
        TargetError: where there is not one, its shape is not static, or its type is unknown.
    """
    if len(inputs) != 1:
        raise TargetError(f"{path} must have one input, but got {[name for name, _, _ in inputs]}.")
    name, shape, element = inputs[0]
    if not all(isinstance(size, int) and size > 0 for size in shape):
        raise TargetError(
            f"{path} must have a static input shape, but got {list(shape)}. Export it with a fixed batch."
        )
    if element not in ELEMENTS:
        raise TargetError(f"{path}: the input must be one of {list(ELEMENTS)}, but got {element}.")
    return name, tuple(shape), ELEMENTS[element]
