"""The nodes of the cluster that was entered: which live, what is free on them, and whether they are like this one."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Any

from automl.errors import Fault, InputError
from automl.search.ray_cluster import answers

PACKAGES = ("automl", "ray", "torch", "onnx", "onnxruntime", "numpy")  # that decide what a worker returns
LOOK_EVERY_S = 2.0
ANSWER_S = 60.0  # a process that imports torch on a busy machine
FAILURES = 3  # looks in a row at which the head did not answer: it is gone
HUNG_S = 30.0  # without an answer from a head that still listens


@dataclass(frozen=True)
class Node:
    """A node as the head last told of it: all that it has, and what of that is free now."""

    id: str
    address: str  # HOST:PORT of its raylet
    host: str
    alive: bool
    total: Mapping[str, float]
    free: Mapping[str, float]

    def room(self, cpus: float, gpus: float) -> int:
        """Return how many workers of this size would fit into what is free."""
        return _room(self.free, cpus, gpus)

    def size(self, cpus: float, gpus: float) -> int:
        """Return how many workers of this size the whole node has room for."""
        return _room(self.total, cpus, gpus)


def _room(resources: Mapping[str, float], cpus: float, gpus: float) -> int:
    wanted = [("CPU", cpus), ("GPU", gpus)]
    return min(math.floor(resources.get(name, 0.0) / amount + 1e-6) for name, amount in wanted if amount > 0)


def list_nodes(ray: Any) -> list[Node]:
    """Return every node that the head knows of, dead ones too; blocks while the head is gone."""
    from ray._private.state import available_resources_per_node

    free = available_resources_per_node()  # type: ignore[no-untyped-call]
    return [
        Node(
            id=node["NodeID"],
            address=f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}",
            host=f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})",
            alive=bool(node["Alive"]),
            total=dict(node["Resources"]),
            free=free.get(node["NodeID"], {}),
        )
        for node in ray.nodes()
    ]


class Watch:
    """Looks at the nodes every now and then, beside the driver, whom a head that is gone must not block.

    Where the driver's `own` node is the only one, the cluster is lost with it: Ray ends a driver that goes on using it.
    """

    def __init__(self, ray: Any, head: str, *, own: bool) -> None:
        self._ray, self._head, self._own = ray, head, own
        self._is_alone = False
        self._ended = threading.Event()
        self._failures, self._looks = 0, 0
        self._nodes: Mapping[str, Node] = {node.id: node for node in list_nodes(ray)}
        self._seen = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="automl-ray-nodes", daemon=True)
        self._thread.start()

    @property
    def looks(self) -> int:
        """Return how often the nodes were looked at."""
        return self._looks

    def nodes(self) -> Mapping[str, Node]:
        """Return the nodes by id, as they were last seen."""
        return self._nodes

    def loss(self) -> str | None:
        """Return why the cluster is lost, None where it is there."""
        if self._is_alone:
            return "the only node of the Ray cluster is gone"
        if self._failures >= FAILURES:
            return f"the head of the Ray cluster at {self._head} is gone"
        if time.monotonic() - self._seen > HUNG_S:
            return f"the head of the Ray cluster at {self._head} has not answered for {HUNG_S:g} s"
        return None

    def is_dead(self, node: str | None) -> bool:
        """Tell whether a node is gone: the head needs some 15 s to notice, its port tells at once."""
        found = None if node is None else self._nodes.get(node)
        return found is not None and (not found.alive or not answers(found.address))

    def end(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join(LOOK_EVERY_S)  # it may be stuck with a head that is gone: it dies with its process

    def _run(self) -> None:
        while not self._ended.wait(LOOK_EVERY_S):
            if not answers(self._head):
                self._failures += 1
                continue
            if self._own and not all(answers(node.address) for node in self._nodes.values()):
                self._is_alone = True
                return
            try:
                nodes = {node.id: node for node in list_nodes(self._ray)}
            except (OSError, RuntimeError, ValueError, AttributeError, self._ray.exceptions.RayError):
                self._failures += 1  # the connection was closed meanwhile, or is breaking down
                continue
            self._nodes, self._failures, self._seen = nodes, 0, time.monotonic()
            self._looks += 1


def installed_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide results, of this process."""
    found = {"python": python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def versions_per_node(ray: Any, nodes: Sequence[Node]) -> dict[str, Mapping[str, str] | str]:
    """Return for each node its versions, or why it could not tell; a task on every one."""
    return ask_nodes(ray, nodes, installed_versions)


def ask_nodes(ray: Any, nodes: Sequence[Node], question: Any, *arguments: Any) -> dict[str, Any]:
    """Return for each node what the function returned there, or as text why it did not."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=0)(question)
    asked = {
        node.id: task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)).remote(
            *arguments
        )
        for node in nodes
    }
    ray.wait(list(asked.values()), num_returns=len(asked), timeout=ANSWER_S)
    return {node: _answer(ray, reference) for node, reference in asked.items()}


def version_faults(node: str, found: Mapping[str, str] | str) -> list[Fault]:
    """Return what is installed otherwise on a node than here."""
    if isinstance(found, str):
        return [Fault(f"node {node}", "able to run this installation of automl", found, _SAME)]
    mine = installed_versions()
    return [
        Fault(f"node {node}: {name}", wanted, found.get(name, "not installed"), _SAME)
        for name, wanted in mine.items()
        if found.get(name) != wanted
    ]


_SAME = "Install the same versions on every node and here."


def check_versions(ray: Any, nodes: Sequence[Node]) -> None:
    """Refuse a cluster whose nodes are not like this one.

    Raises:
        InputError: naming each node and version.
    """
    found = versions_per_node(ray, nodes)
    faults = [fault for node in nodes for fault in version_faults(node.host, found[node.id])]
    if faults:
        raise InputError(faults)


def _answer(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference, timeout=0)
    except ray.exceptions.RayError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return lines[-1] if lines else type(error).__name__
