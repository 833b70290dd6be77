"""The pool on a cluster of several real Ray nodes that was there before: joined, followed, and left as it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from automl.candidate import Candidate, TrainingPlan
from automl.cli import run
from automl.commands.exits import FAILED, OK
from automl.data.dataset import load_dataset
from automl.errors import AutomlError, InputError
from automl.evaluation import EvaluateTask, EvaluationContext, prepare_controls
from automl.outcome import Measured, Timing
from automl.search import ray_files, ray_lane, ray_nodes, ray_pool
from automl.search.driver import RungStep, drive
from automl.search.executor import Completion, Task
from automl.search.ray_cluster import JoinedCluster, PoolPlan
from automl.search.ray_lane import LaneTarget, start_lane
from automl.search.ray_pool import RayExecutor
from automl.targets import Target
from automl.targets.cpu import CpuTarget
from automl.targets.lanes import core_plan
from automl.targets.timing import TimingRules
from tests.search.ray_clusters import LoopbackCluster
from tests.search.search_fakes import Silence, drive_plan, new_store, outcome_of, sampler_plan, small_space

DEADLINE_S = 60.0
ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.ray


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_nodes, "LOOK_EVERY_S", 0.3)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LoopbackCluster]:
    found = LoopbackCluster(1)
    try:
        found.add(2, lane=1)
        yield found
    finally:
        found.end()


@pytest.fixture
def pool(cluster: LoopbackCluster) -> Iterator[RayExecutor]:
    executor = RayExecutor(PoolPlan(None, cluster.address))
    yield executor
    executor.close()


def until(executor: RayExecutor, holds: Callable[[list[Completion]], bool]) -> list[Completion]:
    """Collect until something holds of all that was collected."""
    done: list[Completion] = []
    deadline = time.monotonic() + DEADLINE_S
    while not holds(done):
        assert time.monotonic() < deadline, f"only {done}"
        done += executor.collect(1.0)
    return done


def place(context: Any) -> tuple[str, int, bool, str]:
    """Return the worker's node and process, and whether the shared array may be written, and what maps it."""
    import ray

    address = context["array"].ctypes.data
    for line in Path("/proc/self/maps").read_text().splitlines():
        low, high = (int(bound, 16) for bound in line.split()[0].split("-"))
        if low <= address < high:
            node = ray.get_runtime_context().get_node_id()
            return node, os.getpid(), context["array"].flags.writeable, line.split(maxsplit=5)[-1]
    raise AssertionError


def process(context: Any) -> int:
    return os.getpid()


def ask_device(context: EvaluationContext) -> tuple[str, str, float]:
    """Return the worker's node, what its target is, and what that says."""
    import ray

    ms = context.target.reference_ms(context.controls["fp32"].path, "fp32")
    return ray.get_runtime_context().get_node_id(), type(context.target).__name__, ms


def sleep(context: Any) -> None:
    time.sleep(DEADLINE_S)


@dataclass(frozen=True)
class QuickCpu:
    """Opens this machine's CPU under another name, with as few samples as can be."""

    folder: Path

    def __call__(self) -> Target:
        rules = TimingRules(min_sittings=2, max_sittings=2, min_rounds=2, max_rounds=3, repeats=1, sample_floor_ms=0)
        return CpuTarget(16, 1, "the device of the lane", self.folder, core_plan(), rules)


def test_pool_takes_what_fits_and_shares_once_a_node(pool: RayExecutor) -> None:
    """Arrays of the context are mapped from each node's object store by all of its workers, not copied."""
    import ray

    before = stored(ray)
    pool.share({"array": np.ones(16 * 2**20, np.uint8)})
    until(pool, lambda _: pool.capacity == 3)
    for index in range(3):
        pool.submit(str(index), place)
    places = [one.value for one in until(pool, lambda done: len(done) == 3)]
    assert len({pid for _, pid, _, _ in places}) == 3 and len({node for node, *_ in places}) == 2
    assert all(not writeable and "/dev/shm" in file for _, _, writeable, file in places)
    moved = {node: used - before[node] for node, used in stored(ray).items()}
    assert all(16 * 2**20 <= used < 17 * 2**20 for used in moved.values()), moved


def stored(ray: Any) -> dict[str, int]:
    """Return the bytes that each node's object store has held so far."""
    from ray._private.internal_api import node_stats

    return {
        node["NodeID"]: node_stats(
            node["NodeManagerAddress"], node["NodeManagerPort"], False
        ).store_stats.cumulative_created_bytes
        for node in ray.nodes()
        if node["Alive"]
    }


def small_context(runs: Path, target: Target) -> EvaluationContext:
    dataset = load_dataset(
        "digits", None, seed=0, validation_share=0.2, test_share=0.2, train_limit=64, validation_limit=50,
        augmentation="none",
    )  # fmt: skip
    return EvaluationContext(
        dataset=dataset, target=target, controls=prepare_controls(target, dataset, runs, 1, {}), limits={},
        objectives=("accuracy", "latency_ms", "size_bytes"), runs=runs, seed=0, teacher=None,
        lane_folder=runs / "lanes", threads=1, batch=1, largest_code=64, finalist_epochs=1, finalist_seconds=None,
    )  # fmt: skip


def small_candidate() -> Candidate:
    space = small_space(("skip_connect", "sep_conv_3x3"))
    candidate = space.decode(space.point({one.name: one.choices[0] for one in space.dimensions}))
    return replace(candidate, training=TrainingPlan("adamw", 0.001, 0.0, 32, 1, 0.0, 0.0, 0.0)).twin().canonical()


def test_evaluation_with_a_lane_on_another_node_and_no_shared_folder(
    pool: RayExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is trained by a worker with a folder of its own, timed and scored on the lane, and comes back whole."""
    monkeypatch.setattr(ray_pool, "leave_mark", lambda *_: None)  # so that no worker sees the driver's folder
    lane = start_lane(pool._ray, "lane", QuickCpu(tmp_path / "locks"))
    assert isinstance(lane, LaneTarget) and lane.node not in (pool._ray.get_runtime_context().get_node_id(), None)
    pool.share(small_context(tmp_path / "runs", lane))
    pool.submit("0", EvaluateTask(small_candidate(), None))
    [completion] = until(pool, bool)
    outcome = completion.value
    assert isinstance(outcome, Measured), completion
    assert {timing.device for timing in outcome.timings} == {"the device of the lane"}
    assert {one.device for one in outcome.measurements if "accuracy" in one.name} == {"the device of the lane"}
    assert any(one.name == "peak_memory_bytes" for one in outcome.measurements)
    found = tmp_path / "runs" / outcome.artefact.path
    assert found.stat().st_size == outcome.artefact.size_bytes


def test_workers_elsewhere_reach_the_device_of_the_driver(pool: RayExecutor, tmp_path: Path) -> None:
    until(pool, lambda _: pool.capacity == 3)
    pool.share(small_context(tmp_path / "runs", QuickCpu(tmp_path / "locks")()))
    for index in range(3):
        pool.submit(str(index), ask_device)
    ends = until(pool, lambda done: len(done) == 3)
    here = pool._ray.get_runtime_context().get_node_id()
    answers = [one.value for one in ends]
    assert {kind for node, kind, _ in answers if node == here} == {"CpuTarget"}, ends
    assert {kind for node, kind, _ in answers if node != here} == {"LaneTarget"}
    assert all(ms > 0 for _, _, ms in answers)


def test_drive_over_nodes_that_come_and_go(cluster: LoopbackCluster, tmp_path: Path) -> None:
    """A node joins: the pool grows. It is killed with its raylet: nothing is lost, and no attempt is counted."""
    pool = RayExecutor(PoolPlan(None, cluster.address))
    done: list[int] = []

    def make_task(candidate: Candidate, known: Timing | None, step: RungStep | None = None) -> Task:
        return Nap(candidate)

    def fault(progress: Any) -> None:
        if progress.trials - progress.open >= 4 and not done:
            cluster.add(2)
            deadline = time.monotonic() + DEADLINE_S
            while pool.capacity < 5:
                assert time.monotonic() < deadline
                pool._tend()
                time.sleep(0.1)
            done.append(pool.capacity)
        elif progress.trials - progress.open >= 8 and len(done) == 1:
            cluster.tell("kill node 1")
            done.append(pool.capacity)

    try:
        store, plan = new_store(tmp_path), drive_plan(18, sampler_plan("random"), make_task=make_task)
        drive(plan, store, pool, Silence(), fault)
        assert done[0] == 5 and pool.capacity == 3
        trials = store.trials(1)
        assert len(trials) == 18 and all(trial.outcome is not None for trial in trials)
        assert max(trial.attempts for trial in trials) == 1
    finally:
        pool.close()


@dataclass(frozen=True)
class Nap:
    """Evaluates after a moment, so that something is under way when a node dies."""

    candidate: Candidate

    def __call__(self, context: Any) -> Any:
        time.sleep(0.5)
        return outcome_of(self.candidate)


def test_killed_driver_leaves_the_cluster_and_none_of_its_workers(cluster: LoopbackCluster, tmp_path: Path) -> None:
    arguments = [str(tmp_path), "14", "5", "kill", cluster.address]
    killed = subprocess.run(
        [sys.executable, "-m", "tests.search.killed_driver", *arguments], cwd=ROOT, text=True, timeout=90, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL
    pids = [int(pid) for pid in killed.stdout.split()]
    workers = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    assert len(pids) == 2 and psutil.wait_procs(workers, timeout=20)[1] == []
    joined = JoinedCluster(cluster.address)
    assert joined.ray.cluster_resources()["CPU"] >= 3
    joined.leave()


def test_joined_cluster_names_the_address_where_nothing_answers() -> None:
    with pytest.raises(InputError, match=r"must be a Ray cluster that runs, but got 127\.0\.0\.1:9, where nothing"):
        JoinedCluster("127.0.0.1:9")


def test_pool_that_no_node_fits_says_what_there_is(cluster: LoopbackCluster) -> None:
    with pytest.raises(InputError, match=r"must be a cluster with a node of 64 CPUs for a worker, but got .*2 CPUs"):
        RayExecutor(PoolPlan(1, cluster.address, cpus=64))


def test_pool_refuses_nodes_with_other_versions(cluster: LoopbackCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = {**ray_nodes.installed_versions(), "onnxruntime": "0.1"}
    monkeypatch.setattr(ray_nodes, "versions_per_node", lambda ray, nodes: {node.id: mine for node in nodes})
    with pytest.raises(InputError, match=r"node .*: onnxruntime must be .*, but got 0.1\. Install the same versions"):
        RayExecutor(PoolPlan(1, cluster.address))


def test_open_lane_names_the_resource_that_no_node_has(cluster: LoopbackCluster) -> None:
    opening = ray_lane.Opening("cpu", 1, 16, ("onnxruntime",))
    with pytest.raises(InputError, match=r"must be a resource of a node, but got jetson, which no node has"):
        ray_lane.open_lane(PoolPlan(1, cluster.address), "jetson", opening)
    JoinedCluster(cluster.address).leave()


def test_cluster_command_checks_every_node(cluster: LoopbackCluster, tmp_path: Path, capsys: Any) -> None:
    arguments = ["cluster", "--ray-address", cluster.address, "--lane", "lane", "--runs", str(tmp_path), "--json"]
    assert run(arguments) == OK
    report = json.loads(capsys.readouterr().out)
    assert report["faults"] == [] and len(report["nodes"]) >= 2
    looks = [node["look"] for node in report["nodes"]]
    assert all(look["asks_for_token"] and look["sees_runs"] and not look["reports_usage"] for look in looks)
    assert all(look["versions"] == ray_nodes.installed_versions() for look in looks)
    assert not list(tmp_path.iterdir())


def test_cluster_command_says_what_is_wrong(cluster: LoopbackCluster, capsys: Any) -> None:
    assert run(["cluster", "--ray-address", cluster.address, "--lane", "board"]) == FAILED
    assert "search.ray.lane must be a resource of a node, but got board, which no node has" in capsys.readouterr().err


def test_write_files_keeps_to_its_folder(tmp_path: Path) -> None:
    with pytest.raises(AutomlError, match="outside of the run folder"):
        ray_files.write_files({"../elsewhere": b"x"}, tmp_path)


def test_head_gone_is_handed_back_and_a_new_cluster_is_entered(tmp_path: Path) -> None:
    """On a cluster of our own a new one is started, with its workers."""
    pool = RayExecutor(PoolPlan(1))
    try:
        family = psutil.Process().children(recursive=True)
        [gcs] = [one for one in family if one.name() == "gcs_server" and "automl-ray-" in " ".join(one.cmdline())]
        pool.share({"array": np.ones(3)})
        pool.submit("a", sleep)
        gcs.kill()
        [lost] = until(pool, bool)
        assert lost.withdrawn and not lost.worker_died and lost.error is not None and "is gone" in lost.error
        pool.submit("a", place)
        [again] = until(pool, bool)
        assert again.error is None and again.key == "a"
    finally:
        pool.close()


def test_joined_head_gone_hands_tasks_back_until_it_returns(
    cluster: LoopbackCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Last, since it costs the cluster."""
    monkeypatch.setattr(ray_pool, "PATIENCE_S", 1.0)
    pool = RayExecutor(PoolPlan(1, cluster.address))
    again: LoopbackCluster | None = None
    try:
        pool.submit("a", sleep)
        cluster.kill_head()
        [lost] = until(pool, bool)
        assert lost.withdrawn and lost.error is not None
        pool.submit("b", process)
        [waited] = until(pool, bool)
        assert waited.withdrawn and waited.error is not None and "where nothing answers" in waited.error
        assert pool.capacity == 1
        again = LoopbackCluster(1, port=int(cluster.address.rpartition(":")[2]))
        monkeypatch.setattr(ray_pool, "PATIENCE_S", DEADLINE_S)
        pool.submit("b", process)
        [back] = until(pool, bool)
        assert isinstance(back.value, int) and back.error is None
    finally:
        pool.close()
        if again is not None:
            again.end()
