"""Peak memory: what loading and running a file costs in its runtime, and what a training costs in this process.

Both are the high-water mark of resident memory (VmHWM of Linux) above what was resident before. A file is measured in
a process of its own, which has imported the runtime and nothing of the study: repeated, the figure mostly
differs by less than 0.5 %, by 3 % at times, since the allocator places pages as it likes.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from automl.errors import TargetError
from automl.targets.session import find_runtime
from automl.targets.target import ONNX_RUNTIME

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
CLEAR_PEAK = "5"  # proc(5): resets VmHWM to what is resident now
SECONDS = 120
CHILD = """
import sys
sys.path[:0] = [sys.argv[1]]
from pathlib import Path
from automl.targets.memory import own_peak
print(own_peak(Path(sys.argv[2]), sys.argv[3]))
"""


def peak_memory(path: Path, runtime: str = ONNX_RUNTIME) -> int | None:
    """Return the bytes of resident memory that loading the file and running it once costs, at their peak.

    Measured in a fresh process that has imported the runtime; None where the system does not tell.

    Raises:
        TargetError: where the file cannot be run.
    """
    if not CLEAR.exists():
        return None
    root = str(Path(__file__).resolve().parents[2])
    command = [sys.executable, "-c", CHILD, root, str(path.resolve()), runtime]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    if finished.returncode != 0:
        said = finished.stderr.strip().splitlines()
        raise TargetError(
            f"{path} must run in {runtime} in a process of its own, but: {said[-1] if said else 'it died'}"
        )
    return int(finished.stdout)


def own_peak(path: Path, runtime: str) -> int:
    """Return what `peak_memory` is after, of this process: call it in a fresh one.

    Raises:
        TargetError: where the file cannot be run.
    """
    found = find_runtime(runtime)
    if (reason := found.obstacle()) is not None:  # asking imports it
        raise TargetError(f"{path} is to be run by {runtime}, but that is {reason}.")
    with peak_resident() as peak:
        opened = found.open(path)
        opened.run(np.zeros(opened.shape, opened.element))
        return peak()


@contextmanager
def peak_resident() -> Iterator[Callable[[], int]]:
    """Yield a function that returns by how many bytes this process' resident memory rose above its present one.

    The mark is the process' own, so one measurement at a time; 0 where the system does not tell.
    """
    if not CLEAR.exists():
        yield lambda: 0
        return
    CLEAR.write_text(CLEAR_PEAK, encoding="ascii")
    before = _bytes_of("VmRSS")
    yield lambda: max(_bytes_of("VmHWM") - before, 0)


def _bytes_of(field: str) -> int:
    lines = (line.split() for line in STATUS.read_text(encoding="ascii").splitlines())
    return next(1024 * int(words[1]) for words in lines if words[0] == f"{field}:")
