"""What the speed of a file depends on besides the file: the processor, its instructions, the runtimes, the system.

A study that lets OpenVINO serve is another device than one that does not: the fingerprint names the version of every
runtime that may run a file, so that no figure of one is taken for a figure of the other.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

ISA_FLAGS = (
    "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "avx_vnni", "avx_vnni_int8",
    "amx_int8", "amx_bf16", "asimd", "asimddp", "i8mm", "bf16", "sve",
)  # fmt: skip


@dataclass(frozen=True)
class Device:
    """The facts of a CPU with its runtime. `isa` holds the instruction sets that matter to kernels, sorted."""

    model: str
    machine: str
    cores: int
    isa: tuple[str, ...]
    runtime: str
    system: str

    def fingerprint(self) -> str:
        """Return the facts as one line; latencies are comparable only where it is the same."""
        isa = "+".join(self.isa) if self.isa else "no known vector instructions"
        return f"{self.model}; {self.machine}; {self.cores} cores; {isa}; {self.runtime}; {self.system}"


def describe_cpu(cpuinfo: Path = Path("/proc/cpuinfo"), runtimes: Sequence[str] = ("onnxruntime",)) -> Device:
    """Return the facts of this machine's CPU and of the installed runtimes of these names."""
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    cores = os.cpu_count()
    return Device(
        model=_cpu_model(text),
        machine=platform.machine(),
        cores=1 if cores is None else cores,
        isa=_isa_flags(text),
        runtime=", ".join(f"{name} {_version(name)}" for name in runtimes),
        system=f"{platform.system()} {platform.release().split('.')[0]}",
    )


def _cpu_model(cpuinfo: str) -> str:
    """Return the processor's name with its family and model, since hypervisors shorten the name alone."""
    fields = _first_processor(cpuinfo)
    name = fields.get("model name", fields.get("CPU part", platform.processor() or "unknown CPU"))
    numbers = [f"{key.removeprefix('cpu ')} {fields[key]}" for key in ("cpu family", "model") if key in fields]
    return f"{name} ({', '.join(numbers)})" if numbers else name


def _isa_flags(cpuinfo: str) -> tuple[str, ...]:
    fields = _first_processor(cpuinfo)
    flags = set(fields.get("flags", fields.get("Features", "")).split())
    return tuple(sorted(flags.intersection(ISA_FLAGS)))


def _first_processor(cpuinfo: str) -> dict[str, str]:
    lines = cpuinfo.split("\n\n", maxsplit=1)[0].splitlines()
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
