"""The executor on Ray: warm actors, one task at a time each, on a private cluster that only this machine can reach.

Ray is imported when a pool is opened and not before, because it reads its network settings at import.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automl.errors import AutomlError
from automl.search.executor import Completion, Task, run_task

OBJECT_STORE_BYTES = 160 * 1024**2  # the context with the data set; Ray spills the rest to disk
DEATH_GRACE_S = 0.5  # deaths within this time have one cause, such as a full memory
_PREFIX = "automl-ray-"
_SESSIONS = "s"  # Ray opens its own folder to everyone; the one above it, with the token, stays private
_LONGEST_ROOT = 30  # characters: Ray puts sockets below it, and a socket's path has at most 107
_TOKEN = "RAY_AUTH_TOKEN_PATH"
_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # "0" binds every process of Ray to loopback


class Worker:
    """What runs inside an actor's process."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def share(self, context: Any) -> None:
        """Replace the context."""
        self._context = context

    def run(self, key: str, task: Task) -> Completion:
        """Run a task to its end."""
        return run_task(key, task, self._context)

    def pid(self) -> int:
        """Return the process, once the worker is warm."""
        return os.getpid()


@dataclass
class _Slot:
    actor: Any
    key: str | None = None  # of the task under way
    reference: Any = None


class RayExecutor:
    """A pool of `workers` actors on a Ray cluster of its own; a worker that dies is replaced.

    Ray listens on loopback only, asks for a token that lives in a private folder, reports no usage, and runs no
    dashboard. The cluster ends with `close`, or with this process however it dies.

    Raises:
        AutomlError: where Ray is already running in this process, or was imported with other network settings.
    """

    def __init__(self, workers: int) -> None:
        assert workers >= 1, "a pool needs at least one worker"
        _refuse_foreign_ray()
        self._folder = _session_folder()
        self._ray = _start_ray(workers, self._folder)
        self._actor_class = self._ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(Worker)
        self._context = self._ray.put(None)
        self._slots = [_Slot(self._actor()) for _ in range(workers)]

    @property
    def capacity(self) -> int:
        """Return the number of workers."""
        return len(self._slots)

    def pids(self) -> list[int]:
        """Return the workers' processes, waiting until all are warm."""
        return list(self._ray.get([slot.actor.pid.remote() for slot in self._slots]))

    def share(self, context: Any) -> None:
        """Put the context into the object store once; every worker maps it, its arrays read-only."""
        self._context = self._ray.put(context)
        for slot in self._slots:
            slot.actor.share.remote(self._context)

    def submit(self, key: str, task: Task) -> None:
        """Send the task to an idle worker."""
        slot = next((slot for slot in self._slots if slot.key is None), None)
        assert slot is not None, f"submitted {key}, but all {self.capacity} workers are busy"
        slot.key, slot.reference = key, slot.actor.run.remote(key, task)

    def collect(self, timeout_s: float) -> list[Completion]:
        """Return every ended task; after a death wait a moment for others of the same cause."""
        ended = self._ended(timeout_s)
        if any(completion.worker_died for completion in ended):
            ended += self._ended(DEATH_GRACE_S)
        return ended

    def close(self) -> None:
        """End the cluster and remove its session; the token stays, because Ray remembers it while the process lives."""
        self._slots.clear()
        self._ray.shutdown()
        shutil.rmtree(self._folder / _SESSIONS, ignore_errors=True)

    def _ended(self, timeout_s: float) -> list[Completion]:
        busy = {slot.reference: slot for slot in self._slots if slot.key is not None}
        if not busy:
            return []
        self._ray.wait(list(busy), num_returns=1, timeout=timeout_s)
        ready, _ = self._ray.wait(list(busy), num_returns=len(busy), timeout=0)
        return [self._settle(busy[reference]) for reference in ready]

    def _settle(self, slot: _Slot) -> Completion:
        key, reference = slot.key, slot.reference
        assert key is not None
        slot.key = slot.reference = None
        errors = self._ray.exceptions
        try:
            completion: Completion = self._ray.get(reference)
        except (errors.RayActorError, errors.WorkerCrashedError, errors.OutOfMemoryError) as error:
            slot.actor = self._actor()
            return Completion(key, error=_cause(error), worker_died=True)
        except errors.RayError as error:  # such as a value that cannot be pickled
            return Completion(key, error=_cause(error), traceback=str(error))
        return completion

    def _actor(self) -> Any:
        return self._actor_class.remote(self._context)


def _refuse_foreign_ray() -> None:
    ray = sys.modules.get("ray")
    if ray is None:
        return
    if ray.is_initialized():
        raise AutomlError("Ray is already running in this process: end it, or set search.executor to inline")
    if os.environ.get(_LOOPBACK) != "0":
        raise AutomlError(
            f"Ray was imported before the search with {_LOOPBACK} unset, so that it would listen on every network: "
            "import it later, or set search.executor to inline"
        )


def _session_folder() -> Path:
    """Return this process's private folder with the token in it; what dead drivers left behind is swept away."""
    root = Path(tempfile.gettempdir())
    if len(str(root)) > _LONGEST_ROOT:
        root = Path("/tmp")
    for folder in root.glob(f"{_PREFIX}*"):
        if not Path(f"/proc/{folder.name.split('-')[2]}").exists() and Path("/proc").exists():
            end_orphans(folder)
            shutil.rmtree(folder, ignore_errors=True)
    mine = Path(os.environ.get(_TOKEN, "")).parent
    if mine.name.startswith(f"{_PREFIX}{os.getpid()}-") and mine.is_dir():
        return mine
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=root))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    return folder


def end_orphans(folder: Path) -> None:
    """End the processes of a dead driver's session: agents of Ray outlive a driver that was killed as it started."""
    import psutil

    for process in psutil.process_iter(["environ"]):
        environment = process.info["environ"]  # None where it may not be read
        if environment is not None and environment.get(_TOKEN) == str(folder / "token"):
            with suppress(psutil.NoSuchProcess):
                process.kill()


def _start_ray(workers: int, folder: Path) -> Any:
    os.environ.update(ray_settings(folder / "token"))  # Ray and every process that it starts read these
    os.environ.pop("RAY_AUTH_TOKEN", None)  # it would win over the file
    os.environ.pop("RAY_ADDRESS", None)  # it would join somebody's cluster
    import ray

    ray.init(
        address="local",
        num_cpus=workers,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        configure_logging=False,
        log_to_driver=False,
        _temp_dir=str(folder / _SESSIONS),
    )
    return ray


def ray_settings(token: Path) -> Mapping[str, str]:
    """Return the environment that keeps a cluster private."""
    return {_LOOPBACK: "0", "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", _TOKEN: str(token)}


def _cause(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
