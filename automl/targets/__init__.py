"""Targets: a device with its runtimes, asked for formats, latencies and outputs of real files.

May import the core values (errors, outcome) and, inside functions, torch, onnx, the runtimes and what restores packed
files; knows no search, no storage, no study. OpenVINO is an optional second runtime on a CPU: nothing needs it. The
decision behind it: a latency is a ratio to a control measured in the same breath, so the timing protocol (`timing`)
is apart from any device and takes callables, and a target is thin around it. One timing lane a device (`lanes`), held
by locks that die with their process.
"""

from automl.targets.opening import cuda_obstacle, default_lane_folder, open_target
from automl.targets.session import runtime_obstacles
from automl.targets.target import (
    Contestant,
    Control,
    Format,
    RemoteTarget,
    Runner,
    Target,
    control_kind,
    runtime_of_control,
)

__all__ = [
    "Contestant",
    "Control",
    "Format",
    "RemoteTarget",
    "Runner",
    "Target",
    "control_kind",
    "cuda_obstacle",
    "default_lane_folder",
    "open_target",
    "runtime_obstacles",
    "runtime_of_control",
]
