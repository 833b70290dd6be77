"""The timing lane as a Ray resource: the device that is timed sits on one node, workers reach it from all others.

Two actors live on that node. One times, one after another, and nothing else; the other one scores files, measures
their memory and answers for the device, on a core beside the lane, so that a worker elsewhere trains meanwhile. A
worker sends a file once, by its hash. On the lane's own node workers use the device directly, under the same locks.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from automl.errors import AutomlError, input_error
from automl.evaluation.files import keep_file
from automl.outcome import Kind, Timing
from automl.search.executor import MachineError
from automl.search.ray_cluster import JoinedCluster, PoolPlan
from automl.search.ray_files import own_folder
from automl.targets import Contestant, Control, Format, Runner, Target, default_lane_folder, open_target
from automl.targets.lanes import training_slot
from automl.targets.memory import peak_memory
from automl.targets.probe import u8s8_saturates
from automl.targets.target import ONNX_RUNTIME

TIMER, SCORER = "lane-timer", "lane-scorer"
START_S = 120.0
CALL_S = 600.0  # with the calls of all other workers before it
ATTEMPTS, REST_S = 4, 2.0
CHUNK = 64  # samples between two looks at whether a timing wants the core
KEPT_FILES = 512
FOLDER = "timed"


@dataclass(frozen=True)
class Opening:
    """How the device's target is opened on its own node."""

    name: str
    batch: int
    channel_multiple: int
    runtimes: tuple[str, ...]

    def __call__(self) -> Target:
        """Return the target of the machine that this is called on."""
        return open_target(self.name, batch=self.batch, channel_multiple=self.channel_multiple, runtimes=self.runtimes)


@dataclass(frozen=True)
class Given:
    """The target of the driver's own machine, opened already."""

    target: Target

    def __call__(self) -> Target:
        """Return it."""
        return self.target


@dataclass(frozen=True)
class Missing:
    """Hashes of the files that the device's node has not got."""

    hashes: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """What the device's node tells of it."""

    device: Target
    node: str
    formats: tuple[Format, ...]
    saturates: bool


class LaneHost:
    """An actor on the device's node: one of them times, another one scores."""

    def __init__(self, opening: Callable[[], Target]) -> None:
        self._target = opening()
        self._folder = own_folder()

    def facts(self) -> Facts:
        """Tell of the device."""
        import ray

        node, runtimes = str(ray.get_runtime_context().get_node_id()), self._target.runtimes()
        return Facts(self._target, node, self._target.formats(), u8s8_saturates(runtimes))

    def keep(self, content: bytes) -> None:
        """Keep a file under its hash; the oldest ones go where there are too many."""
        keep_file(content, self._folder, FOLDER)
        files = sorted((self._folder / FOLDER).iterdir(), key=lambda path: path.stat().st_mtime)
        for path in files[:-KEPT_FILES]:
            path.unlink()

    def call(self, device: str, hashes: Sequence[str], question: Callable[..., Any]) -> Any:
        """Return what the question asks of the target and the paths of these files, or which of them are missing.

        Raises:
            MachineError: where this is another device than the study's, after a restart elsewhere.
        """
        if self._target.fingerprint != device:
            raise MachineError(f"the lane came back on another device: {self._target.fingerprint}")
        found = {sha256: self._find(sha256) for sha256 in hashes}
        paths = {sha256: path for sha256, path in found.items() if path is not None}
        missing = tuple(sha256 for sha256 in found if sha256 not in paths)
        return Missing(missing) if missing else question(self._target, paths)

    def _find(self, sha256: str) -> Path | None:
        folder = self._folder / FOLDER
        return next(iter(folder.glob(f"{sha256}*")), None) if folder.is_dir() else None


@dataclass(frozen=True)
class Compare:
    """Time a file against its control and twin."""

    subject: Contestant
    control: Control
    twin: Contestant | None
    moment: str

    def __call__(self, target: Target, paths: Mapping[str, Path]) -> Timing:
        """Return the timing."""
        twin = None if self.twin is None else replace(self.twin, path=paths[self.twin.sha256])
        subject = replace(self.subject, path=paths[self.subject.sha256])
        return target.compare(subject, replace(self.control, path=paths[self.control.sha256]), twin, self.moment)


@dataclass(frozen=True)
class Reference:
    """Fix a control's milliseconds."""

    sha256: str
    kind: str
    beside: Control | None

    def __call__(self, target: Target, paths: Mapping[str, Path]) -> float:
        """Return them."""
        beside = None if self.beside is None else replace(self.beside, path=paths[self.beside.sha256])
        return target.reference_ms(paths[self.sha256], self.kind, beside)


@dataclass(frozen=True)
class Answer:
    """Run a file on samples, on a core that no timing wants."""

    sha256: str
    runtime: str
    samples: NDArray[Any]

    def __call__(self, target: Target, paths: Mapping[str, Path]) -> NDArray[np.float32]:
        """Return the logits."""
        runner, parts = target.load(paths[self.sha256], self.runtime), []
        with training_slot(default_lane_folder()) as slot:
            for start in range(0, max(len(self.samples), 1), CHUNK):
                parts.append(runner(self.samples[start : start + CHUNK]))
                slot.give_way()
        return np.concatenate(parts)


@dataclass(frozen=True)
class Peak:
    """Measure what loading and running a file costs in memory."""

    sha256: str
    runtime: str

    def __call__(self, target: Target, paths: Mapping[str, Path]) -> int | None:  # noqa: ARG002 every question has it
        """Return the bytes."""
        with training_slot(default_lane_folder()):
            return peak_memory(paths[self.sha256], self.runtime)


@dataclass(frozen=True)
class LaneTarget:
    """A target whose device sits on another node: what is asked of it is asked there, with the files that it concerns.

    `device` is the real target, for workers of its own node; `resource` the custom resource of that node, None where
    it is the driver's own. `actors` live as long as somebody holds them; they are asked by name, which outlives them.
    """

    device: Target
    node: str
    resource: str | None
    opening: Callable[[], Target]
    known_formats: tuple[Format, ...]
    is_saturating: bool
    actors: tuple[Any, ...] = field(compare=False, repr=False)

    @property
    def name(self) -> str:
        """Return the name by which the device is opened on its node."""
        return self.device.name

    @property
    def kind(self) -> Kind:
        """Return the kind of the latencies that it answers."""
        return self.device.kind

    @property
    def fingerprint(self) -> str:
        """Return the device's own."""
        return self.device.fingerprint

    @property
    def channel_multiple(self) -> int:
        """Return the multiple that every width must keep to."""
        return self.device.channel_multiple

    def runtimes(self) -> tuple[str, ...]:
        """Return the runtimes that the device has."""
        return self.device.runtimes()

    def formats(self) -> tuple[Format, ...]:
        """Return the formats of the device's runtimes, as its node found them."""
        return self.known_formats

    def saturates(self) -> bool:
        """Tell whether the U8S8 kernels of the device lose large sums."""
        return self.is_saturating

    def peak_memory(self, path: Path, runtime: str) -> int | None:
        """Return what loading and running the file costs in memory on the device's node."""
        sha256 = _digest(path)
        peak: int | None = self._ask(SCORER, {sha256: path}, Peak(sha256, runtime))
        return peak

    def reference_ms(self, control: Path, kind: str, beside: Control | None = None) -> float:
        """Return the control's milliseconds on the device.

        Raises:
            TargetError: where a file cannot be run.
            MachineError: where the lane cannot be reached.
        """
        sha256 = _digest(control)
        files = {sha256: control} | ({} if beside is None else {beside.sha256: beside.path})
        return float(self._ask(TIMER, files, Reference(sha256, kind, beside)))

    def compare(self, subject: Contestant, control: Control, twin: Contestant | None, moment: str) -> Timing:
        """Time the files on the device, one comparison of all workers at a time.

        Raises:
            TargetError: where a file is missing, differs from its hash, or cannot be run.
            MachineError: where the lane cannot be reached.
        """
        contestants = [one for one in (subject, control, twin) if one is not None]
        files = {one.sha256: one.path for one in contestants}
        timing: Timing = self._ask(TIMER, files, Compare(subject, control, twin, moment))
        return timing

    def load(self, path: Path, runtime: str = ONNX_RUNTIME) -> Runner:
        """Return a function that runs the file on the device; what keeps it from running is raised when it is called.

        Raises:
            MachineError: by the function, where the lane cannot be reached.
        """
        sha256 = _digest(path)

        def run(samples: NDArray[Any]) -> NDArray[np.float32]:
            logits: NDArray[np.float32] = self._ask(SCORER, {sha256: path}, Answer(sha256, runtime, samples))
            return logits

        return run

    def _ask(self, actor: str, files: Mapping[str, Path], question: Callable[..., Any]) -> Any:
        """Return the answer of the device's node; files that it lacks are sent first."""
        trouble: Exception | None = None
        for attempt in range(ATTEMPTS):
            time.sleep(REST_S if attempt else 0.0)
            try:
                return _ask_once(actor, self.fingerprint, files, question)
            except _LaneTroubleError as error:
                trouble = error
        where = "of the search's own machine" if self.resource is None else f"with the resource {self.resource}"
        raise MachineError(f"the timing lane {where} cannot be reached: {trouble}")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class _LaneTroubleError(Exception):
    """Something between a worker and the lane; a restart of the actor may mend it."""


def _ask_once(name: str, device: str, files: Mapping[str, Path], question: Callable[..., Any]) -> Any:
    import ray
    from ray import exceptions

    if not ray.is_initialized():  # looking for the actor would start a cluster of its own
        raise MachineError("the cluster of the timing lane was left")
    actor: Any = None
    try:
        actor = ray.get_actor(name)
        answer = ray.get(actor.call.remote(device, tuple(files), question), timeout=CALL_S)
        if isinstance(answer, Missing):
            ray.get([actor.keep.remote(files[sha256].read_bytes()) for sha256 in answer.hashes], timeout=CALL_S)
            answer = ray.get(actor.call.remote(device, tuple(files), question), timeout=CALL_S)
    except exceptions.GetTimeoutError as error:
        ray.kill(actor, no_restart=False)  # it is stuck: Ray starts it anew
        raise _LaneTroubleError(f"no answer within {CALL_S:g} s") from error
    except exceptions.RayTaskError as error:
        raise error.cause from error  # what the device said
    except (exceptions.RayError, ValueError) as error:
        raise _LaneTroubleError(str(error).splitlines()[0]) from error
    if isinstance(answer, Missing):
        raise _LaneTroubleError("it does not keep the files that it is sent")
    return answer


def open_lane(plan: PoolPlan, resource: str, opening: Opening) -> LaneTarget:
    """Return the target of the node that has the custom resource; the cluster is joined for it and stays so.

    Raises:
        InputError: where there is no such cluster or node, or another search holds the resource.
    """
    if plan.address is None:
        raise input_error("search.ray.lane", "given together with search.ray.address", f"{resource} alone")
    cluster = JoinedCluster(plan.address)
    if cluster.ray.cluster_resources().get(resource, 0.0) < 1:
        remedy = f"""Start the device's node with: ray start --resources '{{"{resource}": 1}}'."""
        raise input_error("search.ray.lane", "a resource of a node", f"{resource}, which no node has", remedy)
    return start_lane(cluster.ray, resource, opening)


def near_driver(ray: Any, target: Target) -> LaneTarget:
    """Return the driver's own target as one that workers on other nodes can reach."""
    return start_lane(ray, None, Given(target))


def start_lane(ray: Any, resource: str | None, opening: Callable[[], Target]) -> LaneTarget:
    """Start the actors of a lane, which Ray starts anew where they die, and return its target.

    Raises:
        InputError: where they do not start: the resource is held by another search, or the target is not there.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    host = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=0)(LaneHost)
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    placed = {"scheduling_strategy": here} if resource is None else {"resources": {resource: 1}}
    timer = host.options(name=TIMER, get_if_exists=True, **placed).remote(opening)
    facts = _facts(ray, timer, resource)
    beside = NodeAffinitySchedulingStrategy(facts.node, soft=False)
    scorer = host.options(name=SCORER, get_if_exists=True, scheduling_strategy=beside).remote(opening)
    _facts(ray, scorer, resource)
    return LaneTarget(facts.device, facts.node, resource, opening, facts.formats, facts.saturates, (timer, scorer))


def restarted(ray: Any, lane: LaneTarget) -> LaneTarget:
    """Return the lane on a cluster that was entered again.

    Raises:
        InputError: where its actors do not start.
        MachineError: where it came back on another device.
    """
    again = start_lane(ray, lane.resource, lane.opening)
    if again.fingerprint != lane.fingerprint:
        raise MachineError(f"the lane came back on another device: {again.fingerprint}")
    return again


def _facts(ray: Any, actor: Any, resource: str | None) -> Facts:
    where = "search.ray.lane" if resource is not None else "the search's own machine"
    try:
        facts: Facts = ray.get(actor.facts.remote(), timeout=START_S)
    except ray.exceptions.GetTimeoutError as error:
        got = f"{resource}, which was not to be had in {START_S:g} s"
        raise input_error(where, "a resource that no other search holds", got) from error
    except ray.exceptions.RayError as error:
        if isinstance(getattr(error, "cause", None), AutomlError):
            raise error.cause from error
        raise input_error(where, "a node that opens the target", " ".join(str(error).split())) from error
    return facts
