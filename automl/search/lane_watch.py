"""Watches the timing lane of this machine: a process that keeps it for too long is ended, and its trial runs again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from automl.targets.lanes import end_stuck_holder, lane_holder

LOOK_EVERY_S = 5.0
LIMIT_S = 600.0  # the longest honest session of a large network takes a fraction of this


@dataclass
class LaneWatch:
    """Looks at the lane of a device every few seconds; `tell` hears of each holder that was ended.

    `held_s` is how long the present holder has had the lane, 0 while it is free.
    """

    folder: Path
    device: str
    tell: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    held_s: float = 0.0
    _looked: float = field(default=-LOOK_EVERY_S)

    def look(self) -> None:
        """Look, if it is time to."""
        if self.clock() - self._looked < LOOK_EVERY_S:
            return
        self._looked = self.clock()
        ended = end_stuck_holder(self.folder, self.device, LIMIT_S)
        if ended is not None:
            self.tell(f"Process {ended.pid} had kept the timing lane for {ended.held_s:.0f} s and was ended.")
        holder = lane_holder(self.folder, self.device)
        self.held_s = 0.0 if holder is None else holder.held_s
