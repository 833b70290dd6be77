"""Names of targets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from automl.errors import InputError
from automl.targets import open_target


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


def test_targets_import_neither_onnx_nor_its_runtime() -> None:
    code = "import sys, automl.targets.probe; print([name for name in ('onnx', 'onnxruntime') if name in sys.modules])"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout == "[]\n"
