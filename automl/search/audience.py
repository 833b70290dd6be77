"""Everyone who is told of a study while it runs: Optuna's tables, and what the study's `tracking` names."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from automl.search.lane_watch import LaneWatch
from automl.search.mirror import Mirror
from automl.search.progress import Progress
from automl.tracking import Tracking

if TYPE_CHECKING:
    from automl.storage import TrialRecord

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Audience:
    """A listener that hands on to all others; it also looks after the timing lane while it is shown around."""

    mirror: Mirror
    tracking: Tracking
    lane: LaneWatch

    def tell(self, trial: TrialRecord) -> None:
        """Tell of a finished trial."""
        self.mirror.tell(trial)
        self.tracking.tell(trial)

    def observe(self, what: str, seconds: float) -> None:
        """Tell how long something took: "ask" or "record"."""
        self.tracking.observe(f"{what}_seconds", seconds)

    def watching(self, on_progress: OnProgress) -> OnProgress:
        """Return what tells a moment of the study to the metrics as well."""

        def show(moment: Progress) -> None:
            self.lane.look()
            self.tracking.gauge("lane_held_seconds", self.lane.held_s)
            self.tracking.gauge("front_size", moment.front_size)
            self.tracking.gauge("open_trials", moment.open)
            self.tracking.gauge("workers", moment.workers)
            self.tracking.gauge("workers_busy", moment.running)
            self.tracking.gauge("queue", max(0, moment.open - moment.running))
            self.tracking.gauge("mirror_lag", self.mirror.waiting)
            self.tracking.gauge("lease_renewed_timestamp", time.time())
            on_progress(moment)

        return show
