"""What every executor promises."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from automl.errors import AutomlError
from automl.search.executor import Completion, Executor
from automl.search.inline import InlineExecutor
from automl.search.ray_cluster import PoolPlan, end_orphans
from automl.search.ray_pool import RayExecutor
from tests.search.ray_clusters import LoopbackCluster

DEADLINE_S = 60.0


def open_inline() -> Iterator[Executor]:
    yield InlineExecutor()


def open_private() -> Iterator[Executor]:
    executor = RayExecutor(PoolPlan(2))
    yield executor
    executor.close()


def open_joined() -> Iterator[Executor]:
    cluster = LoopbackCluster(2)
    try:
        executor = RayExecutor(PoolPlan(2, cluster.address))
        yield executor
        executor.close()
    finally:
        cluster.end()


POOLS = {"inline": open_inline, "ray": open_private, "ray joined": open_joined}


@pytest.fixture(
    scope="module",
    params=["inline", pytest.param("ray", marks=pytest.mark.ray), pytest.param("ray joined", marks=pytest.mark.ray)],
)
def pool(request: pytest.FixtureRequest) -> Iterator[Executor]:
    """One pool at a time: a process can be on one cluster only, so that pytest runs the tests pool by pool."""
    yield from POOLS[request.param]()


@pytest.fixture
def executor(pool: Executor) -> Executor:
    pool.share({"base": 10})
    return pool


@pytest.fixture
def ray_executor(pool: Executor) -> RayExecutor:
    assert isinstance(pool, RayExecutor)
    return pool


on_ray = pytest.mark.parametrize(
    "pool", [pytest.param("ray", marks=pytest.mark.ray), pytest.param("ray joined", marks=pytest.mark.ray)],
    indirect=True,
)  # fmt: skip
on_private_ray = pytest.mark.parametrize("pool", [pytest.param("ray", marks=pytest.mark.ray)], indirect=True)


class Add:
    """Adds to the shared context's base."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __call__(self, context: Any) -> int:
        return int(context["base"]) + self.value


def divide(context: Any) -> float:
    return 1 / (int(context["base"]) - 10)


def exhaust(context: Any) -> None:
    raise MemoryError


def die(context: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def sleep(context: Any) -> None:
    time.sleep(DEADLINE_S)


def fill_disk(context: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def pid(context: Any) -> int:
    return os.getpid()


def gather(executor: Executor, tasks: dict[str, Callable[[Any], Any]]) -> dict[str, Completion]:
    """Run tasks to their end, as many at a time as there is room for."""
    waiting, done = list(tasks.items()), dict[str, Completion]()
    under_way, deadline = 0, time.monotonic() + DEADLINE_S
    while len(done) < len(tasks):
        assert time.monotonic() < deadline, f"lost: {set(tasks) - set(done)}"
        while waiting and under_way < executor.capacity:
            executor.submit(*waiting.pop(0))
            under_way += 1
        for completion in executor.collect(1.0):
            assert completion.key not in done, "collected twice"
            done[completion.key] = completion
            under_way -= 1
    return done


def test_executor_returns_every_value_once(executor: Executor) -> None:
    done = gather(executor, {str(value): Add(value) for value in range(20)})
    assert {key: completion.value for key, completion in done.items()} == {
        str(value): 10 + value for value in range(20)
    }
    assert all(completion.error is None and not completion.worker_died for completion in done.values())


def test_executor_tells_an_exception_with_its_traceback(executor: Executor) -> None:
    completion = gather(executor, {"a": divide})["a"]
    assert completion.error == "ZeroDivisionError: division by zero"
    assert "in divide" in completion.traceback
    assert not completion.worker_died


def test_executor_says_that_memory_ran_out(executor: Executor) -> None:
    assert gather(executor, {"a": exhaust})["a"].error == "out of memory: MemoryError"


def test_executor_calls_later_tasks_with_the_latest_context(executor: Executor) -> None:
    executor.share({"base": 100})
    done = gather(executor, {str(value): Add(value) for value in range(4)})
    assert [done[str(value)].value for value in range(4)] == [100, 101, 102, 103]


def test_executor_with_nothing_to_do_collects_nothing_at_once(executor: Executor) -> None:
    assert executor.collect(3600.0) == []


@on_ray
def test_ray_executor_tells_a_death_and_replaces_the_worker(ray_executor: RayExecutor) -> None:
    ray_executor.share({"base": 10})
    before = set(ray_executor.pids())
    done = gather(ray_executor, {"a": die, "b": Add(1)})
    assert done["a"].worker_died and done["a"].error is not None and "died" in done["a"].error
    assert done["b"].value == 11
    after = gather(ray_executor, {str(value): Add(value) for value in range(6)})
    assert [after[str(value)].value for value in range(6)] == list(range(10, 16))
    assert len(set(ray_executor.pids()) - before) == 1


@on_ray
def test_ray_executor_tells_deaths_of_one_moment_together(ray_executor: RayExecutor) -> None:
    ray_executor.pids()
    ray_executor.submit("a", die)
    ray_executor.submit("b", die)
    assert sorted(completion.key for completion in ray_executor.collect(30.0)) == ["a", "b"]


@on_ray
def test_ray_executor_ends_the_worker_of_a_task(ray_executor: RayExecutor) -> None:
    """Its end is a death; the next task runs elsewhere, and ending what is not under way does nothing."""
    ray_executor.pids()
    ray_executor.submit("a", sleep)
    ray_executor.end("b")
    ray_executor.end("a")
    [completion] = ray_executor.collect(30.0)
    assert (completion.key, completion.worker_died, completion.withdrawn) == ("a", True, False)
    assert gather(ray_executor, {"b": pid})["b"].error is None


@on_ray
def test_ray_executor_hands_back_what_its_machine_failed(ray_executor: RayExecutor) -> None:
    completion = gather(ray_executor, {"a": fill_disk})["a"]
    assert completion.withdrawn and completion.error is not None and "No space left" in completion.error


@on_ray
def test_ray_executor_runs_outside_of_this_process(ray_executor: RayExecutor) -> None:
    assert gather(ray_executor, {"a": pid})["a"].value != os.getpid()


@on_private_ray
def test_ray_executor_listens_on_loopback_only(ray_executor: RayExecutor) -> None:
    ray_executor.pids()
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    assert any(process.name() == "raylet" for process in family)
    addresses = {
        connection.laddr.ip.removeprefix("::ffff:")
        for process in family
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses
    assert addresses <= {"127.0.0.1", "::1"}


@on_private_ray
def test_ray_executor_asks_for_its_token(ray_executor: RayExecutor) -> None:
    """A stranger without the token cannot join: the token lies in a file that only its owner may read."""
    token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
    assert os.environ["RAY_AUTH_MODE"] == "token" and len(token.read_text()) == 64
    assert token.stat().st_mode & 0o077 == 0 and token.parent.stat().st_mode & 0o077 == 0
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


@on_private_ray
def test_ray_executor_runs_no_dashboard(ray_executor: RayExecutor) -> None:
    """Ray starts the process all the same, for its reports of usage, which are off; it serves nothing."""
    lines = [" ".join(process.cmdline()) for process in psutil.Process().children(recursive=True)]
    serving = [line for line in lines if "dashboard.py" in line and "--disable-frontend" not in line]
    assert lines and serving == []


@on_private_ray
def test_ray_executor_refuses_a_ray_that_runs_already(ray_executor: RayExecutor) -> None:
    with pytest.raises(AutomlError, match="already running in this process"):
        RayExecutor(PoolPlan(1))


def test_end_orphans_ends_only_processes_of_that_session(tmp_path: Path) -> None:
    token = {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "dead" / "token")}
    command = [sys.executable, "-c", "input()"]
    orphan = subprocess.Popen(command, stdin=subprocess.PIPE, env={**os.environ, **token})
    stranger = subprocess.Popen(command, stdin=subprocess.PIPE)
    try:
        end_orphans(tmp_path / "dead")
        assert orphan.wait(10) == -signal.SIGKILL
        assert stranger.poll() is None
    finally:
        orphan.kill()
        stranger.kill()
        orphan.communicate()
        stranger.communicate()
