"""A machine that cannot run anything at the moment (its disk is full): rest, try again, and in the end give up."""

from __future__ import annotations

from dataclasses import dataclass

from automl.errors import AutomlError

PATIENCE_S = 600.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0


@dataclass
class Trouble:
    """Since when, until when to rest, and why; a new one is no trouble."""

    since: float | None = None
    until: float = 0.0
    why: str = ""
    pause: float = FIRST_PAUSE_S

    def begin(self, why: str, now: float) -> bool:
        """Rest from now on, each time for longer; True where the trouble is a new one."""
        fresh = self.since is None
        self.since = now if self.since is None else self.since
        if now >= self.until:
            self.until, self.why = now + self.pause, why
            self.pause = min(2 * self.pause, LONGEST_PAUSE_S)
        return fresh

    def over(self) -> None:
        """Forget the trouble: something has run to its end."""
        self.since, self.until, self.why, self.pause = None, 0.0, "", FIRST_PAUSE_S

    def pause_s(self, now: float) -> float:
        """Return the rest that is left.

        Raises:
            AutomlError: where the trouble has gone on for too long.
        """
        if self.since is not None and now - self.since > PATIENCE_S:
            raise AutomlError(
                f"nothing could run for {PATIENCE_S / 60:.0f} minutes: {self.why}. Nothing that was recorded is lost: "
                "mend it and run the same command again"
            )
        return max(0.0, self.until - now)
