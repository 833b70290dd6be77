"""The libraries of the loggers report usage and errors to their makers unless the environment says no."""

from __future__ import annotations

import os

NO_REPORTS = {"MLFLOW_DISABLE_TELEMETRY": "true", "WANDB_ERROR_REPORTING": "false"}


def report_nothing() -> None:
    """Say no, unless the user has said something else; call it before such a library is imported."""
    for name, value in NO_REPORTS.items():
        os.environ.setdefault(name, value)
