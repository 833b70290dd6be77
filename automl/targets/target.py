"""What a target is: a device with its runtimes, and the values that pass between it and the evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from automl.outcome import Kind, Timing

ONNX_RUNTIME, OPENVINO = "onnxruntime", "openvino"
Runner = Callable[[NDArray[Any]], NDArray[np.float32]]
"""Raw samples (uint8 pixels n x H x W[ x C], or int64 ids n x length) -> logits (n x classes), at the static batch."""


@dataclass(frozen=True)
class Format:
    """A pair of bit-widths in a runtime of a target.

    `benefit` is "baseline", "size", "speed", "speed and size" or "none"; `reason` says why the pair is (not)
    executable.
    """

    weight_bits: int
    activation_bits: int
    executable: bool
    benefit: str
    reason: str
    runtime: str = ONNX_RUNTIME


@dataclass(frozen=True)
class Contestant:
    """A file that is timed: where it lies, its SHA-256, the key of the graph that it deploys, and what runs it."""

    path: Path
    sha256: str
    shape_key: str
    runtime: str = ONNX_RUNTIME


@dataclass(frozen=True)
class Control:
    """A file that latencies are held against, in `runtime`; `kind` is what `control_kind` calls it.

    `reference_ms` is fixed once a study.
    """

    kind: str
    path: Path
    sha256: str
    reference_ms: float
    runtime: str = ONNX_RUNTIME


def control_kind(runtime: str, precision: str) -> str:
    """Return what the control of a precision ("fp32" or "int8") is called: "int8", or "openvino int8"."""
    return precision if runtime == ONNX_RUNTIME else f"{runtime} {precision}"


def runtime_of_control(kind: str) -> str:
    """Return the runtime of a kind of control."""
    runtime, _, precision = kind.rpartition(" ")
    return runtime if runtime and precision else ONNX_RUNTIME


class Target(Protocol):
    """A device and its runtimes. Implementations are picklable and hold no open file or session."""

    @property
    def name(self) -> str:
        """Return the name by which the target is opened."""
        ...

    @property
    def kind(self) -> Kind:
        """Return the kind of the latencies that it answers."""
        ...

    @property
    def fingerprint(self) -> str:
        """Return what latencies depend on besides the file, as one line; equal lines mean comparable latencies."""
        ...

    @property
    def channel_multiple(self) -> int:
        """Return the multiple that every width must keep to."""
        ...

    def runtimes(self) -> tuple[str, ...]:
        """Return the runtimes that files can be served by, the default one first where it is among them."""
        ...

    def formats(self) -> tuple[Format, ...]:
        """Return every pair of bit-widths in each of its runtimes with whether it can be executed, and why."""
        ...

    def reference_ms(self, control: Path, kind: str, beside: Control | None = None) -> float:
        """Return the milliseconds of the control file of this kind, measured with care.

        Where `beside` is given, they are the ratio to that control, measured head to head, times its reference, so
        that the time of day does not order the runtimes.
        """
        ...

    def compare(self, subject: Contestant, control: Control, twin: Contestant | None, moment: str) -> Timing:
        """Time the subject against the control and, where given, head to head against its twin.

        Raises:
            TargetError: where a file is missing, differs from its hash, or cannot be run.
        """
        ...

    def load(self, path: Path, runtime: str = ONNX_RUNTIME) -> Runner:
        """Return a function that runs the file, plain or packed, on raw samples.

        Raises:
            TargetError: where the file cannot be loaded, or the runtime is not there.
        """
        ...


@runtime_checkable
class RemoteTarget(Target, Protocol):
    """A target whose device is on another machine: what this process would find out by itself is asked there."""

    def saturates(self) -> bool:
        """Tell whether the U8S8 kernels of the device lose large sums."""
        ...

    def peak_memory(self, path: Path, runtime: str) -> int | None:
        """Return the bytes that loading and running the file costs on the device, None where it does not tell.

        Raises:
            TargetError: where the file cannot be run.
        """
        ...
