"""The probe: known answers of integer sums, and a report of real files."""

from __future__ import annotations

from pathlib import Path

import pytest

from automl.targets import runtime_obstacles
from automl.targets.cpu import CpuTarget
from automl.targets.fingerprint import describe_cpu
from automl.targets.kernels import Kernel
from automl.targets.probe import ProbeReport, probe_kernels, saturation_share, time_kernel, u8s8_saturates

INSTRUCTIONS_THAT_ADD_IN_32_BITS = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"}


@pytest.mark.parametrize("weight", [1, 63, 64])
def test_saturation_share_is_exact_with_weights_of_seven_bits(weight: int) -> None:
    """64 x 255 x 2 is the largest pair of products that fits in 16 bits, on any processor."""
    assert saturation_share(weight) == pytest.approx(1.0, abs=0.005)


def test_u8s8_saturates_agrees_with_the_processors_instructions() -> None:
    exact = bool(INSTRUCTIONS_THAT_ADD_IN_32_BITS & set(describe_cpu().isa))
    if describe_cpu().machine != "x86_64":
        pytest.skip("known for x86 only")
    assert u8s8_saturates() is not exact


def test_time_kernel_measures_the_file_against_floating_point(target: CpuTarget, tmp_path: Path) -> None:
    timing = time_kernel(Kernel("conv_3x3", 32, 14, 2, 4, 32), target, tmp_path)
    assert timing.size_bytes < 0.3 * timing.fp32_size_bytes
    assert timing.latency_ms > 0
    assert timing.to_fp32.low <= timing.to_fp32.value <= timing.to_fp32.high


def test_benefit_finds_what_was_measured_and_nothing_else(target: CpuTarget, tmp_path: Path) -> None:
    timing = time_kernel(Kernel("conv_1x1", 16, 14, 1, 8, 8), target, tmp_path)
    report = ProbeReport(describe_cpu(), saturates=True, timings=(timing,))
    assert report.benefit("conv_1x1", 16, 8, 8) == timing.to_fp32
    assert report.benefit("conv_1x1", 32, 8, 8) is None


@pytest.mark.skipif(runtime_obstacles()["openvino"] is not None, reason="OpenVINO is not installed")
def test_time_kernel_in_a_second_runtime_is_held_against_the_first(target: CpuTarget, tmp_path: Path) -> None:
    timing = time_kernel(Kernel("conv_1x1", 16, 14, 1, 8, 8), target, tmp_path, "openvino")
    report = ProbeReport(describe_cpu(), saturates=True, timings=(timing,))
    assert report.benefit("conv_1x1", 16, 8, 8, "openvino") == timing.to_fp32
    assert report.benefit("conv_1x1", 16, 8, 8) is None


def test_probe_kernels_of_a_second_runtime_are_some_of_the_first() -> None:
    assert set(probe_kernels("openvino")) < set(probe_kernels())
    assert {(kernel.weight_bits, kernel.activation_bits) for kernel in probe_kernels("openvino")} == {(32, 32), (8, 8)}


def test_probe_kernels_hold_a_float_control_for_each_width() -> None:
    kernels = probe_kernels()
    assert {kernel.channels for kernel in kernels if kernel.operation == "conv_3x3"} == {8, 15, 16, 24, 32}
    assert len(set(kernels)) == len(kernels)
