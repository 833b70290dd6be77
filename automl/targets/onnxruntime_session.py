"""ONNX Runtime sessions on the CPU as every number of this platform uses them: one thread, static shapes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from automl.errors import TargetError
from automl.targets.opened import OpenedFile, require_file, require_input

TYPE_NAMES = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(int64)": "int64"}


def obstacle() -> str | None:
    """Return why ONNX Runtime cannot run files here, or None where it can."""
    try:
        import onnxruntime  # noqa: F401
    except ImportError as error:
        return f"not installed ({error}); pip install onnxruntime"
    return None


def prepare(path: Path) -> Callable[[], OpenedFile]:
    """Return what opens the file anew each time that it is called."""
    return partial(open_file, path)


def open_file(path: Path) -> OpenedFile:
    """Return the file, ready to run.

    Raises:
        TargetError: where it is missing or cannot be run.
        InputError: where a packed file is damaged.
    """
    session = open_session(path)
    inputs = [(one.name, one.shape, TYPE_NAMES.get(one.type, one.type)) for one in session.get_inputs()]
    name, shape, element = require_input(path, inputs)

    def run(batch: NDArray[Any]) -> NDArray[Any]:
        return session.run(None, {name: batch})[0]  # type: ignore[no-any-return]

    return OpenedFile(shape, element, session.get_outputs()[0].shape[-1], run)


def open_session(path: Path, optimized: Path | None = None) -> Any:
    """Return an `onnxruntime.InferenceSession` of the file: one thread, sequential, all graph optimisations.

    Args:
        path: the ONNX file, plain or packed.
        optimized: where to write the graph that really runs, if anywhere.

    Raises:
        TargetError: where the file is missing or cannot be run.
        InputError: where a packed file is damaged.
    """
    import onnxruntime

    require_file(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    try:
        return onnxruntime.InferenceSession(_source(path), options, providers=["CPUExecutionProvider"])
    except runtime_errors() as error:
        raise TargetError(f"{path} must be a file that ONNX Runtime can run, but it says: {error}") from error


def _source(path: Path) -> str | bytes:
    """Return a plain file's path, which the runtime maps into memory, or what a packed file holds."""
    from automl.models.packing import SUFFIX, read_model

    return read_model(path) if path.name.endswith(SUFFIX) else str(path)


def runtime_errors() -> tuple[type[Exception], ...]:
    """Return what ONNX Runtime raises for a file that it cannot run; they share no base class."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoSuchFile", "NotImplemented")
    return (RuntimeError, *(getattr(state, name) for name in (*names, "RuntimeException")))
