"""Commands that run studies: search, and the baselines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automl.commands import options
from automl.commands.delivery import deliver
from automl.commands.exits import FAILED, INTERRUPTED, OK
from automl.commands.front_table import facts_of, point_values, print_front
from automl.commands.joining import connect, enqueued, join, load_spec, named_cells, storage_of, study_folder
from automl.commands.output import print_json, print_table, print_text, remark
from automl.commands.progress import clock_words, shown_progress

if TYPE_CHECKING:
    from automl.commands.delivery import Delivery
    from automl.commands.estimate import Estimate
    from automl.commands.joining import Joined
    from automl.search.study_run import Summary
    from automl.views.facts import StudyFacts

FINALIST_FIGURES = ("test_accuracy", "latency_ms", "size_bytes")

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check everything and say what it would cost: some seconds, nothing recorded.")
]
Method = Annotated[
    str | None,
    typer.Option("--method", help="Who proposes (nsga2, surrogate, tpe, random, ...), in place of the study's."),
]
Seed = Annotated[int | None, typer.Option("--seed", help="Of the search, in place of the study's.")]


def search(
    spec: options.Spec,
    dry_run: DryRun = False,
    data: options.Data = None,
    storage: options.Storage = None,
    name: options.Name = None,
    method: Method = None,
    seed: Seed = None,
    seconds: options.Seconds = None,
    trials: options.Trials = None,
    workers: options.Workers = None,
    executor: options.ExecutorName = None,
    ray_address: options.RayAddress = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Search a study, or go on where it was left; at the end retrain the best on all data and test them."""
    overrides = {
        "data.path": data,
        "name": name,
        "search.method": method,
        "search.seed": seed,
        "search.ray.address": ray_address,
        **_budget(seconds, trials, workers, executor),
    }
    joined = join(load_spec(spec, overrides))
    if dry_run:
        _dry_run(joined, as_json)
    else:
        _search(joined, storage, as_json, quiet)


def grid(
    spec: options.Spec,
    data: options.Data = None,
    storage: options.Storage = None,
    name: options.Name = None,
    seconds: options.Seconds = None,
    trials: options.Trials = None,
    workers: options.Workers = None,
    executor: options.ExecutorName = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Run scikit-learn's ParameterGrid over named cells, ratios, bits and temperatures, as a study of its own."""
    budget = _budget(seconds, trials, workers, executor)
    _baseline("grid", spec, {"data.path": data, "name": name, **budget}, storage, as_json, quiet)


def random(
    spec: options.Spec,
    data: options.Data = None,
    storage: options.Storage = None,
    name: options.Name = None,
    seconds: options.Seconds = None,
    trials: options.Trials = None,
    workers: options.Workers = None,
    executor: options.ExecutorName = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Run scikit-learn's ParameterSampler over the whole space, as a study of its own."""
    budget = _budget(seconds, trials, workers, executor)
    _baseline("random", spec, {"data.path": data, "name": name, **budget}, storage, as_json, quiet)


def _baseline(
    kind: str, spec: str, overrides: Mapping[str, Any], storage: str | None, as_json: bool, quiet: bool
) -> None:
    """Search with the baseline's method under the study's name and the baseline's."""
    given = load_spec(spec, overrides)
    name = given.name if overrides["name"] is not None else f"{given.name}-{kind}"
    changed = {**overrides, "name": name, "search.method": f"sklearn_{kind}", "search.enqueue": []}
    _search(join(load_spec(spec, changed)), storage, as_json, quiet)


def _budget(
    seconds: float | None, trials: int | None, workers: int | None, executor: str | None
) -> dict[str, float | int | str | None]:
    return {
        "budget.seconds": seconds,
        "budget.trials": trials,
        "search.workers": workers,
        "search.executor": executor,
    }


def _dry_run(joined: Joined, as_json: bool) -> None:
    from automl.commands.estimate import estimate_study

    estimate = estimate_study(joined)
    if as_json:
        print_json({"study": joined.spec.name, **vars(estimate)})
        return
    print_table(f"Study {joined.spec.name}, nothing recorded", ("what", "here"), _estimate_rows(estimate))


def _estimate_rows(estimate: Estimate) -> list[tuple[str, str]]:
    return [
        ("points in the space", f"{estimate.points} (about {float(estimate.points):.2g})"),
        ("training images", str(estimate.images)),
        ("a trained trial", f"about {estimate.trial_seconds:.1f} s"),
        ("the slowest of those looked at", f"about {estimate.slowest_trial_seconds:.1f} s"),
        ("a trial over the latency limit", f"about {estimate.reject_seconds:.1f} s"),
        ("the teacher", f"about {estimate.teacher_seconds:.0f} s"),
        ("the search", f"at most {clock_words(estimate.search_seconds)} min with one worker"),
    ]


def _search(joined: Joined, storage: str | None, as_json: bool, quiet: bool) -> None:
    from automl.search.study_run import run_study

    spec, space = joined.spec, joined.space
    url = storage_of(spec, storage)
    with connect(url) as store, shown_progress(spec.name, quiet or as_json) as on_progress:
        summary = run_study(
            spec,
            space,
            joined.target,
            store,
            study_folder(url, spec.name),
            on_progress,
            enqueue=enqueued(joined),
            cells=named_cells(joined) if spec.search.method == "sklearn_grid" else (),
        )
        facts = facts_of(summary.study, store)
        ended = bool(summary.front) and not summary.interrupted
        delivery = deliver(store, summary, facts, url) if ended else None
    for note in summary.notes:
        remark(note, quiet)
    if as_json:
        print_json({**_summary_values(summary, facts), "delivery": delivery})
    else:
        print_front(facts)
        _print_finalists(facts)
        _print_delivery(delivery, facts.name, quiet)
    if summary.interrupted:
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(OK if summary.front else FAILED)


def _summary_values(summary: Summary, facts: StudyFacts) -> dict[str, Any]:
    return {
        "study": facts.name,
        "interrupted": summary.interrupted,
        "progress": summary.progress,
        "front": [point_values(point) for point in facts.front],
        "finalists": [point_values(point) for point in facts.points if point.role in ("finalist", "twin")],
        "notes": summary.notes,
    }


def _print_finalists(facts: StudyFacts) -> None:
    """Print what was retrained on all training data, with its test accuracy."""
    from automl.views.wording import speed_words, title_words, value_words

    finalists = [point for point in facts.points if point.role in ("finalist", "twin")]
    rows = [
        [title_words(point), *(value_words(name, point.value(name)) for name in FINALIST_FIGURES), speed_words(point)]
        for point in finalists
    ]
    if rows:
        print_text("")
        columns = ("retrained on all training data", "test accuracy", "latency", "size", "against its twin")
        print_table("", columns, rows)


def _print_delivery(delivery: Delivery | None, study: str, quiet: bool) -> None:
    if delivery is None:
        return
    print_text(f"\n{delivery.bundle}: {delivery.network}")
    print_text(f"{delivery.bundle}: {'verified' if delivery.verified else 'NOT verified'}")
    print_text(f"{delivery.page}: the picture of the front")
    remark(f"\nOthers: automl export {study} --best accuracy|latency|knee --out DIR", quiet)
