"""The command `compress`: one fixed recipe, trained, compressed, exported, scored and timed against its twin."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from automl.commands import options
from automl.commands.accuracy_floor import widths_above
from automl.commands.bundles import bundle_source, check_bundle
from automl.commands.delivery import BUNDLE
from automl.commands.exits import FAILED, INTERRUPTED, OK
from automl.commands.joining import connect, load_spec, storage_of, study_folder
from automl.commands.output import print_json, print_table, print_text, remark
from automl.commands.progress import shown_progress
from automl.commands.recipe import make_recipe, parse_choices
from automl.commands.reporting import make_report, report_values, train_ablations
from automl.errors import Fault, InputError

if TYPE_CHECKING:
    from automl.commands.recipe import Recipe
    from automl.outcome import Outcome
    from automl.search.study_run import Summary
    from automl.storage import Store
    from automl.views.report_facts import Report

TRIAL = 0  # the only one
SCHEDULES = ("iterative", "adaptive")

Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A choice of the recipe, such as 'prune_*=0.5' or bits_0=w8a8."),
]
Until = Annotated[
    float | None,
    typer.Option("--until-accuracy", help="Prune in steps as long as the file keeps this accuracy on validation."),
]
Steps = Annotated[str, typer.Option("--steps", help="How --until-accuracy goes on: iterative or adaptive.")]
Out = Annotated[Path | None, typer.Option("--out", help="The bundle's folder; by default bundle in the run folder.")]


def compress(
    spec: options.Spec,
    choices: Set = None,
    until_accuracy: Until = None,
    steps: Steps = "iterative",
    out: Out = None,
    name: options.Name = None,
    data: options.Data = None,
    storage: options.Storage = None,
    executor: options.ExecutorName = "inline",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Run a fixed recipe without a search: train, compress, export, score and time it against its twin.

    The recipe is a study whose space is narrowed to one point, or what --set chooses; the rest is plain. It becomes a
    study of one trial, so that status, trial, front, export, verify and report work on it. Exit code 1 says that the
    recipe does not pay, or is over a limit of the study.
    """
    _check_floor(until_accuracy, steps)
    said = parse_choices([] if choices is None else choices)
    given = load_spec(spec, {"data.path": data, "search.executor": executor})
    document = {**given.to_json(), "name": f"{given.name}-compressed" if name is None else name}
    if until_accuracy is not None:
        said = widths_above(document, said, until_accuracy, steps, lambda text: remark(text, quiet or as_json))
    recipe = make_recipe(document, said)
    url = storage_of(recipe.joined.spec, storage)
    with connect(url) as store:
        summary = _run(recipe, store, url, quiet or as_json)
        if summary.interrupted:
            raise typer.Exit(INTERRUPTED)
        outcome = _outcome(store, summary)
        if not _is_measured(outcome):
            _say_why_not(outcome, as_json)
            raise typer.Exit(FAILED)
        found, bundle, verified = _finish(recipe, store, summary, out, url)
    if as_json:
        print_json({"bundle": str(bundle), "verified": verified, "recipe": said, **report_values(found)})
    else:
        _print(found, bundle, verified, quiet)
    raise typer.Exit(OK if verified and found.model.outcome.gain.pays else FAILED)


def _check_floor(until_accuracy: float | None, steps: str) -> None:
    faults = []
    if until_accuracy is not None and not 0 < until_accuracy < 1:
        faults.append(Fault("--until-accuracy", "a share above 0 and below 1, such as 0.9", str(until_accuracy)))
    if steps not in SCHEDULES:
        faults.append(Fault("--steps", f"one of {', '.join(SCHEDULES)}", repr(steps)))
    if faults:
        raise InputError(faults)


def _run(recipe: Recipe, store: Store, url: str | None, quiet: bool) -> Summary:
    from automl.search.study_run import run_study

    joined = recipe.joined
    with shown_progress(joined.spec.name, quiet) as on_progress:
        return run_study(
            joined.spec, joined.space, joined.target, store, study_folder(url, joined.spec.name), on_progress,
            enqueue=[recipe.point],
        )  # fmt: skip


def _outcome(store: Store, summary: Summary) -> Outcome | None:
    trial = store.trial(summary.study.id, TRIAL)
    return None if trial is None else trial.outcome


def _is_measured(outcome: Outcome | None) -> bool:
    from automl.outcome import Measured

    return isinstance(outcome, Measured)


def _say_why_not(outcome: Outcome | None, as_json: bool) -> None:
    from automl.outcome import Measured

    reason = "the trial was not run" if outcome is None or isinstance(outcome, Measured) else outcome.reason
    if as_json:
        print_json({"bundle": None, "reason": reason})
    else:
        print_text(f"Nothing to deploy: {reason}")


def _finish(
    recipe: Recipe, store: Store, summary: Summary, out: Path | None, url: str | None
) -> tuple[Report, Path, bool]:
    """Train what the search left out because the recipe does not pay; return the report, the bundle, whether it holds.

    A run of one trial retrains it and its twin where it stands on the front. Where it does not, both are trained here,
    so that before and after can be told.
    """
    from automl.export.bundle import write_bundle

    study, joined = summary.study, recipe.joined
    folder = study_folder(url, study.name)
    failures = train_ablations(store, study, joined, folder, TRIAL, with_variants=False)
    for failure in failures:
        remark(failure)
    found = make_report(store, study, joined, folder, TRIAL)
    bundle = folder / BUNDLE if out is None else out
    write_bundle(bundle, bundle_source(store, study, TRIAL, True, url))
    return found, bundle, check_bundle(bundle, None).passed


def _print(found: Report, bundle: Path, verified: bool, quiet: bool) -> None:
    from automl.export.methods import method_words
    from automl.views.before_after import figure_rows
    from automl.views.wording import stage_words

    candidate = found.model.candidate
    for index, words in enumerate(stage_words(candidate)):
        print_text(f"stage {index}: {words}")
    for words in method_words(candidate):
        print_text(words)
    rows = [(row.label, row.twin, row.model, row.change) for row in figure_rows(found.model, found.twin)]
    print_text("")
    print_table("", ("", "uncompressed twin", "compressed", "change"), rows)
    print_text(f"\nAgainst its uncompressed twin: {found.model.outcome.gain.verdict}.")
    print_text(f"{bundle}: {'verified' if verified else 'NOT verified'}")
    remark(f"\nThe whole page: automl report {found.facts.name}", quiet)
