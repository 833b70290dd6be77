"""What the engine costs a trial, how busy it keeps its workers, and what a study of 20,000 trials takes to go on.

Beside it, in the same run: Ray Tune with OptunaSearch, plain Optuna on SQLite, and our own engine on Ray Tune. The
parts run one after another, each in a process of its own; figures need a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine_study import begin, record
from goals import Goal, arguments, report

FEW, MANY, QUICK_MANY = 1_000, 20_000, 2_000
COST_MS, GROWTH, PAIR, BUSY, LATE_S, LATE_TRIALS = 15.0, 1.5, 0.95, 0.9, 2.0, 100
RESUME_S, MEMORY_MB, LOOK_S = 10.0, 500.0, 2.0
PARTS = ("cost", "asks", "others", "trainers", "slots", "resume", "looks")
TIMEOUT_S = 1_800.0

Figures = dict[str, Any]


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument(
        "--folder", type=Path, help="where the recorded studies lie; kept, so that a later call is quick"
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="which to run")
    parser.add_argument("--only", help=argparse.SUPPRESS)  # the part that this process is for, and when it was started
    options = parser.parse_args()
    many = QUICK_MANY if options.quick else MANY
    if options.only is not None:
        part, started = options.only.split("@")
        print(json.dumps(run_part(part, options.folder, many, options.quick, float(started))))
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = (Path(scratch) if options.folder is None else options.folder).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        prepare(folder, (FEW, many))
        figures: Figures = {part: in_own_process(part, folder, options.quick) for part in options.parts}
    figures["machine"] = {"cores": os.cpu_count(), "load": os.getloadavg()}
    print_asks(figures.get("asks", {}))
    return report(judge(figures, many, options.quick), figures, options.json)


def prepare(folder: Path, sizes: tuple[int, ...]) -> None:
    """Begin the study, and record as many trials as each part needs; what lies there already is used."""
    if not (folder / "runs").exists():
        begin(folder)
    for count in sizes:
        if not (folder / str(count)).exists():
            record(folder, count)


def in_own_process(part: str, folder: Path, quick: bool) -> Figures:
    """Return a part's figures; it starts with nothing imported."""
    print(f"{part} ...", file=sys.stderr, flush=True)
    command = [sys.executable, __file__, "--folder", str(folder), *(["--quick"] if quick else [])]
    command += ["--only", f"{part}@{time.time()}"]
    run = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=TIMEOUT_S)
    found: Figures = json.loads(run.stdout.splitlines()[-1])
    return found


def run_part(part: str, folder: Path, many: int, quick: bool, started: float) -> Figures:
    """Return the figures of one part, here."""
    import engine_cost as cost
    import engine_looks as looks
    import engine_pool as pool

    trials = 60 if quick else 300
    match part:
        case "cost":
            return {str(count): cost.driver_cost(folder, count, trials) for count in (FEW, many)}
        case "asks":
            return cost.ask_cost(folder, (FEW, many), 5 if quick else 20)
        case "others":
            return others(folder, 20 if quick else 40)
        case "trainers":
            return {str(workers): pool.training_throughput(folder, workers, (4 if quick else 12) * workers)
                    for workers in (1, 2, 1)}  # fmt: skip
        case "slots":
            return pool.busy_share(folder, FEW, 15.0 if quick else 60.0)
        case "resume":
            return looks.resume(folder, many, started)
        case _:
            return {**looks.command_seconds(folder, many), "page": looks.page_seconds(folder, many)}


def others(folder: Path, trials: int) -> Figures:
    """Return the milliseconds of a trial of other engines, each with its ask; None where one cannot be measured."""
    import engine_cost as cost
    from tune_cost import cost_per_trial

    found: Figures = {"Optuna on SQLite": cost.optuna_cost(folder, trials)}
    found["Ray Tune with OptunaSearch"] = cost.ray_tune_cost(folder, trials)
    for engine in ("ray", "tune"):
        found[f"ours on {engine}"] = 1e3 * cost_per_trial(engine, trials, folder)
    return found


def print_asks(asks: Mapping[str, Mapping[str, float]]) -> None:
    """Print what an ask costs by sampler and by how many trials are recorded."""
    for method, by_size in asks.items():
        words = ", ".join(f"{milliseconds:.1f} ms at {size} trials" for size, milliseconds in by_size.items())
        print(f"ask {method:<16} {words}")


def judge(figures: Figures, many: int, quick: bool) -> list[Goal]:
    """Return the goals of the parts that ran; the full size alone can miss those of the full size."""
    full = None if quick else True
    goals: list[Goal] = []
    for count, spent in figures.get("cost", {}).items():
        got = f"{spent['wall']:.1f} ms ({spent['processor']:.1f} of processor)"
        goals.append(Goal(f"driver a trial without the ask, {count} trials", f"at most {COST_MS:g} ms", got,
                          full and spent["wall"] <= COST_MS))  # fmt: skip
        late = spent["late_s"] <= LATE_S or spent["late_trials"] <= LATE_TRIALS
        got = f"{spent['late_s']:.1f} s, {spent['late_trials']:.0f} trials"
        goals.append(Goal(f"mirror late at most, {count} trials", "at most 2 s or 100 trials", got, late))
    for method, by_size in figures.get("asks", {}).items():
        few, more = by_size[str(FEW)], by_size[str(many)]
        goals.append(Goal(f"ask of {method} over that at {FEW} trials", f"at most {GROWTH:g}x",
                          f"{more / few:.2f}x ({more:.1f} ms)", full and more / few <= GROWTH))  # fmt: skip
    for name, spent in figures.get("others", {}).items():
        goals.append(Goal(f"{name}, a trial with its ask", "shown", f"{spent:.0f} ms", None))
    return goals + pool_goals(figures, full) + look_goals(figures, many, full)


def pool_goals(figures: Figures, full: bool | None) -> list[Goal]:
    goals = []
    if "trainers" in figures:
        one, two = (figures["trainers"][workers] for workers in ("1", "2"))
        pair = two["images_a_second"] / (2 * one["images_a_second"])
        goals = [
            Goal("two trainers over twice one", f"at least {PAIR:.0%}", f"{pair:.1%}", full and pair >= PAIR),
            Goal("time in the lane, of two trainers", "shown", f"{two['lane_share']:.1%}", None),
        ]
    if "slots" in figures:
        busy = figures["slots"]["busy"]
        goals.append(Goal("64 slots busy", f"at least {BUSY:.0%}", f"{busy:.1%}", full and busy >= BUSY))
    return goals


def look_goals(figures: Figures, many: int, full: bool | None) -> list[Goal]:
    goals = []
    if "resume" in figures:
        found = figures["resume"]
        words = f"{found['first_trial_s']:.1f} s (Ray's start: {found['ray_s']:.1f} s more)"
        memory = f"{found['peak_rss_mb']:.0f} MB (at the end {found['rss_mb']:.0f}, its own {found['uss_mb']:.0f})"
        goals += [
            Goal(f"first new trial of a study of {many}", f"at most {RESUME_S:g} s", words,
                 full and found["first_trial_s"] <= RESUME_S),
            Goal("memory of its driver, at most", f"at most {MEMORY_MB:g} MB", memory,
                 full and found["peak_rss_mb"] <= MEMORY_MB),
        ]  # fmt: skip
    if "looks" in figures:
        found, page = figures["looks"], figures["looks"]["page"]
        start = f"{found['start']:.2f} s of it the interpreter and the command line"
        goals += [
            Goal(f"automl {name} at {many} trials", f"under {LOOK_S:g} s", f"{found[name]:.2f} s ({start})",
                 full and found[name] < LOOK_S) for name in ("status", "front")
        ]  # fmt: skip
        goals += [
            Goal(f"{what} of the page", f"under {LOOK_S:g} s", f"{page[key]:.2f} s ({page['answer_mb']:.1f} MB)",
                 full and page[key] < LOOK_S)
            for what, key in (("first answer", "first_s"), ("answer after a trial", "changed_s"))
        ]  # fmt: skip
    return goals


if __name__ == "__main__":
    sys.exit(main())
