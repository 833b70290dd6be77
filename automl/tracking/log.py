"""The structured log: one JSON object a line, appended to a file that is rotated by its size."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

from automl.errors import input_error
from automl.outcome import Failed, Infeasible, Measured, Outcome, Stopped
from automl.tracking.redaction import redacted

if TYPE_CHECKING:
    from automl.storage import TrialRecord

LARGEST_BYTES = 32 * 1024**2
KEPT_FILES = 4  # beside the one that is written
WARNINGS = frozenset({"failed", "worker died", "set aside", "waiting", "mirror", "tracking", "lane"})
_FIELDS = "fields"  # of a log record: what its line holds beside time, level and event


class Log:
    """Writes what happens to one study, in the order in which it happens.

    A fault of the file (a full disk) never ends a search: `fault` says the first one, and later lines are tried anew.

    Raises:
        InputError: where the file cannot be written.
    """

    def __init__(self, path: Path, study: str) -> None:
        self.fault: str | None = None
        self._study = study
        self._handler = _Handler(_prepared(path), self)
        self._logger = logging.Logger("automl", logging.INFO)  # no other study's, and no business of the root logger
        self._logger.addHandler(self._handler)

    def tell(self, trial: TrialRecord) -> None:
        """Write the line of a finished trial."""
        if trial.outcome is None:
            return
        level = logging.WARNING if isinstance(trial.outcome, Failed) else logging.INFO
        self._write(level, "trial", {"trial": trial.number, **_trial_fields(trial, trial.outcome)})

    def note(self, kind: str, text: str, trial: int | None = None) -> None:
        """Write the line of an event."""
        level = logging.WARNING if kind in WARNINGS else logging.INFO
        self._write(level, kind, {"trial": trial, "text": redacted(text)})

    def close(self) -> None:
        """Close the file."""
        self._logger.removeHandler(self._handler)
        self._handler.close()

    def _write(self, level: int, event: str, fields: Mapping[str, Any]) -> None:
        known = {name: value for name, value in fields.items() if value is not None}
        self._logger.log(level, event, extra={_FIELDS: {"study": self._study, **known}})


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": time, "level": record.levelname.lower(), "event": record.getMessage()}
        return json.dumps({**line, **getattr(record, _FIELDS)}, allow_nan=False)


class _Handler(RotatingFileHandler):
    def __init__(self, path: Path, log: Log) -> None:
        super().__init__(path, maxBytes=LARGEST_BYTES, backupCount=KEPT_FILES, encoding="utf-8")
        self.setFormatter(_JsonFormatter())
        self._log = log

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 (logging's name)
        """Keep the first fault; the standard handler would print it into the user's terminal."""
        import sys

        if self._log.fault is None:
            self._log.fault = f"the log cannot be written: {sys.exception()}"


def _prepared(path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("a").close()
    except OSError as error:
        raise input_error("tracking.log", "a file that can be written", f"{path}: {error.strerror}") from error
    return path


def _trial_fields(trial: TrialRecord, outcome: Outcome) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "state": trial.state,
        "attempts": trial.attempts,
        "reused_from": trial.reused_from,
        "candidate_hash": trial.candidate_hash,
        "seconds": {stage: _finite(seconds) for stage, seconds in outcome.seconds.items()},
    }
    if isinstance(outcome, Infeasible | Stopped | Failed):
        fields["reason"] = redacted(outcome.reason)
    if isinstance(outcome, Measured | Infeasible):
        fields["figures"] = {each.name: _finite(each.value) for each in outcome.measurements}
    if isinstance(outcome, Measured):
        fields |= {"gain": outcome.gain.verdict, "stable": outcome.stable}
    return fields


def _finite(value: float) -> float | str:
    """Return the number, or its name where JSON has none for it."""
    return value if math.isfinite(value) else str(value)
