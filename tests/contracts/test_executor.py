"""What every executor promises."""

from __future__ import annotations

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
from automl.search.ray_pool import RayExecutor, end_orphans

DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def ray_executor() -> Iterator[RayExecutor]:
    executor = RayExecutor(2)
    yield executor
    executor.close()


@pytest.fixture(params=["inline", pytest.param("ray", marks=pytest.mark.ray)])
def executor(request: pytest.FixtureRequest) -> Executor:
    chosen: Executor = InlineExecutor() if request.param == "inline" else request.getfixturevalue("ray_executor")
    chosen.share({"base": 10})
    return chosen


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


@pytest.mark.ray
def test_ray_executor_tells_a_death_and_replaces_the_worker(ray_executor: RayExecutor) -> None:
    ray_executor.share({"base": 10})
    before = set(ray_executor.pids())
    done = gather(ray_executor, {"a": die, "b": Add(1)})
    assert done["a"].worker_died and done["a"].error is not None and "died" in done["a"].error
    assert done["b"].value == 11
    after = gather(ray_executor, {str(value): Add(value) for value in range(6)})
    assert [after[str(value)].value for value in range(6)] == list(range(10, 16))
    assert len(set(ray_executor.pids()) - before) == 1


@pytest.mark.ray
def test_ray_executor_tells_deaths_of_one_moment_together(ray_executor: RayExecutor) -> None:
    ray_executor.pids()
    ray_executor.submit("a", die)
    ray_executor.submit("b", die)
    assert sorted(completion.key for completion in ray_executor.collect(30.0)) == ["a", "b"]


@pytest.mark.ray
def test_ray_executor_runs_outside_of_this_process(ray_executor: RayExecutor) -> None:
    assert gather(ray_executor, {"a": pid})["a"].value != os.getpid()


@pytest.mark.ray
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


@pytest.mark.ray
def test_ray_executor_asks_for_its_token(ray_executor: RayExecutor) -> None:
    """A stranger without the token cannot join: the token lies in a file that only its owner may read."""
    token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
    assert os.environ["RAY_AUTH_MODE"] == "token" and len(token.read_text()) == 64
    assert token.stat().st_mode & 0o077 == 0 and token.parent.stat().st_mode & 0o077 == 0
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


@pytest.mark.ray
def test_ray_executor_runs_no_dashboard(ray_executor: RayExecutor) -> None:
    """Ray starts the process all the same, for its reports of usage, which are off; it serves nothing."""
    lines = [" ".join(process.cmdline()) for process in psutil.Process().children(recursive=True)]
    serving = [line for line in lines if "dashboard.py" in line and "--disable-frontend" not in line]
    assert lines and serving == []


@pytest.mark.ray
def test_ray_executor_refuses_a_ray_that_runs_already(ray_executor: RayExecutor) -> None:
    with pytest.raises(AutomlError, match="already running in this process"):
        RayExecutor(1)


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
