"""The driver on Ray: real signals to real processes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from automl.candidate import Candidate
from automl.outcome import Failed, Timing
from automl.search.driver import RungStep, drive
from automl.search.executor import Task
from automl.search.inline import InlineExecutor
from automl.search.mirror import Mirror, mirrored_numbers, open_mirror
from automl.search.ray_pool import PoolPlan, RayExecutor
from tests.search.search_fakes import OBJECTIVES, FakeTask, Silence, drive_plan, new_store, small_space

ROOT = Path(__file__).parents[2]
GONE_S = 20.0
pytestmark = pytest.mark.ray


@pytest.fixture
def executor() -> Iterator[RayExecutor]:
    pool = RayExecutor(PoolPlan(2))
    yield pool
    pool.close()


def run_driver(folder: Path, trials: int, last: int, how: str) -> subprocess.CompletedProcess[str]:
    arguments = [str(folder), str(trials), str(last), how]
    return subprocess.run(
        [sys.executable, "-m", "tests.search.killed_driver", *arguments],
        cwd=ROOT, start_new_session=True, text=True, timeout=90, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def remains_of_ray(workers: str) -> list[psutil.Process]:
    """Return the given workers, as far as they live, and all processes of Ray whose driver is gone."""
    prefix = f"{tempfile.gettempdir()}/automl-ray-"
    found = [psutil.Process(int(pid)) for pid in workers.split() if psutil.pid_exists(int(pid))]
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if prefix in line and not psutil.pid_exists(int(line.split(prefix)[1].split("-")[0])):
            found.append(process)  # its session folder names the driver
    return found


def test_drive_on_ray_fails_what_kills_its_worker_and_goes_on(tmp_path: Path, executor: RayExecutor) -> None:
    faults = {1: "kills", 3: "raises", 4: "kills once", 6: "memory"}
    made: list[str] = []

    def make_task(candidate: Candidate, known: Timing | None, step: RungStep | None = None) -> Task:
        if candidate.candidate_hash() not in made:
            made.append(candidate.candidate_hash())
        return FakeTask(candidate, faults.get(made.index(candidate.candidate_hash()), ""), str(tmp_path))

    store = new_store(tmp_path)
    drive(drive_plan(10, make_task=make_task), store, executor, Silence(), lambda _: None)
    trials = {trial.candidate_hash: trial for trial in store.trials(1)}
    assert len(store.trials(1)) == 10 and not [trial for trial in trials.values() if trial.outcome is None]
    outcomes = [trials[candidate_hash].outcome for candidate_hash in made]
    assert [isinstance(outcome, Failed) for outcome in outcomes[:7]] == [n in (1, 3, 6) for n in range(7)]
    assert isinstance(outcomes[1], Failed) and "died in each of 3 runs" in outcomes[1].reason
    assert trials[made[1]].attempts == 3
    assert len((tmp_path / made[1]).read_text()) in (3, 4)  # one more where it died together with the other one
    assert isinstance(outcomes[6], Failed) and outcomes[6].reason.startswith("out of memory")


def test_drive_on_ray_killed_leaves_nothing_running_and_goes_on(tmp_path: Path) -> None:
    killed = run_driver(tmp_path, 14, 5, "kill")
    assert killed.returncode == -9 and len(killed.stdout.split()) == 2
    _, alive = psutil.wait_procs(remains_of_ray(killed.stdout), timeout=GONE_S)
    assert alive == []
    store = new_store(tmp_path)
    assert len(store.trials(1)) < 14
    mirror = Mirror(store.url, "study", small_space(), OBJECTIVES, store.trials(1))
    drive(drive_plan(14), store, InlineExecutor(), mirror, lambda _: None)
    mirror.close()
    trials = store.trials(1)
    assert [trial.number for trial in trials] == list(range(14))
    assert all(trial.outcome is not None and trial.attempts <= 1 for trial in trials)
    study = open_mirror(store.url, "study", OBJECTIVES)
    assert mirrored_numbers(study) == set(range(14)) and len(study.trials) == 14


def test_drive_on_ray_interrupted_ends_cleanly(tmp_path: Path) -> None:
    ended = run_driver(tmp_path, 14, 4, "interrupt")
    workers, said = ended.stdout.splitlines()
    assert (ended.returncode, said) == (0, "interrupted")
    _, alive = psutil.wait_procs(remains_of_ray(workers), timeout=GONE_S)
    assert alive == []
    trials = new_store(tmp_path).trials(1)
    assert len(trials) >= 4 and all(trial.attempts <= 1 for trial in trials)
