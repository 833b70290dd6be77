"""Optional loggers: each follows the record on a thread of its own, and can never hold up or end a search.

What a logger holds is asked of the logger itself, where a run counts only when it was written to its end. So what a
killed driver left half-written is written anew at the next start, and nothing appears twice.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from automl.errors import StorageError
from automl.space import SearchSpace
from automl.tracking.cards import Card, card
from automl.tracking.redaction import redacted

if TYPE_CHECKING:
    from automl.storage import TrialRecord

CLOSE_S = 60.0

ReadTrial = Callable[[int], "TrialRecord | None"]


class Logger(Protocol):
    """Where runs are shown: a run a trial. Only the thread that opened it uses it."""

    def known(self) -> Mapping[int, str]:
        """Return the candidate hash of every trial that it holds whole."""
        ...

    def write(self, card: Card) -> None:
        """Write the trial's run, in place of whatever it has of a trial of that number."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


class Follower:
    """Hands finished trials to one logger. Build it with all trials of the record: the logger is made whole.

    `fault` says why it has ended early, None as long as all is well.
    """

    def __init__(
        self,
        name: str,
        open_logger: Callable[[], Logger],
        space: SearchSpace,
        trials: Iterable[TrialRecord],
        read: ReadTrial | None,
    ) -> None:
        self.name = name
        self.fault: str | None = None
        self._space, self._read = space, read
        self._waiting: queue.SimpleQueue[TrialRecord | None] = queue.SimpleQueue()
        for trial in trials:
            self.tell(trial)
        self._thread = threading.Thread(target=self._run, args=(open_logger,), name=f"{name} logger", daemon=True)
        self._thread.start()

    def tell(self, trial: TrialRecord) -> None:
        """Queue a trial of the record; open ones are passed over."""
        if trial.outcome is not None and self.fault is None:
            self._waiting.put(trial)

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Write what is queued and end the thread; what takes longer is left for the next start."""
        self._waiting.put(None)
        self._thread.join(timeout_s)
        if self._thread.is_alive() and self.fault is None:
            self.fault = f"{self._waiting.qsize()} trials are still to be written: they are added at the next start"

    def _run(self, open_logger: Callable[[], Logger]) -> None:
        try:
            logger = open_logger()
            try:
                self._follow(logger)
            finally:
                logger.close()
        except Exception as error:  # noqa: BLE001 (whatever befalls somebody else's library must not end the search)
            self.fault = redacted(f"{type(error).__name__}: {error}")

    def _follow(self, logger: Logger) -> None:
        known = dict(logger.known())
        while (trial := self._waiting.get()) is not None:
            if known.get(trial.number) != trial.candidate_hash:
                logger.write(card(self._whole(trial), self._space))
                known[trial.number] = trial.candidate_hash

    def _whole(self, trial: TrialRecord) -> TrialRecord:
        """Return the trial with its learning curve, which the driver's own copy lacks; without it if need be."""
        try:
            full = None if self._read is None else self._read(trial.number)
        except StorageError:
            return trial
        return trial if full is None or full.outcome is None else full
