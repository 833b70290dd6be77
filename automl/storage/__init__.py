"""The record of every study: our tables in SQL, and the only SQL but for Optuna's mirror.

May import what stands below it (errors, candidate, outcome) and SQLAlchemy Core. The decision behind it: a trial's
outcome is written in one transaction together with the mark that finishes the trial, so that a process killed at any
moment leaves the trial either open or whole.
"""

from automl.storage.lease import LEASE_TIMEOUT_S, RENEW_EVERY_S, current_holder
from automl.storage.patience import PATIENCE_S, patient
from automl.storage.records import (
    EventRecord,
    FinalistRecord,
    Holder,
    PhaseRecord,
    PointRecord,
    PointValue,
    RungRecord,
    State,
    StudyRecord,
    TeacherRecord,
    TrialRecord,
)
from automl.storage.store import DEFAULT_URL, Store, open_store

__all__ = [
    "DEFAULT_URL",
    "LEASE_TIMEOUT_S",
    "PATIENCE_S",
    "RENEW_EVERY_S",
    "EventRecord",
    "FinalistRecord",
    "Holder",
    "PhaseRecord",
    "PointRecord",
    "PointValue",
    "RungRecord",
    "State",
    "Store",
    "StudyRecord",
    "TeacherRecord",
    "TrialRecord",
    "current_holder",
    "open_store",
    "patient",
]
