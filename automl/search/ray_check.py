"""Look at a Ray cluster that runs, from each of its nodes: can a study use it, and is it closed to strangers?"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automl.search.ray_cluster import JoinedCluster, answers
from automl.search.ray_files import leave_mark, remove_mark, sees_mark
from automl.search.ray_nodes import Node, ask_nodes, installed_versions, list_nodes, version_faults


@dataclass(frozen=True)
class Look:
    """What a process on a node finds there. `sees_runs` is None where no run folder was asked for."""

    versions: Mapping[str, str]
    asks_for_token: bool
    reports_usage: bool
    sees_runs: bool | None


@dataclass(frozen=True)
class NodeReport:
    """A node; `look` says why there is none as text."""

    host: str
    cpus: float
    gpus: float
    object_store_bytes: int
    resources: tuple[str, ...]  # custom ones
    look: Look | str


@dataclass(frozen=True)
class ClusterReport:
    """A cluster, what is wrong with it for a study, and what may be meant so."""

    address: str
    nodes: tuple[NodeReport, ...]
    faults: tuple[str, ...]
    remarks: tuple[str, ...]


def check_cluster(address: str, lane: str | None = None, runs: Path | None = None) -> ClusterReport:
    """Return how the cluster stands; it is joined for it, asked on every node, and left.

    Args:
        address: auto, or HOST:PORT.
        lane: the custom resource of the node whose device is to be timed.
        runs: a folder that every node should see.

    Raises:
        InputError: where there is no such cluster, or it refuses the token or the versions.
    """
    cluster, driver = JoinedCluster(address), secrets.token_hex(16)
    try:
        if runs is not None:
            leave_mark(runs.resolve(), driver)
        nodes = [node for node in list_nodes(cluster.ray) if node.alive and answers(node.address)]
        folder = None if runs is None else str(runs.resolve())
        looks = ask_nodes(cluster.ray, nodes, look_around, folder, driver)
        reports = tuple(_report(node, looks[node.id]) for node in nodes)
        return ClusterReport(cluster.address, reports, tuple(_faults(reports, lane)), tuple(_remarks(reports)))
    finally:
        if runs is not None:
            remove_mark(runs.resolve())
        cluster.leave()


def look_around(runs: str | None, driver: str) -> Look:
    """Return what this process finds on its node."""
    from ray._common.usage import usage_lib
    from ray._private.authentication.authentication_utils import is_token_auth_enabled

    return Look(
        versions=installed_versions(),
        asks_for_token=bool(is_token_auth_enabled()),
        reports_usage=os.environ.get("RAY_USAGE_STATS_ENABLED") != "0" and bool(usage_lib.usage_stats_enabled()),
        sees_runs=None if runs is None else sees_mark(Path(runs), driver),
    )


def _report(node: Node, look: Any) -> NodeReport:
    known = ("CPU", "GPU", "memory", "object_store_memory")
    custom = [name for name in node.total if name not in known and not name.startswith(("node:", "accelerator_type:"))]
    cpus, gpus = node.total.get("CPU", 0.0), node.total.get("GPU", 0.0)
    return NodeReport(node.host, cpus, gpus, int(node.total.get("object_store_memory", 0)), tuple(sorted(custom)), look)


def _faults(nodes: tuple[NodeReport, ...], lane: str | None) -> list[str]:
    faults: list[str] = []
    for node in nodes:
        found = node.look
        faults += map(str, version_faults(node.host, found.versions if isinstance(found, Look) else found))
        if isinstance(found, Look) and not found.asks_for_token:
            faults.append(
                f"node {node.host} must ask for a token, but does not: whoever reaches its ports can run code there. "
                "Start every node with RAY_AUTH_MODE=token."
            )
    if lane is not None and not any(lane in node.resources for node in nodes):
        faults.append(
            f"search.ray.lane must be a resource of a node, but got {lane}, which no node has. "
            f"""Start the device's node with: ray start --resources '{{"{lane}": 1}}'."""
        )
    if not any(node.cpus >= 1 for node in nodes):
        faults.append("the cluster must have a node with a CPU for a worker, but got none. Add a node.")
    return faults


def _remarks(nodes: tuple[NodeReport, ...]) -> list[str]:
    looks = [(node.host, node.look) for node in nodes if isinstance(node.look, Look)]
    blind = [host for host, look in looks if look.sees_runs is False]
    talking = [host for host, look in looks if look.reports_usage]
    remarks = []
    if blind:
        remarks.append(
            f"The run folder is not the same one on {', '.join(blind)}: workers there get the files that they need and "
            "send theirs back. The user's own files (models, teachers) must lie at the same path on every node."
        )
    if talking:
        remarks.append(f"Ray reports its use to its makers from {', '.join(talking)}: set RAY_USAGE_STATS_ENABLED=0.")
    return remarks
