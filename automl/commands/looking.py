"""Commands that look at what is recorded: status, trial, front."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automl.commands import options
from automl.commands.exits import FAILED, OK
from automl.commands.front_table import point_values, print_front
from automl.commands.joining import connect_existing, pick_study
from automl.commands.output import print_json, print_table, print_text, remark, to_plain
from automl.errors import input_error

if TYPE_CHECKING:
    from automl.storage import RungRecord, Store, StudyRecord, TrialRecord
    from automl.views.comparison import Comparison
    from automl.views.facts import StudyFacts

Studies = Annotated[list[str] | None, typer.Argument(metavar="[STUDY]...", help="By default the latest study.")]
Html = Annotated[Path | None, typer.Option("--html", help="Write a self-contained page with the picture there.")]
Number = Annotated[int, typer.Argument(metavar="N", help="The trial's number.")]


def status(storage: options.Storage = None, as_json: options.Json = False) -> None:
    """Show every study: how many trials ended how, what is on the front, and who is driving it."""
    with connect_existing(storage) as store:
        rows = [_status(store, study) for study in store.studies()]
    if as_json:
        print_json(rows)
        return
    counted = ("measured", "infeasible", "stopped", "reused", "failed", "open")
    columns = ("study", "state", "trials", *counted, "front", "finalists")
    print_table("", columns, [[row[column] for column in columns] for row in rows])


def trial(
    number: Number, study: options.StudyName = None, storage: options.Storage = None, as_json: options.Json = False
) -> None:
    """Show everything about one trial: candidate, figures with their origin, timings with samples, traceback."""
    with connect_existing(storage) as store:
        record = pick_study(store, study)
        found = store.trial(record.id, number)
        if found is None:
            count = len(store.points(record.id, ()))
            raise input_error("the trial's number", f"below {count}, the trials of {record.name}", number)
        climbed = [one for one in store.rungs(record.id, with_samples=True) if one.trial == number]
    if as_json:
        print_json({"study": record.name, **to_plain(found), "rungs": [to_plain(one.result) for one in climbed]})
    else:
        _print_trial(record, found)
        _print_curve(found, climbed)


def front(
    studies: Studies = None,
    html: Html = None,
    storage: options.Storage = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show the Pareto front of a study; of several studies, their fronts on one reference point."""
    from automl.views.facts import study_facts

    with connect_existing(storage) as store:
        names = studies if studies else [pick_study(store, None).name]
        facts = [study_facts(store, name) for name in names]
    if len(facts) == 1:
        _show_front(facts[0], html, as_json)
    else:
        _show_comparison(facts, html, as_json)
    if html is not None:
        remark(f"Wrote {html}.", quiet or as_json)
    raise typer.Exit(OK if any(one.front for one in facts) else FAILED)


def _status(store: Store, study: StudyRecord) -> dict[str, Any]:
    from automl.search.front import study_front

    trials = store.points(study.id, study.objectives)
    counts = Counter(trial.state if trial.reused_from is None else "reused" for trial in trials)
    holder = store.is_leased(study.id)
    state = "finished" if study.finished_at is not None else "interrupted"
    words = ("measured", "infeasible", "reused", "failed", "stopped", "open")
    return {
        "study": study.name,
        "state": state if holder is None else f"running (process {holder.pid} on {holder.host})",
        "created_at": study.created_at,
        "trials": len(trials),
        **{word: counts[word] for word in words},
        "front": len(study_front(trials, study.objectives)),
        "finalists": sum(finalist.role == "finalist" for finalist in store.finalists(study.id)),
        "seconds": store.total_seconds(study.id),
        "device": study.device,
    }


def _print_trial(study: StudyRecord, trial: TrialRecord) -> None:
    from automl.outcome import Failed, Infeasible, Measured

    outcome = trial.outcome
    reused = "" if trial.reused_from is None else f", its outcome is that of trial {trial.reused_from}"
    print_text(f"Trial {trial.number} of {study.name}: {trial.state}{reused}; attempts: {trial.attempts}")
    if isinstance(outcome, Measured | Infeasible):
        rows = [
            (one.name, f"{one.value:.6g}", f"{one.low:.6g}", f"{one.high:.6g}", one.kind, one.protocol, one.samples)
            for one in outcome.measurements
        ]
        print_table("", ("figure", "value", "low", "high", "kind", "protocol", "samples"), rows)
    if isinstance(outcome, Measured):
        print_text(f"Compression: {outcome.gain.verdict}. File: {outcome.artefact.path}")
    elif outcome is not None:
        print_text(outcome.reason)
    if isinstance(outcome, Failed):
        print_text(outcome.traceback)
    print_text("")
    _print_tree({"candidate": to_plain(trial.candidate), "outcome": to_plain(outcome)}, 0)


def _print_curve(trial: TrialRecord, climbed: Sequence[RungRecord]) -> None:
    """Print the learning curve, and what the trial's file was worth at each rung."""
    from automl.views.curves import curve_facts, curve_rows, rung_rows

    for curve in curve_facts([trial], climbed):
        if climbed:
            print_table("", *rung_rows(curve))
        print_table("", *curve_rows(curve))


def _print_tree(value: Any, depth: int) -> None:
    """Print nested values with indents; lists of plain values on one line."""
    indent = "  " * depth
    for key, one in value.items():
        if isinstance(one, dict) and one:
            print_text(f"{indent}{key}:")
            _print_tree(one, depth + 1)
        elif isinstance(one, list) and one and isinstance(one[0], dict):
            for index, entry in enumerate(one):
                print_text(f"{indent}{key}[{index}]:")
                _print_tree(entry, depth + 1)
        else:
            print_text(f"{indent}{key}: {one}")


def _show_front(facts: StudyFacts, html: Path | None, as_json: bool) -> None:
    if html is not None:
        from automl.views.page import front_page

        _write(html, front_page(facts))
    if as_json:
        front = [point_values(point) for point in facts.front]
        print_json({"study": facts.name, "device": facts.device, "front": front})
    else:
        print_front(facts)


def _show_comparison(facts: Sequence[StudyFacts], html: Path | None, as_json: bool) -> None:
    from automl.views.comparison import compare_facts

    comparison = compare_facts(facts)
    if html is not None:
        from automl.views.page import comparison_page

        _write(html, comparison_page(comparison))
    rows = _comparison_rows(comparison)
    if as_json:
        axes = dict(zip(comparison.objectives, comparison.reference, strict=True))
        print_json({"reference": axes, "same_device": comparison.same_device, "studies": rows})
        return
    columns = ("study", "front", "hypervolume", "share", "best accuracy", "fastest ms")
    print_table("", columns, [[_short(value) for value in row.values()] for row in rows])
    if not comparison.same_device:
        print_text("The studies ran on different devices: their latencies are not comparable.")


def _comparison_rows(comparison: Comparison) -> list[dict[str, Any]]:
    return [
        {
            "study": facts.name,
            "front": len(facts.front),
            "hypervolume": volume,
            "share": share,
            "best_accuracy": max((point.value("accuracy") for point in facts.front), default=None),
            "fastest_ms": min((point.value("latency_ms") for point in facts.front), default=None),
        }
        for facts, volume, share in zip(comparison.studies, comparison.hypervolumes, comparison.shares, strict=True)
    ]


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise input_error(f"--html {path}", "a file that can be written", error) from error
