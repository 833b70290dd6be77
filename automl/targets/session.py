"""ONNX Runtime sessions on the CPU as every number of this platform uses them: one thread, static shapes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from automl.errors import TargetError

if TYPE_CHECKING:
    from automl.targets.target import Runner
    from automl.targets.timing import Call

ELEMENT_TYPES: dict[str, type[np.uint8 | np.float32]] = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}


def open_session(path: Path, optimized: Path | None = None) -> Any:
    """Return an `onnxruntime.InferenceSession` of the file: one thread, sequential, all graph optimisations.

    Args:
        path: the ONNX file.
        optimized: where to write the graph that really runs, if anywhere.

    Raises:
        TargetError: where the file is missing or cannot be run.
    """
    import onnxruntime

    if not path.is_file():
        raise TargetError(f"{path} must be an ONNX file, but there is no such file. Export the candidate again.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except _runtime_errors() as error:
        raise TargetError(f"{path} must be a file that ONNX Runtime can run, but it says: {error}") from error


def _runtime_errors() -> tuple[type[Exception], ...]:
    """Return what ONNX Runtime raises for a file that it cannot run; they share no base class."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoSuchFile", "NotImplemented")
    return (RuntimeError, *(getattr(state, name) for name in (*names, "RuntimeException")))


def open_call(path: Path, seed: int = 0) -> Call:
    """Return a function that runs the file once on fixed random input, for timing."""
    session = open_session(path)
    shape, element = _input_of(session, path)
    name = session.get_inputs()[0].name
    feed = {name: np.random.default_rng(seed).integers(0, 256, shape).astype(element)}
    return lambda: session.run(None, feed)


def open_runner(path: Path) -> Runner:
    """Return a function from raw pixels (uint8, n x H x W or n x H x W x C) to logits (float32, n x classes).

    It feeds the file's own static batch, image by image where that is 1; a last part is filled up with zeros.
    No images give an array of 0 rows.
    """
    session = open_session(path)
    (batch, *image), element = _input_of(session, path)
    name, classes = session.get_inputs()[0].name, session.get_outputs()[0].shape[-1]

    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        if pixels.dtype != np.uint8 or list(pixels.shape[1:]) != image:
            got = f"{pixels.dtype} n x {pixels.shape[1:]}"
            raise TargetError(f"{path}: pixels must be uint8 n x {tuple(image)}, but got {got}.")
        logits = np.empty((len(pixels), classes), np.float32)
        for start in range(0, len(pixels), batch):
            part = pixels[start : start + batch]
            full = np.zeros((batch, *image), element)
            full[: len(part)] = part
            logits[start : start + len(part)] = session.run(None, {name: full})[0][: len(part)]
        return logits

    return run


def _input_of(session: Any, path: Path) -> tuple[list[int], type[np.uint8 | np.float32]]:
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise TargetError(f"{path} must have one input, but got {[entry.name for entry in inputs]}.")
    shape, kind = inputs[0].shape, inputs[0].type
    if not all(isinstance(size, int) and size > 0 for size in shape):
        raise TargetError(f"{path} must have a static input shape, but got {shape}. Export it with a fixed batch.")
    if kind not in ELEMENT_TYPES:
        raise TargetError(f"{path}: the input must be one of {list(ELEMENT_TYPES)}, but got {kind}.")
    return shape, ELEMENT_TYPES[kind]
