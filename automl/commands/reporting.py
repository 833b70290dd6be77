"""The command `report`: one self-contained page about a study, and the trainings that it may ask for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automl.commands import options
from automl.commands.delivery import deployed_number
from automl.commands.exits import FAILED, OK
from automl.commands.joining import Joined, connect_existing, join, pick_study, spec_of, study_folder
from automl.commands.output import print_json, print_text, remark
from automl.errors import AutomlError, Fault, InputError, input_error

if TYPE_CHECKING:
    import numpy as np

    from automl.search.ablation import Variant
    from automl.storage import FinalistRecord, Store, StudyRecord, TrialRecord
    from automl.study_spec import StudySpec
    from automl.views.before_after import Subject
    from automl.views.difference import Difference
    from automl.views.report_facts import Ablation, Report

PAGE = "report.html"
REFERENCE_CELLS = "residual"  # the plain cells that stand in for the searched ones
UNTAUGHT_FINALIST = "it was itself trained without the teacher"

Study = Annotated[str | None, typer.Argument(metavar="[STUDY]", help="By default the latest study.")]
Out = Annotated[Path | None, typer.Option("--out", help="The page to write; by default report.html in its folder.")]
Ablate = Annotated[
    bool,
    typer.Option("--ablate", help="Train the network with each group set back to plain, and its twin: once a study."),
]
TrialNumber = Annotated[int | None, typer.Option("--trial", help="Report on this trial, not on the one to deploy.")]


def report(
    study: Study = None,
    out: Out = None,
    ablate: Ablate = False,
    trial: TrialNumber = None,
    data: options.Data = None,
    storage: options.Storage = None,
    executor: options.ExecutorName = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write one page: before and after, the front, what each group contributes, and what compression has changed."""
    failures: list[str] = []
    with connect_existing(storage) as store:
        record = pick_study(store, study)
        joined = join(_spec(record, data, executor))
        folder = study_folder(storage, record.name)
        number = _number(store, record, trial)
        if ablate:
            remark("Training the twin and the network with each group set back to plain...", quiet or as_json)
            failures = train_ablations(store, record, joined, folder, number)
        found = make_report(store, record, joined, folder, number)
    page = folder / PAGE if out is None else out
    _write(page, found)
    for failure in failures:
        remark(failure)
    if as_json:
        print_json({"page": str(page), **report_values(found), "failures": failures})
    else:
        print_text(f"{page}: the report of {record.name}")
    raise typer.Exit(FAILED if failures else OK)


def make_report(store: Store, study: StudyRecord, joined: Joined, folder: Path, number: int) -> Report:
    """Return everything that the page says about the study and the network of one trial.

    Raises:
        InputError: where the trial was not measured.
    """
    from automl.study_spec import shipped_studies
    from automl.views.curves import curve_facts
    from automl.views.facts import study_facts
    from automl.views.importance import importances
    from automl.views.report_facts import Report, measured_subjects, trained_twin
    from automl.views.sensitivity import read_sensitivity

    trials, finalists = store.trials(study.id, with_samples=True), store.finalists(study.id)
    model = _subject(trials, finalists, study, number)
    twin = trained_twin(model, finalists, measured_subjects(trials))
    spec_name = study.name if study.name in shipped_studies() else f"{study.name}.yaml"
    return Report(
        facts=study_facts(store, study.name),
        model=model,
        twin=twin,
        importances=importances(joined.space, trials, study.objectives),
        ablations=_ablations(store, study, model, finalists),
        ablate_command=f"automl report {study.name} --ablate",
        sensitivity=read_sensitivity(folder),
        sensitivity_command=f"automl sensitivity {spec_name}",
        difference=_difference(model, twin, joined, folder),
        curves=curve_facts(trials, store.rungs(study.id, with_samples=True)),
    )


def train_ablations(
    store: Store, study: StudyRecord, joined: Joined, folder: Path, number: int, with_variants: bool = True
) -> list[str]:
    """Train and record what the report of a trial's network lacks: the network itself, its twin, each variant.

    Returns:
        What failed, in words.

    Raises:
        InputError: where the data, the device or the trial does not allow it.
        LeaseError: where another process drives the study.
    """
    from automl.search.ablation import recorded, train_missing
    from automl.search.study_run import reopened

    trials = store.trials(study.id)
    candidate = _subject(trials, [], study, number).candidate
    wanted = [("finalist", candidate)]
    if candidate.is_compressed():
        wanted.append(("twin", candidate.twin(_float_runtime(store, study)).canonical()))
    known = store.finalists(study.id)
    if not with_variants and all(recorded(known, one) is not None for _, one in wanted):
        return []
    with reopened(joined.spec, joined.space, joined.target, store, folder, "ablation") as bench:
        failures = train_missing(store, bench, number, wanted)
        if not with_variants:
            return failures
        model = _subject(trials, store.finalists(study.id), study, number)
        variants = [one for one in _variants(store, study, model) if one.candidate is not None]
        rest = [(one.role, one.candidate) for one in variants if one.candidate is not None]
        return failures + train_missing(store, bench, number, rest)


def report_values(found: Report) -> dict[str, Any]:
    """Return the report as values for a program."""
    from automl.views.before_after import figure_rows
    from automl.views.difference import Difference

    difference = found.difference
    return {
        "study": found.facts.name,
        "trial": found.model.trial,
        "figures": figure_rows(found.model, found.twin),
        "gain": found.model.outcome.gain,
        "twin_trained": found.twin is not None,
        "importances": found.importances,
        "ablations": [_ablation_values(one) for one in found.ablations],
        "difference": {
            "split": difference.split,
            "samples": difference.total,
            "agreeing": difference.agreeing,
            "only_twin_right": difference.only_twin,
            "only_model_right": difference.only_model,
            "classes": difference.classes,
        }
        if isinstance(difference, Difference)
        else {"none": difference},
    }


def _ablation_values(one: Ablation) -> dict[str, Any]:
    measurements = () if one.subject is None else one.subject.outcome.measurements
    return {"group": one.group, "role": one.role, "reason": one.reason, "measurements": measurements}


def _spec(study: StudyRecord, data: Path | None, executor: str | None) -> StudySpec:
    """Return the study's spec with its data where they lie now, and the pool that is wanted now."""
    from automl.study_spec import parse_study_spec

    document = spec_of(study).to_json()
    if data is not None:
        document["data"]["path"] = str(data.resolve())
    if executor is not None:
        document["search"]["executor"] = executor
    if executor == "inline":
        document["search"]["ray"] |= {"address": None, "lane": None}
    return parse_study_spec(document, f"study {study.name}")


def _number(store: Store, study: StudyRecord, trial: int | None) -> int:
    """Return the trial to report on: the one asked for, the one to deploy, else the first that was measured."""
    from automl.search.front import study_front
    from automl.views.report_facts import measured_subjects

    if trial is not None:
        return trial
    trials, finalists = store.trials(study.id), store.finalists(study.id)
    front = study_front(trials, study.objectives)
    if front:
        return deployed_number(front, finalists)
    measured = [one.trial for one in measured_subjects(trials) if one.trial is not None]
    if not measured:
        raise input_error(
            f"study {study.name}", "a study with a measured trial", "none", "Search with a larger budget."
        )
    return measured[0]


def _subject(trials: list[TrialRecord], finalists: list[FinalistRecord], study: StudyRecord, number: int) -> Subject:
    """Return the network of a trial: as it was retrained, where it was, else as the search left it."""
    from automl.views.report_facts import finalist_subject, measured_subjects

    for finalist in finalists:
        if finalist.role == "finalist" and finalist.trial == number:
            return finalist_subject(finalist)
    for subject in measured_subjects(trials):
        if subject.trial == number:
            return subject
    state = next((one.state for one in trials if one.number == number), None)
    got = "no such trial" if state is None else f"one that is {state}"
    raise InputError([Fault(f"--trial {number}", f"a measured trial of {study.name}", got)])


def _float_runtime(store: Store, study: StudyRecord) -> str:
    """Return the runtime whose floating-point control is the fastest on the study's device."""
    from automl.targets import runtime_of_control

    references = store.control_references(study.id, study.device)
    plain = {kind: ms for kind, ms in references.items() if kind.endswith("fp32")}
    return runtime_of_control(min(plain, key=plain.__getitem__)) if plain else "onnxruntime"


def _variants(store: Store, study: StudyRecord, model: Subject) -> tuple[Variant, ...]:
    from dataclasses import replace

    from automl.candidate import Genotype
    from automl.evaluation.finalist import UNTAUGHT
    from automl.search.ablation import variants
    from search_spaces.genotypes import KNOWN

    genotype = model.candidate.genotype
    cells = KNOWN[REFERENCE_CELLS]
    reference = replace(genotype, normal=cells[0], reduction=cells[1]) if isinstance(genotype, Genotype) else None
    found = variants(model.candidate, reference, _float_runtime(store, study))
    if UNTAUGHT not in model.outcome.notes:
        return found
    return tuple(
        replace(one, candidate=None, reason=UNTAUGHT_FINALIST) if one.group == "distillation" else one for one in found
    )


def _ablations(
    store: Store, study: StudyRecord, model: Subject, finalists: list[FinalistRecord]
) -> tuple[Ablation, ...]:
    from automl.search.ablation import recorded
    from automl.views.report_facts import Ablation, finalist_subject

    rows = []
    for one in _variants(store, study, model):
        found = None if one.candidate is None else recorded(finalists, one.candidate)
        pending = one.candidate is not None and found is None
        reason = "not trained" if pending else one.reason
        rows.append(Ablation(one.group, one.role, None if found is None else finalist_subject(found), reason, pending))
    return tuple(rows)


def _difference(model: Subject, twin: Subject | None, joined: Joined, folder: Path) -> Difference | str:
    """Return how the two files differ, or in words why they cannot be compared."""
    from automl.study_spec import open_dataset
    from automl.views.difference import difference

    if not model.candidate.is_compressed():
        return "The network is not compressed: there is nothing to compare."
    if twin is None:
        return "The twin was not trained, so there are no answers to compare with."
    try:
        dataset = open_dataset(joined.spec.data)
        split = dataset.test if model.split == "test" else dataset.validation
        answers = [_answers(subject, joined, folder, split.pixels) for subject in (twin, model)]
    except AutomlError as error:
        return f"The two files could not be run: {error}"
    return difference(dataset, model.split, *answers)


def _answers(subject: Subject, joined: Joined, folder: Path, samples: np.ndarray) -> np.ndarray:
    """Return the class index that the subject's own file answers to each sample, in its own runtime."""
    runner = joined.target.load(folder / subject.outcome.artefact.path, subject.candidate.runtime)
    answers: np.ndarray = runner(samples).argmax(axis=1)
    return answers


def _write(path: Path, found: Report) -> None:
    from automl.views.report import report_page

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(report_page(found), encoding="utf-8")
    except OSError as error:
        raise input_error(f"--out {path}", "a file that can be written", error) from error
