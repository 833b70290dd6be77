"""The main job as a user runs it: how long, how many trials, what front, how accurate, and whether bundles verify.

Full: `python benchmarks/main_job.py --folder DIR` runs `automl search digits` there, and with `--data FILE.npz` also
`automl search fashion_mnist`. A run that was ended goes on in the same folder; a finished one is read only.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from goals import Goal, arguments, report

from automl.outcome import Measured
from automl.pareto import front_mask
from automl.search.front import objective_losses, study_front
from automl.storage import Store, StudyRecord, TrialRecord, open_store

AUTOML = [sys.executable, "-m", "automl"]
QUICK = ["--trials", "6", "--seconds", "75"]


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--folder", type=Path, help="where to run; kept, so that a later call goes on")
    parser.add_argument("--data", type=Path, help="Fashion-MNIST as .npz: also runs that study")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) if options.folder is None else options.folder
        folder.mkdir(parents=True, exist_ok=True)
        goals, figures = judge_digits(folder, options.quick)
        if options.data is not None:
            more, others = judge_fashion(folder, options.data, options.quick)
            goals, figures = goals + more, figures | others
        return report(goals, figures, options.json)


def judge_digits(folder: Path, quick: bool) -> tuple[list[Goal], dict[str, object]]:
    search(folder, "digits", QUICK if quick else [])
    with open_store(f"sqlite:///{folder}/runs/automl.db") as store:
        study = store.find_study("digits")
        assert study is not None, "the search recorded no study"
        trials = store.trials(study.id)
        test, seconds = best_test(store, study), store.total_seconds(study.id)  # over all calls, by the record
    trained = [trial for trial in trials if trial.state == "measured" and trial.reused_from is None]
    front = flat_front(trials)
    latencies = [value_of(trial, "latency_ms") for trial in front]
    spread = max(latencies) / min(latencies) if latencies else 0.0
    paying = [trial for trial in front if pays(trial)]
    varied = varying_groups(trained)
    verified = verify_bundles(folder, "digits", [trial.number for trial in study_front(trials, study.objectives)][:3])
    full = None if quick else True
    goals = [
        Goal("digits: minutes, installation apart", "at most 13", f"{seconds / 60:.1f}", full and seconds <= 780),
        Goal("digits: trials trained and scored", "at least 30", str(len(trained)), full and len(trained) >= 30),
        Goal("digits: front by accuracy and latency", "at least 4", str(len(front)), full and len(front) >= 4),
        Goal("digits: slowest over fastest of it", "at least 1.5x", f"{spread:.2f}x", full and spread >= 1.5),
        Goal("digits: int8 or pruned, paying, on it", "at least 1", str(len(paying)), full and bool(paying)),
        Goal("digits: groups that vary", "4 of 4", f"{len(varied)} of 4", full and len(varied) == 4),
        Goal("digits: best finalist on test", "at least 0.97", f"{test:.4f}", full and test >= 0.97),
        Goal(
            "digits: bundles that verify",
            "all",
            f"{sum(verified)} of {len(verified)}",
            bool(verified) and all(verified),
        ),
    ]
    return goals, {"digits_seconds": seconds, "digits_trained": len(trained), "digits_test": test, "spread": spread}


def judge_fashion(folder: Path, data: Path, quick: bool) -> tuple[list[Goal], dict[str, object]]:
    search(folder, "fashion_mnist", ["--data", str(data.resolve()), *(QUICK if quick else [])])
    with open_store(f"sqlite:///{folder}/runs/automl.db") as store:
        study = store.find_study("fashion_mnist")
        assert study is not None, "the search recorded no study"
        test, seconds = best_test(store, study), store.total_seconds(study.id)  # over all calls, by the record
        finalists = {(record.role, record.trial): record for record in store.finalists(study.id)}
    goals = [
        Goal("fashion: minutes", "20 and what ends then", f"{seconds / 60:.1f}", None),
        Goal("fashion: best finalist on test", "at least 0.88", f"{test:.4f}", None if quick else test >= 0.88),
    ]
    for (role, number), twin in finalists.items():
        if role != "twin":
            continue
        compressed = finalists[("finalist", number)].outcome
        ratio = compressed.gain.twin_ratio
        speed = 0.0 if ratio is None else 1 / ratio.value
        lost = 100 * (twin.outcome.value("test_accuracy") - compressed.value("test_accuracy"))
        got = f"{speed:.2f}x faster, {lost:+.2f} points lost"
        met = None if quick else speed >= 1.5 and lost <= 1
        goals.append(Goal(f"fashion: trial {number} against its twin", "1.5x within one point", got, met))
    return goals, {"fashion_seconds": seconds, "fashion_test": test}


def search(folder: Path, study: str, more: list[str]) -> None:
    subprocess.run([*AUTOML, "search", study, *more], cwd=folder, check=True, stdout=sys.stderr)


def best_test(store: Store, study: StudyRecord) -> float:
    found = [r.outcome.value("test_accuracy") for r in store.finalists(study.id) if r.role == "finalist"]
    return max(found, default=0.0)


def flat_front(trials: list[TrialRecord]) -> list[TrialRecord]:
    """Return the front by accuracy and latency alone."""
    names = ("accuracy", "latency_ms")
    front = study_front(trials, names)
    mask = front_mask(objective_losses(front, names)) if front else np.zeros(0, bool)
    return [trial for trial, kept in zip(front, mask, strict=True) if kept]


def value_of(trial: TrialRecord, name: str) -> float:
    assert isinstance(trial.outcome, Measured)
    return trial.outcome.value(name)


def pays(trial: TrialRecord) -> bool:
    assert isinstance(trial.outcome, Measured)
    integer = 8 in trial.candidate.quantization.activation_bits
    return (integer or trial.candidate.is_pruned()) and trial.outcome.gain.verdict == "faster"


def varying_groups(trials: list[TrialRecord]) -> list[str]:
    parts = {
        "architecture": lambda c: (c.genotype.normal, c.genotype.reduction, c.genotype.cells, c.genotype.width),
        "pruning": lambda c: c.pruning.ratios(c.genotype),
        "quantization": lambda c: c.quantization,
        "distillation": lambda c: c.distillation,
    }
    return [name for name, part in parts.items() if len({part(trial.candidate) for trial in trials}) > 1]


def verify_bundles(folder: Path, study: str, numbers: list[int]) -> list[bool]:
    """Export the trials and return which bundles verify."""
    results = []
    for number in numbers:
        bundle = folder / f"{study}-{number}"
        if not bundle.exists():
            subprocess.run(
                [*AUTOML, "export", study, "--trial", str(number), "--out", str(bundle)],
                cwd=folder, check=True, stdout=sys.stderr,
            )  # fmt: skip
        ended = subprocess.run([*AUTOML, "verify", str(bundle)], cwd=folder, check=False, stdout=sys.stderr)
        results.append(ended.returncode == 0)
    return results


if __name__ == "__main__":
    sys.exit(main())
