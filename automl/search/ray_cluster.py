"""Being on a Ray cluster: a private one that only this machine can reach, or one that runs already and is joined.

Ray is imported when a cluster is entered and not before, because it reads its network settings at import.
"""

from __future__ import annotations

import atexit
import math
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automl.errors import AutomlError, input_error

OBJECT_STORE_BYTES = 160 * 1024**2  # the context with the data set; Ray spills the rest to disk
PROBE_S = 1.0
ADDRESS = "search.ray.address"
NAMESPACE = "automl-"  # and random digits: actors of two drivers on one cluster never meet
_PREFIX = "automl-ray-"
_SESSIONS = "s"  # Ray opens its own folder to everyone; the one above it, with the token, stays private
_LONGEST_ROOT = 30  # characters: Ray puts sockets below it, and a socket's path has at most 107
_TOKEN = "RAY_AUTH_TOKEN_PATH"
_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # "0" binds every process of Ray to loopback
_USAGE = "RAY_USAGE_STATS_ENABLED"
_START = "`automl cluster` says how to start one."


@dataclass(frozen=True)
class PoolPlan:
    """How many workers run where, and what each takes.

    `workers` is None for as many as fit (on a cluster that is joined); `address` is "auto" or HOST:PORT of a cluster
    that runs, None for a private one.
    """

    workers: int | None
    address: str | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    tasks: int = 1  # that a worker runs at once, each in a thread: for light ones, which mostly wait


class PrivateCluster:
    """A cluster of this process' own on loopback, which asks for a token; it ends with this process however that dies.

    Raises:
        AutomlError: where Ray is already running in this process, or was imported with other network settings.
    """

    is_private = True

    def __init__(self, plan: PoolPlan) -> None:
        assert plan.workers is not None and plan.workers >= 1, "a pool needs at least one worker"
        _refuse_foreign_ray()
        self._plan = plan
        self._folder = session_folder()
        self._enter()

    def reenter(self) -> None:
        """Start another one, after the last was left."""
        self._enter()

    def leave(self) -> None:
        """End the cluster and remove its session; the token stays, because Ray remembers it while the process lives."""
        self.ray.shutdown()
        shutil.rmtree(self._folder / _SESSIONS, ignore_errors=True)

    def _enter(self) -> None:
        os.environ.update(ray_settings(self._folder / "token"))  # Ray and every process that it starts read these
        os.environ.pop("RAY_AUTH_TOKEN", None)  # it would win over the file
        os.environ.pop("RAY_ADDRESS", None)  # it would join somebody's cluster
        import ray

        assert self._plan.workers is not None
        ray.init(
            address="local",
            num_cpus=math.ceil(self._plan.workers * self._plan.cpus),
            num_gpus=None if self._plan.gpus > 0 else 0,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            configure_logging=False,
            log_to_driver=False,
            namespace=_new_namespace(),
            _temp_dir=str(self._folder / _SESSIONS),
        )
        _silence()
        self.ray: Any = ray
        self.address = str(ray.get_runtime_context().gcs_address)
        self._check_gpus()

    def _check_gpus(self) -> None:
        assert self._plan.workers is not None
        wanted, there = self._plan.workers * self._plan.gpus, float(self.ray.cluster_resources().get("GPU", 0.0))
        if wanted > there:
            self.leave()
            remedy = "Lower search.ray.gpus or search.workers."
            raise input_error("search.ray.gpus", f"at most {there:g} for all workers on this machine", wanted, remedy)


class JoinedCluster:
    """A cluster that somebody else started; leaving it ends what is ours and nothing else.

    Its token is taken as Ray finds it (RAY_AUTH_MODE, RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH, ~/.ray/auth_token).

    Raises:
        InputError: where no cluster answers at the address, or it refuses the token or the versions.
        AutomlError: where Ray is already running in this process for something else.
    """

    is_private = False

    def __init__(self, address: str) -> None:
        self._asked = self.address = address
        ray = sys.modules.get("ray")
        if ray is not None and ray.is_initialized():
            _require_ours(ray)
            self.ray: Any = ray
            self.address = str(ray.get_runtime_context().gcs_address)
        else:
            self._enter()

    def reenter(self) -> None:
        """Join it again, after it was lost and left."""
        self._enter()

    def leave(self) -> None:
        """End our actors and go; the cluster stays."""
        self.ray.shutdown()

    def _enter(self) -> None:
        if self.address != "auto" and not answers(self.address):
            raise input_error(ADDRESS, "a Ray cluster that runs", f"{self.address}, where nothing answers", _START)
        os.environ.setdefault(_USAGE, "0")
        import ray

        try:
            ray.init(
                address=self.address, namespace=_new_namespace(), configure_logging=False, log_to_driver=False,
            )  # fmt: skip
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            ray.shutdown()
            raise self._refusal(error) from error
        _silence()
        self.ray = ray
        self.address = str(ray.get_runtime_context().gcs_address)

    def _refusal(self, error: Exception) -> AutomlError:
        text = " ".join(str(error).split())
        if "ersion mismatch" in text:
            remedy = "Install the same versions on every node and here."
            return input_error(ADDRESS, "a cluster of the same Ray and Python as here", text, remedy)
        if self.address == "auto" or not answers(self.address):
            return input_error(ADDRESS, "a Ray cluster that runs", f"{self.address}: {text}", _START)
        if isinstance(error, ConnectionError):
            remedy = f"Set RAY_AUTH_MODE=token and {_TOKEN} to the file with the cluster's token."
            return input_error(ADDRESS, "a cluster that takes our token", f"{self.address}, which refuses it", remedy)
        remedy = "Run the search on a machine of the cluster, such as its head."
        return input_error(ADDRESS, "a cluster that this machine is a node of", f"{self.address}: {text}", remedy)


Cluster = PrivateCluster | JoinedCluster


def enter_cluster(plan: PoolPlan) -> Cluster:
    """Return the cluster that the plan names, entered."""
    return PrivateCluster(plan) if plan.address is None else JoinedCluster(plan.address)


def answers(address: str, timeout_s: float = PROBE_S) -> bool:
    """Tell whether anything listens at HOST:PORT.

    Raises:
        InputError: where that is no HOST:PORT.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise input_error(ADDRESS, "auto, or HOST:PORT", repr(address))
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout_s):
            return True
    except OSError:
        return False


def ray_settings(token: Path) -> Mapping[str, str]:
    """Return the environment that keeps a cluster private."""
    return {_LOOPBACK: "0", _USAGE: "0", "RAY_AUTH_MODE": "token", _TOKEN: str(token)}


def end_orphans(folder: Path) -> None:
    """End the processes of a dead driver's session: agents of Ray outlive a driver that was killed as it started."""
    import psutil

    for process in psutil.process_iter(["environ"]):
        environment = process.info["environ"]  # None where it may not be read
        if environment is not None and environment.get(_TOKEN) == str(folder / "token"):
            with suppress(psutil.NoSuchProcess):
                process.kill()


def _silence() -> None:
    """Keep Ray from printing what raylets say on standard output, where a command's result is printed."""
    from ray._private import worker

    worker._worker_logs_enabled = False  # noqa: SLF001 Ray offers no other switch for these


def _new_namespace() -> str:
    return NAMESPACE + secrets.token_hex(8)


def _require_ours(ray: Any) -> None:
    if not str(ray.get_runtime_context().namespace).startswith(NAMESPACE):
        raise AutomlError("Ray is already running in this process: end it, or set search.executor to inline")


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


def session_folder() -> Path:
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
