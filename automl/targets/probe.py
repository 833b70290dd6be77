"""A quick look at a CPU: small measured kernels, and facts about its integer arithmetic.

It orders and labels formats and channel multiples for a person; it never narrows a search.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from automl.outcome import Ratio
from automl.targets.cpu import DEVICE, CpuTarget
from automl.targets.fingerprint import Device, describe_cpu
from automl.targets.kernels import Kernel, saturation_model, write_kernel
from automl.targets.lanes import core_plan
from automl.targets.opening import default_lane_folder
from automl.targets.target import Contestant, Control
from automl.targets.timing import TimingRules

FLOAT = (32, 32)
INTEGER = (8, 8)
STORED = (4, 32)


@dataclass(frozen=True)
class KernelTiming:
    """One measured kernel: `latency_ms` of its file, and its ratio to the same kernel in floating point."""

    kernel: Kernel
    latency_ms: float
    to_fp32: Ratio
    size_bytes: int
    fp32_size_bytes: int


@dataclass(frozen=True)
class ProbeReport:
    """What a probe found. `saturates`: int8 weights beyond 64 give wrong sums here, so 7 bits must do."""

    device: Device
    saturates: bool
    timings: tuple[KernelTiming, ...]

    def benefit(self, operation: str, channels: int, weight_bits: int, activation_bits: int) -> Ratio | None:
        """Return the measured ratio to floating point, None where the probe did not measure that kernel."""
        wanted = (operation, channels, weight_bits, activation_bits)
        for timing in self.timings:
            kernel = timing.kernel
            if (kernel.operation, kernel.channels, kernel.weight_bits, kernel.activation_bits) == wanted:
                return timing.to_fp32
        return None


def probe_cpu(folder: Path, lane_folder: Path | None = None) -> ProbeReport:
    """Measure small kernels on this machine; takes some ten seconds and leaves their files in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    target = CpuTarget(
        channel_multiple=1,
        batch=1,
        fingerprint=describe_cpu().fingerprint(),
        lane_folder=default_lane_folder() if lane_folder is None else lane_folder,
        plan=core_plan(),
        rules=TimingRules(min_sittings=2, max_sittings=2, max_rounds=10, sitting_seconds=0.15),
        name=DEVICE,
    )
    timings = tuple(time_kernel(kernel, target, folder) for kernel in probe_kernels())
    return ProbeReport(describe_cpu(), u8s8_saturates(), timings)


def probe_kernels() -> tuple[Kernel, ...]:
    """Return the kernels that a probe measures."""
    wanted = [("conv_3x3", width, form) for width in (8, 15, 16, 24, 32) for form in (FLOAT, INTEGER)]
    wanted += [(operation, 32, form) for operation in ("depthwise_3x3", "conv_1x1") for form in (FLOAT, INTEGER)]
    wanted += [("linear", 256, form) for form in (FLOAT, INTEGER, STORED)] + [("conv_3x3", 32, STORED)]
    return tuple(Kernel(operation, width, 14, 4, *form) for operation, width, form in wanted)


def time_kernel(kernel: Kernel, target: CpuTarget, folder: Path) -> KernelTiming:
    """Write the kernel and its floating-point control into `folder` and time them head to head."""
    plain = Kernel(kernel.operation, kernel.channels, kernel.size, kernel.layers, *FLOAT)
    subject, control = (_write(each, folder) for each in (kernel, plain))
    reference = Control("fp32", control.path, control.sha256, 1.0)
    timing = target.compare(subject, reference, None, "probe")
    return KernelTiming(
        kernel=kernel,
        latency_ms=float(np.median(timing.samples_ms["candidate"])),
        to_fp32=timing.control_ratio,
        size_bytes=subject.path.stat().st_size,
        fp32_size_bytes=control.path.stat().st_size,
    )


def u8s8_saturates() -> bool:
    """Tell whether ONNX Runtime's U8S8 kernels lose large sums on this CPU.

    Without VNNI they add pairs of products in 16 bits, which overflows where weights exceed 64 in magnitude. The
    sum of a convolution of the largest values is known, so it is computed and compared.
    """
    return saturation_share(weight=127) < 0.99


def saturation_share(weight: int, channels: int = 16) -> float:
    """Return the share of the exact sum that a U8S8 convolution of 255 by `weight` gives here; 1 is right."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = saturation_model(channels, weight).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    output = session.run(None, {"x": np.full((1, channels, 4, 4), 255, np.float32)})[0]
    return float(np.mean(output)) / (255 * weight * channels)


def _write(kernel: Kernel, folder: Path) -> Contestant:
    name = f"{kernel.operation}-{kernel.channels}-w{kernel.weight_bits}a{kernel.activation_bits}.onnx"
    path = write_kernel(kernel, folder / name)
    return Contestant(path, hashlib.sha256(path.read_bytes()).hexdigest(), name)
