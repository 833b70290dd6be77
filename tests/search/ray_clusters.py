"""Ray clusters of several real nodes on this machine, for tests: loopback, with a token, ended whole."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil

from automl.search.ray_cluster import ray_settings, session_folder

ROOT = Path(__file__).parents[2]
ANSWER_S = 60.0


class LoopbackCluster:
    """A head, and nodes as they are added. Their token is this process' own: Ray remembers the first that it saw."""

    def __init__(self, cpus: int, port: int = 0) -> None:
        os.environ.update(ray_settings(session_folder() / "token"))
        self._folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # sockets need a short path
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.search.cluster_process"], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**os.environ, "RAY_TMPDIR": str(self._folder), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        self.address = self.tell(f"head {cpus} {port}")

    def add(self, cpus: int, **resources: float) -> None:
        """Add a node."""
        self.tell(f"node {cpus} {json.dumps(resources)}")

    def tell(self, order: str) -> str:
        """Send an order and return its answer."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{order}\n")
        self._process.stdin.flush()
        readable, _, _ = select.select([self._process.stdout], [], [], ANSWER_S)
        answer = self._process.stdout.readline().strip() if readable else ""
        assert answer, f"no answer to {order}"
        return answer

    def processes(self) -> list[psutil.Process]:
        """Return every process of the cluster."""
        return [
            process
            for process in psutil.process_iter(["environ"])
            if (process.info["environ"] or {}).get("RAY_TMPDIR") == str(self._folder)
        ]

    def kill_head(self) -> None:
        """Kill the head's processes, as when its machine goes."""
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                if process.name() in ("gcs_server", "raylet"):
                    process.kill()

    def end(self) -> None:
        """End every process of the cluster."""
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.communicate()
        shutil.rmtree(self._folder, ignore_errors=True)
