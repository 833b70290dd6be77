"""Peak memory: of files in processes of their own, and of what this process does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from automl.errors import TargetError
from automl.targets import runtime_obstacles
from automl.targets.kernels import Kernel, write_kernel
from automl.targets.memory import CLEAR, peak_memory, peak_resident

pytestmark = pytest.mark.skipif(not CLEAR.exists(), reason="only Linux tells the peak of resident memory")
RUNTIMES = [
    pytest.param(name, marks=pytest.mark.skipif(obstacle is not None, reason=f"{name}: {obstacle}"))
    for name, obstacle in runtime_obstacles().items()
]


def test_peak_resident_sees_memory_that_is_given_back() -> None:
    with peak_resident() as peak:
        np.ones(64 * 2**20, np.uint8)
        assert 60 * 2**20 < peak() < 100 * 2**20


def test_peak_resident_starts_anew() -> None:
    np.ones(64 * 2**20, np.uint8)
    with peak_resident() as peak:
        assert peak() < 16 * 2**20


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_peak_memory_grows_with_the_file(runtime: str, tmp_path: Path) -> None:
    small = write_kernel(Kernel("conv_1x1", 16, 14, 1, 32, 32), tmp_path / "small.onnx")
    large = write_kernel(Kernel("linear", 2048, 1, 1, 32, 32), tmp_path / "large.onnx")  # 17 MB of weights
    found = [peak_memory(path, runtime) for path in (small, large)]
    assert found[0] is not None and found[1] is not None
    assert found[1] - found[0] > 12 * 2**20


def test_peak_memory_says_what_is_wrong_with_the_file(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"in a process of its own, but: .*no such file"):
        peak_memory(tmp_path / "gone.onnx")
