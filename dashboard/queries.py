"""What the pages ask of the record."""

from __future__ import annotations

from dataclasses import dataclass

from automl.storage import Store
from automl.views.facts import StudyFacts, study_facts


@dataclass(frozen=True)
class View:
    """A study as it is now. `revision` differs whenever something worth drawing anew has changed."""

    facts: StudyFacts
    running: bool
    revision: str


def study_names(store: Store) -> list[str]:
    """Return the names of all studies, the newest first."""
    return [study.name for study in reversed(store.studies())]


def read_view(store: Store, name: str) -> View:
    """Return the study `name` as it is now.

    Raises:
        InputError: where there is no such study.
    """
    facts = study_facts(store, name)
    study = store.find_study(name)
    running = study is not None and store.is_leased(study.id) is not None
    counts = sorted(facts.counts.items())
    return View(facts, running, f"{name} {counts} {len(facts.points)} {facts.finished_at} {running}")
