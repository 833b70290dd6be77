"""How a running search shows itself: a live panel in a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from automl.commands.output import remark

if TYPE_CHECKING:
    from automl.search.progress import Progress

EVERY_S = 15.0  # between two plain lines of one phase
PHASES = {
    "data": "reading the data",
    "controls": "timing the controls",
    "preflight": "building, pruning and exporting the model untrained",
    "teacher": "training the teacher",
    "search": "searching",
    "finalists": "retraining the finalists",
    "done": "done",
}

OnProgress = Callable[["Progress"], None]


@contextmanager
def shown_progress(name: str, quiet: bool, clock: Callable[[], float] = time.monotonic) -> Iterator[OnProgress]:
    """Yield a function that shows each progress that it is given, on standard error."""
    console = Console(stderr=True, highlight=False)
    if quiet:
        yield lambda _: None
    elif console.is_terminal:
        with Live(console=console, refresh_per_second=4) as live:
            yield lambda progress: live.update(progress_panel(name, progress))
    else:
        yield PlainLines(name, clock)


class PlainLines:
    """Says a line when a phase begins, and now and then when something has changed."""

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self._name, self._clock = name, clock
        self._last: tuple[str, int] | None = None
        self._said_at = 0.0

    def __call__(self, progress: Progress) -> None:
        """Take note of a progress, and say it where it is due."""
        now, key = self._clock(), (progress.phase, progress.trials - progress.open)
        begins = self._last is None or self._last[0] != progress.phase
        if begins or (key != self._last and now - self._said_at >= EVERY_S):
            self._last, self._said_at = key, now
            remark(f"{self._name}: {progress_line(progress)}")


def progress_line(progress: Progress) -> str:
    """Return the progress as one line."""
    parts = [PHASES.get(progress.phase, progress.phase)]
    if progress.trials > 0:
        parts += [counts_line(progress), f"front {progress.front_size}"]
    if progress.best:
        parts.append(f"best {best_line(progress)}")
    if progress.seconds_left is not None and progress.phase == "search":
        parts.append(f"{clock_words(progress.seconds_left)} left")
    return "; ".join(parts)


def counts_line(progress: Progress) -> str:
    """Return how many trials ended how: "12 trials: 8 measured, 3 infeasible, 1 reused"."""
    words = ("measured", "infeasible", "reused", "failed", "stopped", "open")
    counts = {word: int(getattr(progress, word)) for word in words}
    shown = [f"{count} {word}" for word, count in counts.items() if count > 0 or word in ("measured", "infeasible")]
    if progress.saved_seconds >= 1:
        shown.append(f"{clock_words(progress.saved_seconds)} saved by reuse")
    return f"{progress.trials} {'trial' if progress.trials == 1 else 'trials'}: {', '.join(shown)}"


def best_line(progress: Progress) -> str:
    """Return the best value of each objective on the front."""
    from automl.views.wording import value_words

    return ", ".join(f"{name} {value_words(name, value)}" for name, value in progress.best.items())


def clock_words(seconds: float) -> str:
    """Return seconds as minutes and seconds, such as 7:05."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def progress_panel(name: str, progress: Progress) -> Table:
    """Return the progress as a small table for a terminal."""
    table = Table.grid(padding=(0, 2))
    table.add_row(Text(name, style="bold"), Text(PHASES.get(progress.phase, progress.phase)))
    table.add_row("trials", Text(counts_line(progress)))
    table.add_row(
        "front", Text(f"{progress.front_size} networks; best {best_line(progress)}" if progress.best else "-")
    )
    if progress.seconds_left is not None:
        table.add_row("left", Text(clock_words(progress.seconds_left)))
    return table
