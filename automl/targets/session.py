"""Files opened in the runtime that serves them, for timing and for answers; a packed file is restored at load.

Importing this loads no runtime. `open_session` is ONNX Runtime's own session, for those who look at its graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from automl.errors import TargetError
from automl.targets import onnxruntime_session, openvino_session
from automl.targets.onnxruntime_session import open_session
from automl.targets.opened import OpenedFile
from automl.targets.target import ONNX_RUNTIME, OPENVINO

if TYPE_CHECKING:
    from automl.targets.target import Runner
    from automl.targets.timing import Opener

__all__ = ["RUNTIMES", "Runtime", "find_runtime", "open_runner", "open_session", "prepare_call", "runtime_obstacles"]


@dataclass(frozen=True)
class Runtime:
    """What serves files: `open` as a deployment opens them, `obstacle` says why not here.

    `prepare` does once what can be done once and returns what opens the file again and again.
    """

    open: Callable[[Path], OpenedFile]
    prepare: Callable[[Path], Callable[[], OpenedFile]]
    obstacle: Callable[[], str | None]


RUNTIMES: Mapping[str, Runtime] = {
    ONNX_RUNTIME: Runtime(onnxruntime_session.open_file, onnxruntime_session.prepare, onnxruntime_session.obstacle),
    OPENVINO: Runtime(openvino_session.open_file, openvino_session.prepare, openvino_session.obstacle),
}


def find_runtime(name: str) -> Runtime:
    """Return the runtime of this name.

    Raises:
        TargetError: where there is none.
    """
    if name not in RUNTIMES:
        raise TargetError(f"a file must be run by one of {', '.join(RUNTIMES)}, but got {name!r}.")
    return RUNTIMES[name]


def runtime_obstacles() -> dict[str, str | None]:
    """Return for each known runtime why it cannot run files here, or None where it can."""
    return {name: runtime.obstacle() for name, runtime in RUNTIMES.items()}


def prepare_call(path: Path, runtime: str = ONNX_RUNTIME, seed: int = 0) -> Opener:
    """Return what opens the file anew each time, as a function that runs it once on fixed random input, for timing.

    Raises:
        TargetError: where the runtime is unknown or absent, or the file cannot be run. Some runtimes tell only when
            the file is opened.
    """
    open_file = find_runtime(runtime).prepare(path)

    def open_call() -> Callable[[], object]:
        opened = open_file()
        batch = opened.fixed_batch(seed)
        return lambda: opened.run(batch)

    return open_call


def open_runner(path: Path, runtime: str = ONNX_RUNTIME) -> Runner:
    """Return a function from raw samples to logits (float32, n x classes).

    Samples are uint8 pixels (n x H x W or n x H x W x C), or int64 token ids (n x length) where the file takes those.
    It feeds the file's own static batch, sample by sample where that is 1; a last part is filled up with zeros. No
    samples give an array of 0 rows.

    Raises:
        TargetError: where the runtime is unknown or absent, or the file cannot be run.
    """
    opened = find_runtime(runtime).prepare(path)()
    batch, *sample = opened.shape
    wanted = np.dtype(np.int64 if opened.element is np.int64 else np.uint8)

    def run(samples: NDArray[Any]) -> NDArray[np.float32]:
        if samples.dtype != wanted or list(samples.shape[1:]) != sample:
            kind = "token ids" if wanted == np.int64 else "pixels"
            got = f"{samples.dtype} n x {samples.shape[1:]}"
            raise TargetError(f"{path}: {kind} must be {wanted} n x {tuple(sample)}, but got {got}.")
        logits = np.empty((len(samples), opened.classes), np.float32)
        for start in range(0, len(samples), batch):
            part = samples[start : start + batch]
            full = np.zeros(opened.shape, opened.element)
            full[: len(part)] = part
            logits[start : start + len(part)] = opened.run(full)[: len(part)]
        return logits

    return run
