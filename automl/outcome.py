"""What an evaluation returns: objectives, measurements with their provenance, and the four outcomes.

An infeasible or stopped candidate is an outcome with a reason, never an exception. Every measurement says how it
came about (measured, recorded, predicted), so that kinds can never mix unseen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["measured", "recorded", "predicted"]
Direction = Literal["minimize", "maximize"]


@dataclass(frozen=True)
class Objective:
    """A named quantity and the direction in which it is better."""

    name: str
    direction: Direction
    unit: str

    def loss(self, value: float) -> float:
        """Return the value as a loss: smaller is better."""
        return -value if self.direction == "maximize" else value


OBJECTIVES: Mapping[str, Objective] = {
    objective.name: objective
    for objective in (
        Objective("accuracy", "maximize", "share"),
        Objective("balanced_accuracy", "maximize", "share"),
        Objective("latency_ms", "minimize", "ms"),
        Objective("size_bytes", "minimize", "bytes"),
    )
}


@dataclass(frozen=True)
class Measurement:
    """One figure with where it came from.

    `low` and `high` bound the 95 % interval (equal to `value` where the figure is exact); `samples` counts what
    it was computed from (images, rounds); `artefact` is the SHA-256 of the file that it is the figure of.
    """

    name: str
    value: float
    kind: Kind
    protocol: str
    low: float
    high: float
    samples: int
    device: str
    artefact: str


@dataclass(frozen=True)
class Ratio:
    """A median ratio of two latencies with its 95 % interval; below 1 means the first one is faster."""

    value: float
    low: float
    high: float

    def excludes_one(self) -> bool:
        """Tell whether the two are really different."""
        return self.high < 1.0 or self.low > 1.0


@dataclass(frozen=True)
class Timing:
    """One interleaved timing session of a file against a control of its kind, and against its twin if it has one.

    `samples_ms` holds, for each contestant ("candidate", "control", "control_again" (the A/A pair), "twin"), one
    figure a round: the fastest of the protocol's repeats in that round. `latency_ms` is
    `control_ratio.value x control_reference_ms`.
    """

    moment: str  # "untrained", "trained", "finalist" or "verify"
    kind: Kind
    protocol: str
    device: str
    artefact: str
    control: str  # the control's kind: "fp32" or "int8"
    control_reference_ms: float
    control_ratio: Ratio
    twin_ratio: Ratio | None
    aa_ratio: Ratio | None
    samples_ms: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def latency_ms(self) -> float:
        """Return the milliseconds that limits, axes and fronts use."""
        return self.control_ratio.value * self.control_reference_ms


@dataclass(frozen=True)
class Artefact:
    """A content-addressed file: `path` is relative to the run folder."""

    sha256: str
    path: str
    size_bytes: int


@dataclass(frozen=True)
class Epoch:
    """One line of a learning curve. `phase` is "dense" before pruning and "pruned" after it."""

    phase: str
    epoch: int
    loss: float
    gradient_norm: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class Gain:
    """Does compression pay against the uncompressed twin on this target?

    `verdict` is "faster", "smaller", "no gain on this target", or "uncompressed" for a candidate without compression.
    """

    verdict: str
    twin_ratio: Ratio | None
    size_ratio: float | None  # bytes of the candidate over bytes of the twin

    @property
    def pays(self) -> bool:
        """Tell whether the candidate may stand on the front."""
        return self.verdict != "no gain on this target"


@dataclass(frozen=True)
class Measured:
    """A candidate that was trained, exported, scored and timed.

    `stable` is False where the two timings of one network stay apart by more than 5 %: off the front.
    """

    measurements: tuple[Measurement, ...]
    artefact: Artefact
    gain: Gain
    timings: tuple[Timing, ...]
    curve: tuple[Epoch, ...]
    seconds: Mapping[str, float]
    stable: bool = True
    notes: tuple[str, ...] = ()

    def value(self, name: str) -> float:
        """Return the value of the named measurement.

        Raises:
            KeyError: where there is no such measurement.
        """
        return {measurement.name: measurement.value for measurement in self.measurements}[name]


@dataclass(frozen=True)
class Infeasible:
    """A candidate over a limit before training. `violations` maps a limit to (value, bound)."""

    reason: str
    violations: Mapping[str, tuple[float, float]]
    measurements: tuple[Measurement, ...]
    timings: tuple[Timing, ...]
    seconds: Mapping[str, float]


@dataclass(frozen=True)
class Stopped:
    """A candidate whose training was ended early by the search."""

    reason: str
    seconds: Mapping[str, float]


@dataclass(frozen=True)
class RungResult:
    """What a candidate is worth below the top rung: the figures of its partly trained file. No outcome: it may go on.

    `rung` counts from 0, the lowest. `measurements` have the names of a measured outcome's; the accuracy is that of the
    partly trained file, the latency is final. `checkpoint` holds the weights from which the next rung goes on, None
    where it begins anew.
    """

    rung: int
    measurements: tuple[Measurement, ...]
    timings: tuple[Timing, ...]
    curve: tuple[Epoch, ...]
    seconds: Mapping[str, float]
    checkpoint: Artefact | None

    def value(self, name: str) -> float:
        """Return the value of the named measurement.

        Raises:
            KeyError: where there is no such measurement.
        """
        return {measurement.name: measurement.value for measurement in self.measurements}[name]


@dataclass(frozen=True)
class Failed:
    """A candidate that crashed, diverged, or killed its worker."""

    reason: str
    traceback: str
    seconds: Mapping[str, float] = field(default_factory=dict)


Outcome = Measured | Infeasible | Stopped | Failed
STATES: Mapping[type, str] = {Measured: "measured", Infeasible: "infeasible", Stopped: "stopped", Failed: "failed"}


def whole_seconds(seconds: Mapping[str, float]) -> float:
    """Return the sum of an evaluation's seconds by stage; `training_core` is a part of the stage `train`."""
    return sum(value for stage, value in seconds.items() if stage != "training_core")


def state_of(outcome: Outcome) -> str:
    """Return the outcome's state as one word."""
    return STATES[type(outcome)]
