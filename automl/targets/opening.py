"""Open a target by its name."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from automl import plugins
from automl.errors import Fault, InputError, input_error
from automl.targets.cpu import CpuTarget
from automl.targets.fingerprint import describe_cpu
from automl.targets.lanes import core_plan
from automl.targets.recorded import open_recording
from automl.targets.session import RUNTIMES
from automl.targets.target import ONNX_RUNTIME, Target
from automl.targets.timing import TimingRules

RECORDED = "recorded:"


def open_target(
    name: str, *, batch: int, channel_multiple: int, lane_folder: Path | None = None,
    runtimes: Sequence[str] = (ONNX_RUNTIME,),
) -> Target:  # fmt: skip
    """Return the target called "cpu", "cuda", "recorded:FILE", or as a plugin calls it: "NAME" or "NAME:ARGUMENT".

    Args:
        name: one of those.
        batch: images in one call of a file.
        channel_multiple: what every width must be a multiple of.
        lane_folder: where the locks of this machine lie; None means one place for all studies of this user.
        runtimes: that may serve files on a CPU; a recording has those of its controls.

    Raises:
        InputError: naming every fault: an unknown name, a batch or multiple below 1, a runtime that is unknown or not
            installed, no GPU, a bad recording, a plugin that cannot be used.
    """
    faults = [
        Fault(f"target.{key}", "a whole number of at least 1", str(value))
        for key, value in (("batch", batch), ("channel_multiple", channel_multiple))
        if value < 1
    ]
    faults += _runtime_faults(runtimes)
    if faults:
        raise InputError(faults)
    if name.startswith(RECORDED):
        return open_recording(Path(name.removeprefix(RECORDED)), channel_multiple=channel_multiple)
    folder = default_lane_folder() if lane_folder is None else lane_folder
    openers: dict[str, Callable[[], Target]] = {
        "cpu": lambda: _open_cpu(batch, channel_multiple, folder, runtimes),
        "cuda": _refuse_cuda,
    }
    if name in openers:
        return openers[name]()
    settings = {"batch": batch, "channel_multiple": channel_multiple, "lane_folder": folder, "runtimes": runtimes}
    return _open_foreign(name, (*openers, f"{RECORDED}FILE"), settings)


def default_lane_folder() -> Path:
    """Return the folder of this machine's locks, the same for every study of this user."""
    return Path(tempfile.gettempdir()) / f"automl-lanes-{os.getuid()}"


def cuda_obstacle() -> str | None:
    """Return why no CUDA device can be used here, or None where one can."""
    import torch

    if torch.version.cuda is None:
        return f"torch {torch.__version__} was built without CUDA"
    if not torch.cuda.is_available() or torch.cuda.device_count() == 0:
        return "no NVIDIA GPU is visible to torch"
    return None


def _runtime_faults(runtimes: Sequence[str]) -> list[Fault]:
    """Return what keeps these runtimes from serving here; the default one is part of every installation."""
    where, known = "target.runtimes", f"one or more different ones of {', '.join(RUNTIMES)}"
    if not runtimes or len(set(runtimes)) < len(runtimes) or not set(runtimes) <= set(RUNTIMES):
        return [Fault(where, known, ", ".join(runtimes) if runtimes else "none")]
    obstacles = {name: RUNTIMES[name].obstacle() for name in runtimes if name != ONNX_RUNTIME}
    return [Fault(where, f"runtimes that this machine has, such as {ONNX_RUNTIME}", f"{name}, which is {reason}")
            for name, reason in obstacles.items() if reason is not None]  # fmt: skip


def _open_cpu(batch: int, channel_multiple: int, lane_folder: Path, runtimes: Sequence[str]) -> CpuTarget:
    served_by = tuple(name for name in RUNTIMES if name in runtimes)
    return CpuTarget(
        channel_multiple=channel_multiple,
        batch=batch,
        fingerprint=describe_cpu(runtimes=served_by).fingerprint(),
        lane_folder=lane_folder,
        plan=core_plan(),
        rules=TimingRules(),
        served_by=served_by,
    )


def _open_foreign(name: str, built_in: Sequence[str], settings: Mapping[str, Any]) -> Target:
    """Return the target of a plugin, held against what a target has."""
    plugin, _, argument = name.partition(":")
    known, where = plugins.names(plugins.TARGETS, built_in), f"target.name {name}"
    if plugin not in known:
        raise input_error("target.name", f"one of {', '.join([*built_in, *known])}", repr(name))
    target = plugins.ask(plugins.load(plugins.TARGETS, plugin, built_in), where, argument, **settings)
    lacking = [member for member in vars(Target) if not member.startswith("_") and not hasattr(target, member)]
    if lacking:
        got = f"a {type(target).__name__} without {', '.join(lacking)}"
        raise input_error(where, "a plugin that returns a Target", got, "Mend the plugin.")
    return target  # type: ignore[no-any-return]


def _refuse_cuda() -> Target:
    obstacle = cuda_obstacle()
    got = "a machine whose GPU this release cannot time yet" if obstacle is None else f"none: {obstacle}"
    raise input_error("target.name cuda", "a target with a CUDA GPU", got, "Set target.name to cpu.")
