"""The command that replays searches on a recorded table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automl.commands import options
from automl.commands.output import print_table, print_text, remark
from automl.errors import Fault, InputError, input_error

if TYPE_CHECKING:
    from automl.search.replaying.description import TableObjective
    from automl.search.replaying.judging import Truth
    from automl.search.replaying.recorded_space import RecordedRows
    from automl.search.replaying.summary import MethodSummary

DEFAULT_METHODS = ("surrogate", "evolution", "nsga2", "tpe", "reinforce", "random")

TableFile = Annotated[Path, typer.Argument(metavar="TABLE", help="A recorded table: .npz, .csv, .csv.gz or .parquet.")]
Method = Annotated[list[str] | None, typer.Option("--method", help="A search method; may be given several times.")]
Seeds = Annotated[int, typer.Option("--seeds", help="How many runs of each method.")]
Evaluations = Annotated[int, typer.Option("--evaluations", help="Different rows that a run reads.")]
Objectives = Annotated[str | None, typer.Option("--objectives", help="Columns to search on, separated by commas.")]
Described = Annotated[Path | None, typer.Option("--description", help="JSON that says what the columns are.")]
Merge = Annotated[bool, typer.Option("--merge-isomorphs", help="Count cells that are the same network as one.")]
Html = Annotated[Path | None, typer.Option("--html", help="Write the picture to this page.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write every figure and curve to this file.")]


def replay(
    table: TableFile,
    method: Method = None,
    seeds: Seeds = 5,
    evaluations: Evaluations = 200,
    objectives: Objectives = None,
    description: Described = None,
    merge_isomorphs: Merge = False,
    html: Html = None,
    json: JsonFile = None,
    quiet: options.Quiet = False,
) -> None:
    """Replay search methods on a recorded table, nothing trained, and say how near the true front they come."""
    from automl.search.replaying.judging import truth_of
    from automl.search.replaying.playing import play, sampler_plan
    from automl.search.replaying.summary import summarise

    methods = tuple(dict.fromkeys(method or DEFAULT_METHODS))
    recorded = _recorded(table, description, objectives, merge_isomorphs)
    _check(recorded, methods, seeds, evaluations)
    truth = truth_of(recorded)
    summaries = []
    for name in methods:
        runs = []
        for seed in range(seeds):
            remark(f"{name}: run {seed + 1} of {seeds}", quiet)
            runs.append(play(recorded, sampler_plan(recorded, name, seed), evaluations))
        summaries.append(summarise(runs, truth))
    _show(recorded, truth, summaries, seeds)
    if html is not None:
        from automl.views.replay import replay_page

        heads, rows = summary_table(summaries)
        _write(html, replay_page(recorded.table.description.name, searched_words(recorded), summaries, heads, rows))
    if json is not None:
        import json as writer

        from automl.commands.output import to_plain

        _write(json, writer.dumps(to_plain(replay_values(recorded, truth, summaries)), indent=1))


def _recorded(table: Path, description: Path | None, objectives: str | None, merged: bool) -> RecordedRows:
    from automl.search.replaying.recorded_space import RecordedRows
    from automl.search.replaying.table import open_table

    opened = open_table(table, description)
    said = opened.description
    columns = said.searched if objectives is None else tuple(part.strip() for part in objectives.split(","))
    if len(set(columns)) < len(columns):
        raise input_error("--objectives", "different columns", objectives)
    recorded = RecordedRows(opened, tuple(said.objective(column) for column in columns), merged)
    assert recorded.slots, "a description has objectives"
    return recorded


def _check(recorded: RecordedRows, methods: Sequence[str], seeds: int, evaluations: int) -> None:
    """Raise InputError with every fault of what was asked for."""
    from automl.search.samplers import METHODS

    faults = [Fault("--method", f"one of {', '.join(METHODS)}", name) for name in methods if name not in METHODS]
    networks = len(set(recorded.networks.tolist()))
    if seeds < 1:
        faults.append(Fault("--seeds", "at least 1", str(seeds)))
    if not 1 <= evaluations <= networks:
        faults.append(Fault("--evaluations", f"from 1 to {networks}, the rows of the table", str(evaluations)))
    points = math.prod(len(dimension.values) for dimension in recorded.table.dimensions)
    if "sklearn_grid" in methods and points > evaluations:
        remedy = f"Take --evaluations {points}, or another method: a part of a grid is no grid search."
        expected = f"at least the {points} points of the grid for the method sklearn_grid"
        faults.append(Fault("--evaluations", expected, str(evaluations), remedy))
    if faults:
        raise InputError(faults)


def objective_words(objective: TableObjective) -> str:
    """Return an objective with its kind, so that multiply-adds are never taken for a latency."""
    return f"{objective.column} ({objective.kind}{f', {objective.unit}' if objective.unit else ''})"


def searched_words(recorded: RecordedRows) -> str:
    """Return what was searched on, and what scored."""
    scores = [f"{each.score} scores" for each in recorded.objectives if each.score]
    rows = f"{len(set(recorded.networks.tolist()))} networks"
    return ", ".join([rows, *(objective_words(each) for each in recorded.objectives), *scores])


def summary_table(summaries: Sequence[MethodSummary]) -> tuple[list[str], list[list[str]]]:
    """Return the heads and rows of the printed table: shares as median (quartiles)."""
    marks = sorted({mark for summary in summaries for mark in summary.shares})
    goals = sorted({goal for summary in summaries for goal in summary.reached})
    heads = [
        "method", *(f"at {mark}" for mark in marks), *(f"to {goal:g}" for goal in goals), "IGD+", "scoring", "ms",
        "95 % ms",
    ]  # fmt: skip
    return heads, [_row(summary, marks, goals) for summary in summaries]


def _row(summary: MethodSummary, marks: Sequence[int], goals: Sequence[float]) -> list[str]:
    shares = [
        f"{found.median:.3f} ({found.low:.3f}-{found.high:.3f})" if (found := summary.shares.get(mark)) else "–"
        for mark in marks
    ]
    reached = [f"{summary.reached[goal]:.0f}" if math.isfinite(summary.reached[goal]) else "–" for goal in goals]
    speed = [f"{1000 * summary.seconds:.1f}", f"{1000 * summary.slowest:.1f}"]
    return [summary.method, *shares, *reached, f"{summary.distance:.4f}", f"{summary.scoring:.3f}", *speed]


def _show(recorded: RecordedRows, truth: Truth, summaries: Sequence[MethodSummary], seeds: int) -> None:
    heads, rows = summary_table(summaries)
    print_text(f"{recorded.table.description.name}: {searched_words(recorded)}")
    print_table("Share of the true front's hypervolume, median (quartiles)", heads, rows)
    print_text(
        f"{seeds} seeds. to 0.95, 0.97: evaluations of the median run, – where it never got there. scoring: the share"
        f" on the columns that only score, of which the whole true front holds {truth.ceiling:.3f}. ms: a proposal."
    )


def replay_values(recorded: RecordedRows, truth: Truth, summaries: Sequence[MethodSummary]) -> Mapping[str, Any]:
    """Return everything of a replay as plain values, curves included."""
    return {
        "table": recorded.table.description.name,
        "objectives": [
            {"column": each.column, "kind": each.kind, "score": each.score or each.column}
            for each in recorded.objectives
        ],
        "merged": recorded.merged,
        "true_front": len(truth.front),
        "scoring_ceiling": truth.ceiling,
        "methods": [
            {
                "method": each.method, "seeds": each.seeds, "shares": each.shares, "reached": each.reached,
                "igd_plus": each.distance, "scoring": each.scoring, "seconds": each.seconds,
                "seconds_95": each.slowest, "curve": each.curve.tolist(),
            }
            for each in summaries
        ],
    }  # fmt: skip


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise input_error(str(path), "a file that can be written", error) from error
