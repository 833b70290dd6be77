"""What a report of a study says, decided before anything is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from automl.candidate import Candidate
from automl.outcome import OBJECTIVES, Measured
from automl.storage import FinalistRecord, TrialRecord
from automl.views.before_after import Subject, measurement_of
from automl.views.curves import CurveFacts
from automl.views.difference import Difference
from automl.views.facts import TEST_NAMES, StudyFacts
from automl.views.importance import Importance
from automl.views.sensitivity import Sensitivity


@dataclass(frozen=True)
class Ablation:
    """The chosen candidate with one group set back to plain: what it measured, or why there is nothing.

    `reason` is empty exactly where there is a `subject`; `pending` says that `--ablate` would train it.
    """

    group: str
    role: str
    subject: Subject | None
    reason: str = ""
    pending: bool = False


@dataclass(frozen=True)
class Report:
    """Everything on the page. `difference` is a reason in words where the two files could not be compared."""

    facts: StudyFacts
    model: Subject
    twin: Subject | None
    importances: tuple[Importance, ...]
    ablations: tuple[Ablation, ...]
    ablate_command: str
    sensitivity: Sensitivity | None
    sensitivity_command: str
    difference: Difference | str
    notes: tuple[str, ...] = ()
    curves: tuple[CurveFacts, ...] = ()


def finalist_subject(finalist: FinalistRecord) -> Subject:
    """Return a finalist's record as a subject."""
    return Subject(finalist.role, finalist.trial, finalist.candidate, finalist.outcome)


def trained_twin(model: Subject, finalists: Sequence[FinalistRecord], trials: Sequence[Subject]) -> Subject | None:
    """Return the model's uncompressed twin, trained and scored as it was; None where there is no such file.

    A finalist's twin is among the finalists, whatever its role; that of a trial among the trials.
    """
    if not model.candidate.is_compressed():
        return None
    pool = [finalist_subject(one) for one in finalists] if model.split == "test" else list(trials)
    return next((one for one in pool if one.candidate == twin_of(model, one.candidate.runtime)), None)


def twin_of(model: Subject, runtime: str) -> Candidate:
    """Return the model's uncompressed twin in a runtime."""
    return model.candidate.twin(runtime).canonical()


def measured_subjects(trials: Sequence[TrialRecord]) -> list[Subject]:
    """Return the trials that were measured."""
    return [
        Subject("trial", one.number, one.candidate, one.outcome) for one in trials if isinstance(one.outcome, Measured)
    ]


def objective_names(objectives: Sequence[str], subject: Subject) -> list[str]:
    """Return how the study's objectives are called among the subject's figures: a finalist's accuracy is of test."""
    names = [TEST_NAMES.get(name, name) if subject.split == "test" else name for name in objectives]
    return [name for name in names if measurement_of(subject.outcome, name) is not None]


def is_better(name: str, value: float, reference: float) -> bool | None:
    """Tell whether `value` is the better one of an objective; None where they are equal."""
    objective = OBJECTIVES[name.removeprefix("test_")]
    if value == reference:
        return None
    return objective.loss(value) < objective.loss(reference)
