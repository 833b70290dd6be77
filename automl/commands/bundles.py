"""Commands about bundles: export, verify, predict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automl.commands import options
from automl.commands.exits import FAILED, OK
from automl.commands.joining import (
    connect_existing,
    open_study_target,
    pick_study,
    spec_of,
    study_folder,
)
from automl.commands.output import print_json, print_table, print_text, remark
from automl.errors import Fault, InputError, input_error

if TYPE_CHECKING:
    from automl.candidate import Candidate
    from automl.export.bundle import BundleSource
    from automl.export.manifest import Manifest
    from automl.export.verify import Check, Verification
    from automl.outcome import Measured
    from automl.search.front import Choice
    from automl.storage import Store, StudyRecord, TrialRecord

BEST = ("accuracy", "latency", "knee")
VERDICTS = {True: "holds", False: "FAILS", None: "not compared"}

Study = Annotated[str, typer.Argument(metavar="STUDY", help="The study's name.")]
Out = Annotated[Path, typer.Option("--out", help="The folder to write, which is made.")]
Best = Annotated[str | None, typer.Option("--best", help="accuracy, latency or knee: which end of the front.")]
MaxLatency = Annotated[
    float | None, typer.Option("--max-latency-ms", help="The most accurate network within these milliseconds.")
]
TrialNumber = Annotated[int | None, typer.Option("--trial", help="This very trial, as the search left it.")]
Images = Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files, or .npy files of raw pixels.")]


def export(
    study: Study,
    out: Out,
    best: Best = None,
    max_latency_ms: MaxLatency = None,
    trial: TrialNumber = None,
    storage: options.Storage = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a bundle: the very file that was timed, its control, its figures, a card and a predict script.

    --best and --max-latency-ms choose from the front by the figures of the search. Where the study has finalists they
    choose among the trials that were retrained, and the retrained file is exported; --trial takes the trial's own file.
    """
    _check_choice(best, max_latency_ms, trial)
    with connect_existing(storage) as store:
        record = pick_study(store, study)
        number = _chosen(store, record, best, max_latency_ms) if trial is None else trial
        source = bundle_source(store, record, number, trial is None, storage)
    from automl.export.bundle import write_bundle

    manifest = write_bundle(out, source)
    if as_json:
        print_json({"bundle": str(out), "origin": manifest.origin, "measurements": manifest.measurements})
    else:
        print_text(f"{out}: {describe_bundle(manifest)}")
        remark(f"Check it with: automl verify {out}", quiet)


def verify(
    bundle: options.Bundle, data: options.Data = None, as_json: options.Json = False, quiet: options.Quiet = False
) -> None:
    """Hash, score and time a bundle again, and say whether both of its numbers hold."""
    verification = check_bundle(bundle, data)
    if as_json:
        print_json({"passed": verification.passed, "checks": verification.checks})
    else:
        if not quiet:
            columns = ("check", "verdict", "recorded", "found", "tolerance")
            print_table("", columns, [_check_row(check) for check in verification.checks])
        print_text(f"{bundle}: {'verified' if verification.passed else 'NOT verified'}")
    raise typer.Exit(OK if verification.passed else FAILED)


def check_bundle(bundle: Path, data: Path | None) -> Verification:
    """Return what verification found; `data` is where the data lies now, None where it always lay.

    Raises:
        InputError: where the bundle, its data or its target cannot be opened.
    """
    from automl.export.manifest import read_manifest
    from automl.export.verify import reload_dataset, verify_bundle
    from automl.targets import open_target, runtime_obstacles

    manifest = read_manifest(bundle)
    dataset = reload_dataset(manifest, data)
    obstacles, needed = runtime_obstacles(), {manifest.runtime, manifest.control.runtime}
    target = open_target(
        manifest.target.name,
        batch=manifest.input.batch,
        channel_multiple=manifest.target.channel_multiple,
        runtimes=[name for name in manifest.target.runtimes if name in needed or obstacles.get(name) is None],
    )
    return verify_bundle(bundle, dataset, target)


def predict(bundle: options.Bundle, images: Images, as_json: options.Json = False) -> None:
    """Classify images with a bundle, as its own predict.py does."""
    from automl.export.manifest import read_manifest
    from automl.export.predict import predict as predict_images

    read_manifest(bundle)
    try:
        answers = predict_images(bundle, images)
    except (ValueError, OSError) as error:
        raise input_error("the images", "raw pixels or image files that fit the network", error) from error
    if as_json:
        print_json(answers)
    else:
        print_table("", ("file", "index", "class", "probability"), [list(answer.values()) for answer in answers])


def _check_choice(best: str | None, max_latency_ms: float | None, trial: int | None) -> None:
    faults = []
    if best is not None and best not in BEST:
        faults.append(Fault("--best", f"one of {', '.join(BEST)}", repr(best)))
    if trial is None and best is None and max_latency_ms is None:
        faults.append(Fault("export", "told what to take: --best, --max-latency-ms or --trial", "none of them"))
    if trial is not None and (best is not None or max_latency_ms is not None):
        faults.append(Fault("--trial", "given alone", "another choice beside it"))
    if faults:
        raise InputError(faults)


def _chosen(store: Store, study: StudyRecord, best: str | None, max_latency_ms: float | None) -> int:
    """Return the number of the trial to take; validation figures decide, the test figures are not looked at."""
    from automl.search.front import choose, study_front

    by: Choice = "latency" if best == "latency" else "knee" if best == "knee" else "accuracy"
    front = study_front(store.trials(study.id), study.objectives)
    retrained = {finalist.trial for finalist in store.finalists(study.id) if finalist.role == "finalist"}
    pool = [trial for trial in front if trial.number in retrained]
    fitting = [trial for trial in pool if max_latency_ms is None or _latency(trial) <= max_latency_ms]
    return choose(fitting if fitting else front, by, max_latency_ms).number


def _latency(trial: TrialRecord) -> float:
    from automl.outcome import Measured

    assert isinstance(trial.outcome, Measured), "what stands on a front is measured"
    return trial.outcome.value("latency_ms")


def bundle_source(store: Store, study: StudyRecord, number: int, retrained: bool, storage: str | None) -> BundleSource:
    """Return what a bundle is written from; with `retrained` the finalist's file of the trial, where there is one.

    Raises:
        InputError: where the trial was not measured, or its data cannot be read.
    """
    from automl.evaluation import prepare_controls
    from automl.export.bundle import BundleSource, final_timing
    from automl.export.manifest import Origin, TargetRecord
    from automl.study_spec import open_dataset

    role, candidate, outcome = _network(store, study, number, retrained)
    spec = spec_of(study)
    dataset = open_dataset(spec.data)
    runs = study_folder(storage, study.name)
    references = store.control_references(study.id, study.device)
    target, runtimes = open_study_target(spec), spec.target.runtimes
    controls = prepare_controls(target, dataset, runs, spec.target.batch, references, runtimes)
    timing = final_timing(outcome)
    return BundleSource(
        origin=Origin(study.name, study.spec_digest, study.seed, role, number),
        candidate=candidate,
        outcome=outcome,
        shape_key=candidate.shape_key(dataset.input_shape, len(dataset.classes), spec.target.batch),
        model=runs / outcome.artefact.path,
        control=controls[timing.control],
        dataset=dataset,
        data_settings=spec.to_json()["data"],
        target=TargetRecord(spec.target.name, spec.target.channel_multiple, study.device, runtimes),
        batch=spec.target.batch,
        versions=study.versions,
    )


def _network(store: Store, study: StudyRecord, number: int, retrained: bool) -> tuple[str, Candidate, Measured]:
    """Return role, candidate and outcome: the finalist's where the trial was retrained and that is wanted."""
    from automl.outcome import Measured

    finalists = [one for one in store.finalists(study.id) if one.role == "finalist" and one.trial == number]
    if retrained and finalists:
        return "finalist", finalists[0].candidate, finalists[0].outcome
    trial = store.trial(study.id, number)
    if trial is None or not isinstance(trial.outcome, Measured):
        got = "no such trial" if trial is None else f"one that is {trial.state}"
        raise input_error(f"--trial {number}", f"a measured trial of {study.name}", got)
    return "trial", trial.candidate, trial.outcome


def describe_bundle(manifest: Manifest) -> str:
    """Return where the network comes from and its figures, on one line."""
    from automl.views.wording import value_words

    shown = [manifest.score_name("accuracy"), "latency_ms", "size_bytes"]
    figures = [one for name in shown if (one := manifest.measurement(name)) is not None]
    words = ", ".join(f"{one.name} {value_words(one.name, one.value)}" for one in figures)
    return f"{manifest.origin.role} from trial {manifest.origin.trial} of {manifest.origin.study}: {words}"


def _check_row(check: Check) -> list[Any]:
    return [check.name, VERDICTS[check.holds], check.expected, check.got, check.tolerance]
