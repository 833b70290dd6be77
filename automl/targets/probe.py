"""A quick look at a CPU: small measured kernels, and facts about its integer arithmetic.

It orders and labels formats and channel multiples for a person; it never narrows a search.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from automl.outcome import Ratio
from automl.targets.cpu import DEVICE, CpuTarget
from automl.targets.fingerprint import Device, describe_cpu
from automl.targets.kernels import Kernel, saturation_model, write_kernel
from automl.targets.lanes import core_plan
from automl.targets.opening import default_lane_folder
from automl.targets.session import find_runtime
from automl.targets.target import ONNX_RUNTIME, Contestant, Control
from automl.targets.timing import TimingRules

FLOAT = (32, 32)
INTEGER = (8, 8)
STORED = (4, 32)


@dataclass(frozen=True)
class KernelTiming:
    """One measured kernel in a runtime: `latency_ms` of its file, and its ratio to the same kernel in floating point.

    What it is held against is run by ONNX Runtime, whatever runs the kernel itself.
    """

    kernel: Kernel
    latency_ms: float
    to_fp32: Ratio
    size_bytes: int
    fp32_size_bytes: int
    runtime: str = ONNX_RUNTIME


@dataclass(frozen=True)
class ProbeReport:
    """What a probe found. `saturates`: int8 weights beyond 64 give wrong sums here, so 7 bits must do."""

    device: Device
    saturates: bool
    timings: tuple[KernelTiming, ...]

    def benefit(
        self, operation: str, channels: int, weight_bits: int, activation_bits: int, runtime: str = ONNX_RUNTIME
    ) -> Ratio | None:
        """Return the measured ratio to floating point, None where the probe did not measure that kernel."""
        wanted = (operation, channels, weight_bits, activation_bits, runtime)
        for timing in self.timings:
            kernel = timing.kernel
            found = (kernel.operation, kernel.channels, kernel.weight_bits, kernel.activation_bits, timing.runtime)
            if found == wanted:
                return timing.to_fp32
        return None


def probe_cpu(folder: Path, lane_folder: Path | None = None, runtimes: Sequence[str] = (ONNX_RUNTIME,)) -> ProbeReport:
    """Measure small kernels in these runtimes on this machine and leave their files in `folder`.

    It takes some ten seconds for ONNX Runtime, and some five more for OpenVINO.
    """
    folder.mkdir(parents=True, exist_ok=True)
    device = describe_cpu(runtimes=runtimes)
    target = CpuTarget(
        channel_multiple=1,
        batch=1,
        fingerprint=device.fingerprint(),
        lane_folder=default_lane_folder() if lane_folder is None else lane_folder,
        plan=core_plan(),
        rules=TimingRules(min_sittings=2, max_sittings=2, max_rounds=10, sitting_seconds=0.15),
        name=DEVICE,
        served_by=tuple(runtimes),
    )
    timings = tuple(
        time_kernel(kernel, target, folder, runtime) for runtime in runtimes for kernel in probe_kernels(runtime)
    )
    return ProbeReport(device, u8s8_saturates(runtimes), timings)


def probe_kernels(runtime: str = ONNX_RUNTIME) -> tuple[Kernel, ...]:
    """Return the kernels that a probe measures in a runtime: the whole grid in the first, its corners in a second."""
    widths = (8, 15, 16, 24, 32) if runtime == ONNX_RUNTIME else (16, 32)
    wanted = [("conv_3x3", width, form) for width in widths for form in (FLOAT, INTEGER)]
    wanted += [(operation, 32, form) for operation in ("depthwise_3x3", "conv_1x1") for form in (FLOAT, INTEGER)]
    wanted += [("linear", 256, form) for form in (FLOAT, INTEGER)]
    if runtime == ONNX_RUNTIME:
        wanted += [("linear", 256, STORED), ("conv_3x3", 32, STORED)]
    return tuple(Kernel(operation, width, 14, 4, *form) for operation, width, form in wanted)


def time_kernel(kernel: Kernel, target: CpuTarget, folder: Path, runtime: str = ONNX_RUNTIME) -> KernelTiming:
    """Write the kernel and its floating-point control into `folder` and time them head to head."""
    plain = Kernel(kernel.operation, kernel.channels, kernel.size, kernel.layers, *FLOAT)
    subject, control = _write(kernel, folder, runtime), _write(plain, folder, ONNX_RUNTIME)
    reference = Control("fp32", control.path, control.sha256, 1.0)
    timing = target.compare(subject, reference, None, "probe")
    return KernelTiming(
        kernel=kernel,
        latency_ms=float(np.median(timing.samples_ms["candidate"])),
        to_fp32=timing.control_ratio,
        size_bytes=subject.path.stat().st_size,
        fp32_size_bytes=control.path.stat().st_size,
        runtime=runtime,
    )


def u8s8_saturates(runtimes: Sequence[str] = (ONNX_RUNTIME,)) -> bool:
    """Tell whether the U8S8 kernels of any of these runtimes lose large sums on this CPU.

    Without VNNI they add pairs of products in 16 bits, which overflows where weights exceed 64 in magnitude. The
    sum of a convolution of the largest values is known, so it is computed and compared.
    """
    return any(saturation_share(weight=127, runtime=runtime) < 0.99 for runtime in runtimes)


def saturation_share(weight: int, channels: int = 16, runtime: str = ONNX_RUNTIME) -> float:
    """Return the share of the exact sum that a U8S8 convolution of 255 by `weight` gives here; 1 is right."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "saturation.onnx"
        path.write_bytes(saturation_model(channels, weight).SerializeToString())
        output = find_runtime(runtime).open(path).run(np.full((1, channels, 4, 4), 255, np.float32))
    return float(np.mean(output)) / (255 * weight * channels)


def _write(kernel: Kernel, folder: Path, runtime: str) -> Contestant:
    name = f"{kernel.operation}-{kernel.channels}-w{kernel.weight_bits}a{kernel.activation_bits}.onnx"
    path = write_kernel(kernel, folder / name)
    return Contestant(path, hashlib.sha256(path.read_bytes()).hexdigest(), name, runtime)
