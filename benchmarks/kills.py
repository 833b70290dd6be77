"""Kill -9 at random moments: a driver or a worker, ten times; then count what was lost, run twice or left running.

A small real study on Ray (training, export, timing) is started again after each kill until it ends by itself.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from goals import Goal, arguments, report

from automl.search.mirror import mirrored_numbers, open_mirror
from automl.storage import open_store

STUDY = """
name: kills
data: {source: digits, train_limit: 300, validation_limit: 150}
space: {widths: [16, 32], cells: [2, 3]}
training: {epochs: 2, learning_rate: {low: 1.0e-3, high: 8.0e-3, log: true, levels: 5}}
distillation: {alphas: [1.0], temperatures: [1.0]}
teacher: {source: none}
objectives: [accuracy, latency_ms]
budget: {trials: TRIALS}
finalists: {count: 1, epochs: 1}
search: {executor: ray, population: 4}
"""


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    kills, trials = (2, 8) if options.quick else (options.kills, 4 * options.kills)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "kills.yaml").write_text(STUDY.replace("TRIALS", str(trials)))
        killed = run_with_kills(folder, kills, random.Random(options.seed))
        goals, figures = judge(f"sqlite:///{folder}/runs/automl.db", trials)
    goals.insert(0, Goal("kills that hit", f"{kills}", ", ".join(killed), len(killed) == kills))
    return report(goals, {"killed": killed, **figures}, options.json)


def run_with_kills(folder: Path, kills: int, rng: random.Random) -> list[str]:
    """Start the study again and again, killing the driver or a worker, until it ends by itself."""
    killed: list[str] = []
    while True:
        process = subprocess.Popen(
            [sys.executable, "-m", "automl", "search", "kills.yaml"], cwd=folder, start_new_session=True,
            stdout=sys.stderr, stderr=sys.stderr,
        )  # fmt: skip
        while len(killed) < kills:
            try:
                process.wait(rng.uniform(8, 22))
                break
            except subprocess.TimeoutExpired:
                victim = rng.choice(("driver", "worker"))
                workers = ray_workers(process.pid)
                if victim == "worker" and workers:
                    os.kill(rng.choice(workers), signal.SIGKILL)
                    killed.append("worker")
                    continue  # the driver goes on by itself
                os.kill(process.pid, signal.SIGKILL)
                killed.append("driver")
                process.wait()
                break
        if process.wait() == 0:
            return killed


def ray_workers(driver: int) -> list[int]:
    """Return the actors of the driver's cluster."""
    return [
        child.pid
        for child in psutil.Process(driver).children(recursive=True)
        if any("ray::Worker" in part for part in child.cmdline())
    ]


def judge(url: str, wanted: int) -> tuple[list[Goal], dict[str, object]]:
    with open_store(url) as store:
        study = store.find_study("kills")
        assert study is not None, "the search recorded no study"
        trials = store.trials(study.id)
        mirrored = sorted(mirrored_numbers(open_mirror(store.url, "kills", study.objectives)))
    time.sleep(2)  # Ray's processes end a moment after their driver
    numbers = [trial.number for trial in trials]
    lines = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    left = [line for line in lines if "ray::" in line]
    open_trials = [trial.number for trial in trials if trial.state == "open"]
    failed = [trial.number for trial in trials if trial.state == "failed"]
    exact = list(range(wanted))
    goals = [
        Goal("trials lost", "0", str(len(set(exact) - set(numbers))), set(exact) <= set(numbers)),
        Goal("trials twice", "0", str(len(numbers) - len(set(numbers))), len(numbers) == len(set(numbers))),
        Goal("trials beyond those asked", "0", str(len(set(numbers) - set(exact))), set(numbers) <= set(exact)),
        Goal("trials left running", "0", str(len(open_trials)), not open_trials),
        Goal("trials failed by a kill", "0", str(len(failed)), not failed),
        Goal("trials missing in Optuna's tables", "0", str(len(set(exact) - set(mirrored))), mirrored == exact),
        Goal("processes of Ray left", "0", str(len(left)), not left),
    ]
    return goals, {"trials": len(numbers), "attempts": {trial.number: trial.attempts for trial in trials}}


if __name__ == "__main__":
    sys.exit(main())
