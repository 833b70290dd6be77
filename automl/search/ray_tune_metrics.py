"""What a trainable of one's own reports to Ray Tune, read as an outcome of the study.

It reports the study's objectives as plain figures, or a whole `Outcome` or `RungResult` under the key "outcome". Plain
figures are recorded with the kind "recorded": nobody here has seen the file that they are said to be of.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from automl.candidate import Candidate
from automl.errors import Fault, InputError, input_error
from automl.outcome import Artefact, Gain, Infeasible, Measured, Measurement, Outcome, RungResult, Stopped
from automl.search.conductor import Assignment
from automl.search.executor import Completion, run_task

OUTCOME, SHARE = "outcome", "share"  # keys of a report
PROTOCOL = "reported to Ray Tune"
SECONDS = "time_total_s"  # Tune's own key


@dataclass(frozen=True)
class MetricsTask:
    """How a trial's reports are read. `limits` maps an objective to its upper bound.

    `shares` are those of a whole training at which to report from here on, the last is 1; `rung` is the index of the
    first, `since` the result of the rung below it.
    """

    candidate: Candidate
    objectives: tuple[str, ...]
    limits: Mapping[str, float]
    device: str
    shares: tuple[float, ...] = (1.0,)
    rung: int = 0
    since: RungResult | None = None

    def is_rung(self, report: Mapping[str, Any]) -> bool:
        """Tell whether a report is that of the next rung below the top; any other one is a sign of life."""
        if OUTCOME in report:
            return isinstance(report[OUTCOME], RungResult)
        return len(self.shares) > 1 and self.shares[0] <= _share(report) < 1.0

    def __call__(self, report: Mapping[str, Any]) -> Outcome | RungResult:
        """Return what a rung's report, or the last one, says.

        Raises:
            InputError: where a figure is missing or not finite, or the share is not that of the rung.
        """
        if OUTCOME in report:
            return _given(report[OUTCOME])
        share = _share(report)
        if share < self.shares[0]:
            return Stopped(f"its trainable ended at {100 * share:.0f} % of its training", _seconds(report))
        if self.shares[0] < share < 1.0:
            raise input_error(f"{SHARE} of a report", f"{self.shares[0]:.4g}, the next rung's", f"{share:.4g}")
        figures = self._measurements(report)
        over = {
            each.name: (each.value, self.limits[each.name])
            for each in figures
            if each.name in self.limits and each.value > self.limits[each.name]
        }
        if over:
            said = [f"{name} {value:.4g} is over the limit of {bound:.4g}" for name, (value, bound) in over.items()]
            return Infeasible("; ".join(said), over, figures, (), _seconds(report))
        if share < 1.0:
            return RungResult(self.rung, figures, (), (), _seconds(report), None)
        gain = Gain("not compared" if self.candidate.is_compressed() else "uncompressed", None, None)
        artefact = Artefact("", "", int(report.get("size_bytes", 0)))
        return Measured(figures, artefact, gain, (), (), _seconds(report))

    def _measurements(self, report: Mapping[str, Any]) -> tuple[Measurement, ...]:
        wrong = [name for name in self.objectives if not _is_finite(report.get(name))]
        if wrong:
            raise InputError(
                [Fault(f"{name} of a report", "a finite number", repr(report.get(name))) for name in wrong]
            )
        values = {name: float(report[name]) for name in self.objectives}
        return tuple(
            Measurement(name, value, "recorded", PROTOCOL, value, value, 1, self.device, "")
            for name, value in values.items()
        )


@dataclass(frozen=True)
class MetricsWire:
    """How `MetricsTask`s reach a trainable of one's own, and what it reports comes back."""

    hands_over = False

    def config(self, assignment: Assignment) -> dict[str, Any]:
        """Return the config of a trial: its number, the candidate, and where to report."""
        task = _metrics_task(assignment)
        return {"trial": assignment.number, "candidate": task.candidate, "shares": task.shares, "since": task.since}

    def rung(self, assignment: Assignment, result: Mapping[str, Any]) -> Completion | None:
        """Return the end at a rung that a report tells of, None where it is only a sign of life."""
        task = _metrics_task(assignment)
        return run_task(str(assignment.number), task, result) if task.is_rung(result) else None

    def end(self, assignment: Assignment, result: Mapping[str, Any]) -> Completion:
        """Return the end that the last report tells of."""
        return run_task(str(assignment.number), assignment.task, result)


def _metrics_task(assignment: Assignment) -> MetricsTask:
    assert isinstance(assignment.task, MetricsTask), "this wire carries metrics"
    return assignment.task


def _given(outcome: object) -> Outcome | RungResult:
    if isinstance(outcome, Outcome | RungResult):
        return outcome
    raise input_error(f"{OUTCOME} of a report", "an Outcome or a RungResult", type(outcome).__name__)


def _share(report: Mapping[str, Any]) -> float:
    return float(report.get(SHARE, 1.0))


def _seconds(report: Mapping[str, Any]) -> Mapping[str, float]:
    return {"trainable": float(report.get(SECONDS, 0.0))}


def _is_finite(value: object) -> bool:
    try:
        return math.isfinite(float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
