"""The CPU target: real files in ONNX Runtime or OpenVINO, one thread, timed in the machine's one lane."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from automl.errors import TargetError
from automl.outcome import Kind, Timing
from automl.targets.formats import cpu_formats
from automl.targets.lanes import CorePlan, timing_lane
from automl.targets.session import open_runner, prepare_call
from automl.targets.target import ONNX_RUNTIME, Contestant, Control, Format, Runner, runtime_of_control
from automl.targets.timing import (
    CANDIDATE,
    CONTROL,
    CONTROL_AGAIN,
    TWIN,
    TimingRules,
    TimingSession,
    median_ms,
    time_contestants,
)

DEVICE = "cpu"


@dataclass(frozen=True)
class CpuTarget:
    """This machine's CPU with the runtimes `served_by`.

    `plan` is taken before any lane or slot narrows the process; `fingerprint` names the versions of the runtimes.
    """

    channel_multiple: int
    batch: int
    fingerprint: str
    lane_folder: Path
    plan: CorePlan
    rules: TimingRules
    name: str = DEVICE
    kind: Kind = "measured"
    served_by: tuple[str, ...] = (ONNX_RUNTIME,)

    def runtimes(self) -> tuple[str, ...]:
        """Return the runtimes that files can be served by."""
        return self.served_by

    def formats(self) -> tuple[Format, ...]:
        """Return every pair of bit-widths in each runtime with whether that runtime executes it, and why."""
        return tuple(form for runtime in self.served_by for form in cpu_formats(runtime))

    def reference_ms(self, control: Path, kind: str, beside: Control | None = None) -> float:
        """Return the control's milliseconds over several sittings, by itself or held against another control.

        Raises:
            TargetError: where a file cannot be run.
        """
        runtime = runtime_of_control(kind)
        if beside is not None:
            subject = Contestant(control, "", kind, runtime)
            session = self._hold({CANDIDATE: subject, CONTROL: beside, CONTROL_AGAIN: beside}, f"reference {kind}")
            return session.control_ratio().value * beside.reference_ms
        opener = prepare_call(control, runtime)
        with timing_lane(self.lane_folder, DEVICE, plan=self.plan):
            return median_ms(opener, rules=self.rules)

    def compare(self, subject: Contestant, control: Control, twin: Contestant | None, moment: str) -> Timing:
        """Time the subject against the control's A/A pair and, where given, its twin, each in its own runtime.

        Raises:
            TargetError: where a file is missing, differs from its hash, or cannot be run.
        """
        contestants: dict[str, Contestant | Control] = {CANDIDATE: subject, CONTROL: control, CONTROL_AGAIN: control}
        if twin is not None:
            contestants[TWIN] = twin
        for contestant in contestants.values():
            _check_file(contestant.path, contestant.sha256)
        session = self._hold(contestants, f"{subject.sha256} {moment}")
        return Timing(
            moment=moment,
            kind=self.kind,
            protocol=session.protocol,
            device=self.fingerprint,
            artefact=subject.sha256,
            control=control.kind,
            control_reference_ms=control.reference_ms,
            control_ratio=session.control_ratio(),
            twin_ratio=session.twin_ratio(),
            aa_ratio=session.aa_ratio(),
            samples_ms=session.samples_ms,
        )

    def load(self, path: Path, runtime: str = ONNX_RUNTIME) -> Runner:
        """Return a function that runs the file, plain or packed, on raw samples, at the file's static batch.

        Raises:
            TargetError: where the file cannot be loaded, or the runtime is not there.
        """
        return open_runner(path, runtime)

    def _hold(self, contestants: Mapping[str, Contestant | Control], seed: str) -> TimingSession:
        """Time the contestants in the lane, which nobody holds while a runtime compiles."""
        openers = {name: prepare_call(one.path, one.runtime) for name, one in contestants.items()}
        with timing_lane(self.lane_folder, DEVICE, plan=self.plan):
            return time_contestants(openers, seed=seed, rules=self.rules)


def _check_file(path: Path, sha256: str) -> None:
    if not path.is_file():
        raise TargetError(f"{path} must be the file to time, but there is no such file. Export it again.")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise TargetError(f"{path} must have the SHA-256 {sha256}, but it has {found}. Export it again.")
