"""Names of targets."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch

from automl.errors import InputError
from automl.targets import open_target, runtime_obstacles


def test_open_target_lists_the_known_names(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"one of cpu, cuda, recorded:FILE, but got 'toaster'"):
        open_target("toaster", batch=1, channel_multiple=16, lane_folder=tmp_path)


def test_open_target_refuses_cuda_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"CUDA GPU, but got none: no NVIDIA GPU.*Set target\.name to cpu"):
        open_target("cuda", batch=1, channel_multiple=16)


def test_open_target_says_that_torch_has_no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(InputError, match="built without CUDA"):
        open_target("cuda", batch=1, channel_multiple=16)


def test_open_target_refuses_cuda_where_there_is_a_gpu_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match="cannot time yet"):
        open_target("cuda", batch=1, channel_multiple=16)


def test_open_target_reports_both_numbers_at_once() -> None:
    with pytest.raises(InputError) as caught:
        open_target("cpu", batch=0, channel_multiple=0)
    assert [fault.where for fault in caught.value.faults] == ["target.batch", "target.channel_multiple"]


@pytest.mark.parametrize("runtimes", [(), ("tensorrt",), ("onnxruntime", "onnxruntime")])
def test_open_target_refuses_runtimes_that_are_none(runtimes: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="one or more different ones of onnxruntime, openvino"):
        open_target("cpu", batch=1, channel_multiple=1, runtimes=runtimes)


@pytest.mark.skipif(runtime_obstacles()["openvino"] is not None, reason="OpenVINO is not installed")
def test_open_target_names_every_runtime_in_the_fingerprint() -> None:
    alone, both = (
        open_target("cpu", batch=1, channel_multiple=1, runtimes=runtimes)
        for runtimes in (("onnxruntime",), ("openvino", "onnxruntime"))
    )
    assert both.runtimes() == ("onnxruntime", "openvino")
    assert "openvino" not in alone.fingerprint
    assert alone.fingerprint == open_target("cpu", batch=1, channel_multiple=1).fingerprint
    assert f", openvino {metadata.version('openvino')};" in both.fingerprint


def test_targets_import_no_runtime() -> None:
    names = ("onnx", "onnxruntime", "openvino")
    code = f"import sys, automl.targets.probe; print([name for name in {names} if name in sys.modules])"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout == "[]\n"
