"""What a target is: a device with its runtime, and the values that pass between it and the evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from automl.outcome import Kind, Timing

Runner = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Raw pixels (uint8, n x H x W or n x H x W x C) -> logits (n x classes), at the file's own static batch."""


@dataclass(frozen=True)
class Format:
    """A pair of bit-widths on a target.

    `benefit` is "baseline", "size", "speed and size" or "none"; `reason` says why the pair is (not) executable.
    """

    weight_bits: int
    activation_bits: int
    executable: bool
    benefit: str
    reason: str


@dataclass(frozen=True)
class Contestant:
    """A file that is timed: where it lies, its SHA-256, and the key of the graph that it deploys."""

    path: Path
    sha256: str
    shape_key: str


@dataclass(frozen=True)
class Control:
    """A file that latencies are held against. `kind` is "fp32" or "int8"; `reference_ms` is fixed once a study."""

    kind: str
    path: Path
    sha256: str
    reference_ms: float


class Target(Protocol):
    """A device and its runtime. Implementations are picklable and hold no open file or session."""

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

    def formats(self) -> tuple[Format, ...]:
        """Return every pair of bit-widths with whether it can be executed, and why."""
        ...

    def reference_ms(self, control: Path, kind: str) -> float:
        """Return the milliseconds of the control file of this kind, measured with care."""
        ...

    def compare(self, subject: Contestant, control: Control, twin: Contestant | None, moment: str) -> Timing:
        """Time the subject against the control and, where given, head to head against its twin.

        Raises:
            TargetError: where a file is missing, differs from its hash, or cannot be run.
        """
        ...

    def load(self, path: Path) -> Runner:
        """Return a function that runs the file on raw pixels.

        Raises:
            TargetError: where the file cannot be loaded.
        """
        ...
