"""What a conductor needs to know of its study, as values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from automl.candidate import Candidate
from automl.evaluation.rungs import Rung
from automl.outcome import RungResult, Timing
from automl.search.executor import Task
from automl.search.samplers import SamplerPlan
from automl.storage import TrialRecord

if TYPE_CHECKING:
    from automl.search.stopping import StoppingPlan


@dataclass(frozen=True)
class RungStep:
    """The next stretch of a trial: to which rung, from which result (None at the lowest)."""

    rung: Rung
    since: RungResult | None


MakeTask = Callable[[Candidate, Timing | None, RungStep | None], Task]
ShapeKey = Callable[[Candidate], str]


class Listener(Protocol):
    """Who is told of every finished trial, after the record has it."""

    def tell(self, trial: TrialRecord) -> None:
        """Take note of a finished trial; must return at once and never raise."""
        ...


@dataclass(frozen=True)
class Budget:
    """When to stop asking, whichever comes first; None means no such limit.

    `trials` counts all, `trained` those that were trained for this study, `seconds` the search over all sessions.
    """

    trials: int | None
    trained: int | None
    seconds: float | None


@dataclass(frozen=True)
class DrivePlan:
    """What a conductor needs to know of its study: how to propose, when to stop, how to make a candidate's task.

    `device` is the fingerprint under which timings are known. `stopping` ends trials early, None lets all run whole.
    A trial that runs for longer than `timeout_s` is ended. `watch` is told how long asking and recording took, in
    seconds, by the words "ask" and "record".
    """

    study_id: int
    sampler: SamplerPlan
    budget: Budget
    device: str
    make_task: MakeTask
    shape_key: ShapeKey
    stopping: StoppingPlan | None = None
    timeout_s: float | None = None
    watch: Callable[[str, float], None] = field(default=lambda _what, _seconds: None)
