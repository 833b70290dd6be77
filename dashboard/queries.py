"""What the pages ask of the record."""

from __future__ import annotations

from dataclasses import dataclass

from automl.errors import input_error
from automl.storage import Store


@dataclass(frozen=True)
class Pulse:
    """How a study is at the moment. `revision` differs whenever something worth drawing anew has changed."""

    running: bool
    revision: str


def study_names(store: Store) -> list[str]:
    """Return the names of all studies, the newest first."""
    return [study.name for study in reversed(store.studies())]


def read_pulse(store: Store, name: str) -> Pulse:
    """Return how the study `name` is now; costs the same however long the study is.

    Raises:
        InputError: where there is no such study.
    """
    study = store.find_study(name)
    if study is None:
        raise input_error("the study", "in the storage", repr(name))
    running = store.is_leased(study.id) is not None
    return Pulse(running, f"{name} {store.pulse(study.id)} {study.finished_at} {running}")
