"""The CPU target: real files in ONNX Runtime's CPU provider, one thread, timed in the machine's one lane."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from automl.errors import TargetError
from automl.outcome import Kind, Timing
from automl.targets.formats import onnxruntime_cpu_formats
from automl.targets.lanes import CorePlan, timing_lane
from automl.targets.session import open_call, open_runner
from automl.targets.target import Contestant, Control, Format, Runner
from automl.targets.timing import CANDIDATE, CONTROL, CONTROL_AGAIN, TWIN, TimingRules, median_ms, time_contestants

DEVICE = "cpu"


@dataclass(frozen=True)
class CpuTarget:
    """This machine's CPU with ONNX Runtime. `plan` is taken before any lane or slot narrows the process."""

    channel_multiple: int
    batch: int
    fingerprint: str
    lane_folder: Path
    plan: CorePlan
    rules: TimingRules
    name: str = DEVICE
    kind: Kind = "measured"

    def formats(self) -> tuple[Format, ...]:
        """Return every pair of bit-widths with whether ONNX Runtime executes it, and why."""
        return onnxruntime_cpu_formats()

    def reference_ms(self, control: Path, kind: str) -> float:  # noqa: ARG002 the protocol's
        """Return the control's median milliseconds over several sittings, whatever its kind."""
        with timing_lane(self.lane_folder, DEVICE, plan=self.plan):
            return median_ms(partial(open_call, control), rules=self.rules)

    def compare(self, subject: Contestant, control: Control, twin: Contestant | None, moment: str) -> Timing:
        """Time the subject against the control's A/A pair and, where given, its twin, in one session.

        Raises:
            TargetError: where a file is missing, differs from its hash, or cannot be run.
        """
        contestants: dict[str, Contestant | Control] = {CANDIDATE: subject, CONTROL: control, CONTROL_AGAIN: control}
        if twin is not None:
            contestants[TWIN] = twin
        for contestant in contestants.values():
            _check_file(contestant.path, contestant.sha256)
        openers = {name: partial(open_call, contestant.path) for name, contestant in contestants.items()}
        with timing_lane(self.lane_folder, DEVICE, plan=self.plan):
            session = time_contestants(openers, seed=f"{subject.sha256} {moment}", rules=self.rules)
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

    def load(self, path: Path) -> Runner:
        """Return a function that runs the file on raw pixels, at the file's static batch.

        Raises:
            TargetError: where the file cannot be loaded.
        """
        return open_runner(path)


def _check_file(path: Path, sha256: str) -> None:
    if not path.is_file():
        raise TargetError(f"{path} must be the file to time, but there is no such file. Export it again.")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise TargetError(f"{path} must have the SHA-256 {sha256}, but it has {found}. Export it again.")
