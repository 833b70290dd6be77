"""Search quality on recorded tables, at equal evaluations: every method, many seeds, and what a proposal costs.

Full: `python benchmarks/search_quality.py --tables nas_bench_201.npz --tables nas_bench_macro.csv.gz --folder DIR`.
Runs that are finished are kept in --folder: the same command goes on. Without tables only the cost of proposals is
judged.

1. The median share of the true hypervolume of the default method, and that no other method is better.
2. Cost counted in epochs (the cheap fidelity or the full one a row), one objective: mean test accuracy of the cell
   that is chosen, against our own regularised evolution by the same protocol, published figures beside.
3. Seconds a proposal over 500 trials of 40 dimensions, refits included, on one thread.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from goals import Goal, arguments, report
from threadpoolctl import threadpool_limits

from automl.candidate import (
    Candidate,
    DistillationPlan,
    PruningPlan,
    QuantizationPlan,
    TrainingPlan,
    UserModel,
)
from automl.outcome import Artefact, Gain, Measured, Measurement
from automl.search.record_view import Ledger
from automl.search.replaying.description import Fidelity, TableObjective
from automl.search.replaying.judging import Truth, truth_of
from automl.search.replaying.playing import NOW, POPULATION, Run, plain_run, play, sampler_plan
from automl.search.replaying.recorded_space import RecordedRows
from automl.search.replaying.summary import MethodSummary, summarise
from automl.search.replaying.table import open_table
from automl.search.samplers import SamplerPlan, propose
from automl.space import Choice, Dimension, SearchSpace
from automl.storage import TrialRecord

DEFAULT = "surrogate"
OTHERS = ("evolution", "nsga2", "tpe", "reinforce", "random", "quasi_random")
FLOORS = {100: 0.96, 200: 0.985}
BEHIND = 0.005  # of the best other method, at most
COMPARED = (100, 200, 500)
SECONDS = 0.05
EPOCHS, FINAL_SHARE = 1200, 1 / 3
PUBLISHED = {"c10": "RE 93.92, BOHB 93.61, REINFORCE 93.85", "c100": "RE 71.84, BOHB 70.85, REINFORCE 71.71"}


@dataclass(frozen=True)
class Job:
    """One run: `objectives` are columns of the table; `epochs` is its budget where it is not 0."""

    table: str
    objectives: tuple[str, ...]
    method: str
    seed: int
    evaluations: int
    epochs: int = 0

    def file(self) -> str:
        text = json.dumps(
            [Path(self.table).name, *self.objectives, self.method, self.seed, self.evaluations, self.epochs]
        )
        return f"{self.method}-{self.seed}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"


def main() -> int:
    options = _options()
    threadpool_limits(1)
    goals: list[Goal] = []
    figures: dict[str, object] = {}
    for judge in (judge_speed, judge_fronts, judge_epochs):
        more, found = judge(options)
        goals, figures = goals + more, figures | found
    return report(goals, figures, options.json)


def _options() -> argparse.Namespace:
    parser = arguments(__doc__ or "")
    parser.add_argument("--tables", type=Path, action="append", default=[], help="a recorded table; several times")
    parser.add_argument("--folder", type=Path, help="keeps finished runs, so that a later call goes on")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--seeds", type=int, default=10, help="runs of each method for fronts")
    parser.add_argument("--epoch-seeds", type=int, default=200, help="runs of the comparison by epochs")
    parser.add_argument("--methods", default=",".join(OTHERS), help="to compare the default one with")
    parser.add_argument("--evaluations", type=int, default=500)
    return parser.parse_args()


# --- fronts ---------------------------------------------------------------------------------------------------------


def judge_fronts(options: argparse.Namespace) -> tuple[list[Goal], dict[str, object]]:
    others = () if options.quick else tuple(options.methods.split(","))
    seeds, evaluations = (1, 60) if options.quick else (options.seeds, options.evaluations)
    goals: list[Goal] = []
    figures: dict[str, object] = {}
    for path in options.tables:
        pairs = _pairs(path)[:1] if options.quick else _pairs(path)
        jobs = [
            Job(str(path), pair, m, s, evaluations) for pair in pairs for m in (DEFAULT, *others) for s in range(seeds)
        ]
        runs = finished(jobs, options, play_front)
        for pair in pairs:
            truth = truth_of(_recorded(str(path), pair))
            found = {
                method: summarise(
                    [_run(runs[job]) for job in jobs if job.objectives == pair and job.method == method], truth
                )
                for method in (DEFAULT, *others)
            }
            goals += _front_goals(pair, found, judged=not options.quick)
            figures[" x ".join(pair)] = {name: _figures(each, truth) for name, each in found.items()}
            _print(pair, found, truth)
    return goals, figures


def _pairs(path: Path) -> list[tuple[str, ...]]:
    """Return every pair of an accuracy and a latency of the table; multiply-adds stand in where it has no latency."""
    objectives = open_table(path).description.objectives
    kind = "latency" if any(each.kind == "latency" for each in objectives) else "multiply-adds"
    accuracies = [each.column for each in objectives if each.kind == "accuracy"]
    return [(first, each.column) for first in accuracies for each in objectives if each.kind == kind]


def play_front(job: Job) -> dict[str, Any]:
    recorded = _recorded(job.table, job.objectives)
    return dict(plain_run(play(recorded, sampler_plan(recorded, job.method, job.seed), job.evaluations)))


@cache
def _recorded(table: str, columns: tuple[str, ...]) -> RecordedRows:
    opened = open_table(Path(table))
    return RecordedRows(opened, tuple(opened.description.objective(column) for column in columns), merged=False)


def _run(found: Mapping[str, Any]) -> Run:
    return Run(found["method"], found["seed"], found["rows"], found["seconds"])


def _front_goals(pair: Sequence[str], found: Mapping[str, MethodSummary], *, judged: bool) -> list[Goal]:
    name, ours, goals = " x ".join(pair), found[DEFAULT], []
    for mark, floor in FLOORS.items():
        if mark in ours.shares:
            got = ours.shares[mark].median
            goals.append(Goal(f"{name}: at {mark}", f">= {floor}", f"{got:.4f}", got >= floor if judged else None))
    for mark in COMPARED:
        others = {method: each.shares[mark].median for method, each in found.items() if mark in each.shares}
        best = max((method for method in others if method != DEFAULT), key=lambda method: others[method], default=None)
        if best is not None and mark in ours.shares:
            ahead = others[DEFAULT] - others[best]
            goals.append(
                Goal(f"{name}: at {mark} against the best other", f">= -{BEHIND}", f"{ahead:+.4f} ({best})",
                     ahead >= -BEHIND if judged else None)
            )  # fmt: skip
    if not goals:
        last = float(np.median(ours.curve[:, -1]))
        goals.append(Goal(f"{name}: at {ours.curve.shape[1]}", "a small form of goal 1", f"{last:.4f}", None))
    return goals


def _figures(summary: MethodSummary, truth: Truth) -> dict[str, object]:
    return {
        "shares": {mark: [each.low, each.median, each.high] for mark, each in summary.shares.items()},
        "reached": {goal: None if np.isinf(count) else count for goal, count in summary.reached.items()},
        "igd_plus": summary.distance, "scoring": summary.scoring, "ceiling": truth.ceiling, "seeds": summary.seeds,
        "seconds": summary.seconds, "seconds_95": summary.slowest,
    }  # fmt: skip


def _print(pair: Sequence[str], found: Mapping[str, MethodSummary], truth: Truth) -> None:
    print(f"{' x '.join(pair)} (scoring ceiling {truth.ceiling:.3f})")
    for name, each in found.items():
        shares = "  ".join(f"{mark}: {s.median:.4f} [{s.low:.3f} {s.high:.3f}]" for mark, s in each.shares.items())
        reached = " ".join(f"{count:.0f}" for count in each.reached.values())
        print(f"  {name:13s} {shares}  to .95/.97: {reached}  IGD+ {each.distance:.4f}  scoring {each.scoring:.3f}  "
              f"{1000 * each.seconds:.1f} ms")  # fmt: skip


# --- epochs ---------------------------------------------------------------------------------------------------------


def judge_epochs(options: argparse.Namespace) -> tuple[list[Goal], dict[str, object]]:
    goals: list[Goal] = []
    figures: dict[str, object] = {}
    seeds = 0 if options.quick else options.epoch_seeds
    for path in options.tables:
        for fidelity in open_table(path).description.fidelities:
            jobs = [
                Job(str(path), (fidelity.of,), m, s, 0, EPOCHS) for m in (DEFAULT, "evolution") for s in range(seeds)
            ]
            runs = finished(jobs, options, play_epochs)
            if not jobs:
                continue
            tests = {m: [runs[job]["test"] for job in jobs if job.method == m] for m in (DEFAULT, "evolution")}
            ours, other = (float(np.mean(tests[method])) for method in (DEFAULT, "evolution"))
            spread = ", ".join(f"{method} {np.mean(t):.2f} +- {np.std(t):.2f}" for method, t in tests.items())
            published = next((words for key, words in PUBLISHED.items() if fidelity.of.startswith(f"{key}_")), "none")
            goals.append(
                Goal(
                    f"{fidelity.of}: {EPOCHS} epochs, {seeds} seeds", f">= evolution {other:.2f}", spread, ours >= other
                )
            )
            goals.append(Goal(f"{fidelity.of}: published", "beside", published, None))
            figures[f"epochs {fidelity.of}"] = tests
    return goals, figures


def play_epochs(job: Job) -> dict[str, Any]:
    """Search on the cheap fidelity for two thirds of the epochs, read the best in full for the rest, take the best."""
    table = open_table(Path(job.table))
    fidelity: Fidelity = next(each for each in table.description.fidelities if each.of == job.objectives[0])
    full = table.description.objective(fidelity.of)
    finals = max(1, int(job.epochs * FINAL_SHARE / fidelity.full))
    cheap = int((job.epochs - finals * fidelity.full) / fidelity.cost)
    searched = TableObjective(fidelity.column, full.direction, full.kind)
    recorded = RecordedRows(table, (searched,), merged=False)
    run = play(recorded, sampler_plan(recorded, job.method, job.seed), cheap)
    rows = np.array(run.rows)
    best = rows[np.argsort(-table.figure(fidelity.column)[rows], kind="stable")[:finals]]
    chosen = best[np.argmax(table.figure(fidelity.of)[best])]
    return {"row": int(chosen), "test": float(table.figure(full.score or full.column)[chosen])}


# --- speed ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PlainDecoder:
    """Decodes choices into a candidate that is told apart by them, and is nothing else."""

    def __call__(self, choices: Mapping[str, Choice]) -> Candidate:
        words = "-".join(str(choice) for choice in choices.values())
        model = UserModel("synthetic", words, (), (), (), 1, "onnx")
        plans = PruningPlan(()), QuantizationPlan((32,), (32,)), DistillationPlan(1.0, 1.0)
        return Candidate(model, *plans, TrainingPlan("none", 0.0, 0.0, 1, 0, 0.0, 0.0, 0.0))


def judge_speed(options: argparse.Namespace) -> tuple[list[Goal], dict[str, object]]:
    goals: list[Goal] = []
    figures: dict[str, object] = {}
    for objectives in (("accuracy", "latency_ms"), ("accuracy", "latency_ms", "size_bytes")):
        wall, cpu = proposal_seconds(objectives, 500 if not options.quick or len(objectives) == 2 else 100)
        name = f"a proposal, 40 dimensions, {len(objectives)} objectives, trials 1 to {len(wall)}"
        got = f"{1000 * wall.mean():.1f} ms, 95th percentile {1000 * np.quantile(wall, 0.95):.1f} ms"
        goals.append(Goal(name, "<= 50 ms on average", f"{got}; processor {1000 * cpu.mean():.1f} ms",
                          bool(wall.mean() <= SECONDS) if len(wall) == 500 else None))  # fmt: skip
        figures[name] = {"mean": wall.mean(), "p95": float(np.quantile(wall, 0.95)), "cpu_mean": cpu.mean()}
    return goals, figures


def proposal_seconds(objectives: tuple[str, ...], trials: int) -> tuple[np.ndarray, np.ndarray]:
    """Return clock and processor seconds of each proposal of the default method on a noisy synthetic space."""
    operations = ("a", "b", "c", "d")
    dimensions = [Dimension(f"op_{place}", "architecture", operations, False) for place in range(25)]
    dimensions += [Dimension(f"level_{place}", "training", (1, 2, 3, 4, 5), True) for place in range(15)]
    space = SearchSpace("synthetic", tuple(dimensions), PlainDecoder())
    plan = SamplerPlan(space, objectives, {}, DEFAULT, 0, POPULATION)
    rng, ledger = np.random.default_rng(1), Ledger((), objectives, (), POPULATION)
    slopes = np.random.default_rng(0).normal(size=(3, len(dimensions)))
    clocks: list[tuple[float, float]] = []
    for number in range(trials):
        wall, cpu = time.perf_counter(), time.process_time()
        proposal = propose(plan, ledger.view(), number)
        clocks.append((time.perf_counter() - wall, time.process_time() - cpu))
        assert proposal is not None
        shares = np.array([proposal.point[d.name] / (len(d.choices) - 1) for d in dimensions])
        values = {
            "accuracy": 0.9 - 0.005 * np.abs(np.sin(3 * shares + slopes[0])).sum() + 0.002 * rng.normal(),
            "latency_ms": float(np.exp(shares @ np.abs(slopes[1]) / 10)),
            "size_bytes": 1e4 * float(np.exp(shares @ np.abs(slopes[2]) / 8)),
        }
        measured = tuple(Measurement(n, values[n], "recorded", "synthetic", 0.0, 0.0, 1, "", "") for n in objectives)
        outcome = Measured(measured, Artefact("", "", 0), Gain("uncompressed", None, None), (), (), {})
        candidate = space.decode(proposal.point)
        ledger.put(
            TrialRecord(number, proposal.point, candidate, candidate.candidate_hash(), "", "measured", 1, None,
                        proposal.sampler_state, outcome, NOW, NOW, False)
        )  # fmt: skip
    return np.array(clocks).T[0], np.array(clocks).T[1]


# --- runs -----------------------------------------------------------------------------------------------------------


def finished(
    jobs: Sequence[Job], options: argparse.Namespace, play_job: Callable[[Job], dict[str, Any]]
) -> dict[Job, dict[str, Any]]:
    """Return what each job found: read from the folder, or run now, two at a time."""
    found: dict[Job, dict[str, Any]] = {}
    for job in jobs:
        kept = None if options.folder is None else options.folder / job.file()
        if kept is not None and kept.exists():
            found[job] = json.loads(kept.read_text())
    todo = [job for job in jobs if job not in found]
    with ProcessPoolExecutor(max(1, options.jobs), initializer=threadpool_limits, initargs=(1,)) as pool:
        for job, result in zip(todo, pool.map(play_job, todo), strict=True):
            found[job] = result
            if options.folder is not None:
                options.folder.mkdir(parents=True, exist_ok=True)
                part = options.folder / f"{job.file()}.part"
                part.write_text(json.dumps(result))
                part.replace(options.folder / job.file())
    return found


if __name__ == "__main__":
    raise SystemExit(main())
