"""The executor on Ray: warm actors, one task at a time each, on a private cluster or on one that was joined.

It tells three deaths apart: a worker that died alone (its task is to blame), a node that died, and a cluster that is
lost (no task is). After a loss it enters the cluster again; tasks wait for that a while, then they are handed back.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from automl.errors import AutomlError, input_error
from automl.evaluation import EvaluationContext
from automl.search.executor import Completion, Task, describe
from automl.search.ray_cluster import PoolPlan, answers, enter_cluster
from automl.search.ray_files import Delivery, files_of_context, files_of_task, leave_mark, remove_mark, write_files
from automl.search.ray_lane import LaneTarget, near_driver, restarted
from automl.search.ray_loan import Loan
from automl.search.ray_nodes import LOOK_EVERY_S, Node, Watch, check_versions, version_faults
from automl.search.ray_worker import Greeting, Worker

__all__ = ["PoolPlan", "RayExecutor"]

DEATH_GRACE_S = 1.5  # deaths within this time have one cause, such as a full memory
PING_S = 5.0  # for an actor that was cut off to show whether it lives
START_S = 120.0  # for the first worker of a cluster that was joined
PATIENCE_S = 30.0  # of a task without a worker; then the driver gets it back and decides
POLL_S = 0.1
_log = logging.getLogger(__name__)


@dataclass
class _Slot:
    actor: Any
    node: str | None  # None until it is known
    greeting: Any = None  # a reference, while the worker starts
    key: str | None = None  # of the task under way
    reference: Any = None


@dataclass(frozen=True)
class _Waiting:
    key: str
    task: Task
    since: float


class RayExecutor:
    """A pool of actors; a worker that dies is replaced, and on a cluster that was joined the pool follows its size.

    A private cluster listens on loopback only, asks for a token that lives in a private folder, reports no usage, and
    runs no dashboard. Its workers, and those on somebody else's cluster, end with `close`, or with this process
    however it dies. Where there is no worker at the moment, one task at a time is taken and waits for one.

    Raises:
        InputError: where the cluster cannot be joined, its nodes have other versions, or no worker fits into it.
        AutomlError: where Ray is already running in this process, or was imported with other network settings.
    """

    def __init__(self, plan: PoolPlan) -> None:
        self._plan = plan
        self._driver = secrets.token_hex(16)
        self._context: Any = None
        self._slots: list[_Slot] = []
        self._waiting: deque[_Waiting] = deque()
        self._handed_back: list[Completion] = []
        self._refused: set[str] = set()  # nodes with other versions
        self._cluster = enter_cluster(plan)
        self._is_lost = False
        try:
            self._begin()
            self._await_worker()
        except BaseException:
            self.close()
            raise

    @property
    def capacity(self) -> int:
        """Return the number of workers, and 1 where there is none at the moment."""
        return max(1, sum(slot.greeting is None for slot in self._slots))

    def pids(self) -> list[int]:
        """Return the workers' processes, waiting until all are warm."""
        return [greeting.pid for greeting in self._greetings()]

    def nodes(self) -> list[str]:
        """Return the node of each worker, waiting until all are warm."""
        return [greeting.node for greeting in self._greetings()]

    def share(self, context: Any) -> None:
        """Put the context into the object store once; every node fetches it once, its workers map it, read-only."""
        if isinstance(context, EvaluationContext):
            leave_mark(context.runs, self._driver)
            is_here = self._cluster.is_private or isinstance(context.target, LaneTarget)
            if context.target.kind == "measured" and not is_here:
                context = replace(context, target=self._lane_near_driver(context))
        self._context = context
        self._put()
        for slot in self._slots:
            slot.actor.share.remote(*self._shared)

    def submit(self, key: str, task: Task) -> None:
        """Send the task to an idle worker; where there is none, it waits for one."""
        self._waiting.append(_Waiting(key, task, time.monotonic()))
        self._dispatch()

    def collect(self, timeout_s: float) -> list[Completion]:
        """Return every ended task; after a death wait a moment for others of the same cause."""
        self._tend()
        if not self._waiting and not self._handed_back and all(slot.key is None for slot in self._slots):
            return []
        ended = self._ended(timeout_s)
        if any(completion.worker_died or completion.withdrawn for completion in ended):
            ended += self._ended(DEATH_GRACE_S)
        return ended

    def end(self, key: str) -> None:
        """Kill the worker that runs the task; one that waits for a worker is handed back as a death."""
        for slot in self._slots:
            if slot.key == key:
                self._kill(slot.actor)
        for waiting in [one for one in self._waiting if one.key == key]:
            self._waiting.remove(waiting)
            self._handed_back.append(Completion(key, error="it was ended before a worker took it", worker_died=True))

    def close(self) -> None:
        """End every worker, and the cluster where it is a private one."""
        if isinstance(self._context, EvaluationContext):
            remove_mark(self._context.runs)
        self._slots.clear()
        self._waiting.clear()
        self._context = None
        if not self._is_lost:
            self._leave()

    @contextmanager
    def lent(self) -> Iterator[Loan]:
        """End the workers of an idle pool and lend their place; they start again when it is given back."""
        assert not self._waiting and all(slot.key is None for slot in self._slots), "lent while tasks are under way"
        for slot in self._slots:
            self._kill(slot.actor)
        self._slots.clear()
        yield Loan(self._shared, self._plan, self._carried, self._delivered, self._room)
        self._grow()
        self._await_worker()

    # --- the cluster: entered, watched, lost, entered again

    def _begin(self) -> None:
        """Start workers on the cluster that was just entered."""
        self._ray = self._cluster.ray
        self._actor_class = self._ray.remote(max_restarts=0, max_task_retries=0)(Worker)
        self._watch = Watch(self._ray, self._cluster.address, own=self._cluster.is_private)
        self._looks = -1
        self._put()
        if not self._cluster.is_private:
            nodes = self._nodes()
            check_versions(self._ray, nodes)
            _check_room(nodes, self._plan)
        self._grow()

    def _await_worker(self) -> None:
        deadline = time.monotonic() + START_S
        while all(slot.greeting is not None for slot in self._slots):
            if time.monotonic() > deadline:
                there = ", ".join(f"{node.host}: {node.free}" for node in self._nodes())
                remedy = "Wait for the others' jobs, or lower search.ray.cpus and search.ray.gpus."
                expected = f"a cluster with {_size(self._plan)} free within {START_S:g} s"
                raise input_error("search.ray.address", expected, f"free resources of {there}", remedy)
            self._welcome(POLL_S)
            self._grow()

    def _put(self) -> None:
        """Put what workers are handed into the object store."""
        files = {} if self._cluster.is_private else files_of_context(self._context)
        self._shared = ([self._ray.put(self._context)], [self._ray.put(files)], self._driver)

    def _tend(self) -> None:
        """See to the pool: is the cluster there, who has come, who is gone, who waits."""
        if self._is_lost:
            self._reenter()
        elif (why := self._watch.loss()) is not None:
            self._lose(why)
        else:
            self._welcome(0)
            if self._looks != self._watch.looks:
                self._looks = self._watch.looks
                self._grow()
        self._dispatch()
        self._hand_back()

    def _lose(self, why: str) -> None:
        """Give up a cluster that is gone: what ran there is handed back."""
        _log.warning("%s: entering it again", why)
        busy = [slot.key for slot in self._slots if slot.key is not None]
        self._handed_back += [Completion(key, error=why, withdrawn=True) for key in busy]
        self._why = why
        self._slots.clear()
        self._leave()
        self._is_lost = True
        self._reenter()

    def _leave(self) -> None:
        if hasattr(self, "_watch"):
            self._watch.end()
        self._cluster.leave()

    def _reenter(self) -> None:
        try:
            self._cluster.reenter()
            self._is_lost = False
            self._ray = self._cluster.ray
            if isinstance(self._context, EvaluationContext) and isinstance(self._context.target, LaneTarget):
                self._context = replace(self._context, target=restarted(self._ray, self._context.target))
            self._begin()
        except (AutomlError, OSError, RuntimeError, self._ray.exceptions.RayError) as error:
            self._why = describe(error)
            if not self._is_lost:
                self._slots.clear()
                self._leave()
                self._is_lost = True

    def _lane_near_driver(self, context: EvaluationContext) -> LaneTarget:
        """Return the driver's device as a lane, the one of an earlier context where it is the same."""
        known = self._context.target if isinstance(self._context, EvaluationContext) else None
        if isinstance(known, LaneTarget) and known.device == context.target:
            return known
        return near_driver(self._ray, context.target)

    # --- workers: started, welcomed, missed

    def _nodes(self) -> list[Node]:
        """Return the nodes that may have workers; the head lists a dead one as alive for a while."""
        known = [node for node in self._watch.nodes().values() if node.alive and node.id not in self._refused]
        return [node for node in known if answers(node.address)]

    def _grow(self) -> None:
        """Start the workers that the plan wants and the cluster has room for; those of dead nodes are settled."""
        for slot in [slot for slot in self._slots if slot.key is None and self._watch.is_dead(slot.node)]:
            self._slots.remove(slot)
        if self._plan.workers is not None:
            for _ in range(self._plan.workers - len({id(slot.actor) for slot in self._slots})):
                self._start(None)
            return
        starting = [slot.node for slot in self._slots if slot.greeting is not None][:: self._plan.tasks]
        for node in self._nodes():
            for _ in range(node.room(self._plan.cpus, self._plan.gpus) - starting.count(node.id)):
                self._start(node.id)

    def _start(self, node: str | None) -> None:
        """Start a worker, on the node where one is named; on our own cluster there is certainly room for it."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        options: dict[str, Any] = {"num_cpus": self._plan.cpus, "num_gpus": self._plan.gpus}
        options["max_concurrency"] = self._plan.tasks
        if node is not None:
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node, soft=False)
        actor = self._actor_class.options(**options).remote(self._shared)
        for _ in range(self._plan.tasks):
            self._slots.append(_Slot(actor, node, None if self._cluster.is_private else actor.greet.remote()))

    def _welcome(self, timeout_s: float) -> None:
        """Take in the workers that have become warm, unless their node has other versions."""
        greetings = {slot.greeting: slot for slot in self._slots if slot.greeting is not None}
        if not greetings:
            return
        ready, _ = self._ray.wait(list(greetings), num_returns=len(greetings), timeout=timeout_s)
        for reference in ready:
            slot = greetings[reference]
            try:
                greeting: Greeting = self._ray.get(reference)
            except self._ray.exceptions.RayError as error:
                _log.warning("a worker did not start: %s", _cause(error))
                self._slots.remove(slot)
                continue
            faults = version_faults(greeting.node, greeting.versions)
            if faults:
                _log.warning("this node is left out: %s", "; ".join(map(str, faults)))
                self._refused.add(greeting.node)
                self._slots.remove(slot)
                self._kill(slot.actor)
            else:
                slot.greeting, slot.node = None, greeting.node

    def _greetings(self) -> list[Greeting]:
        """Return what every worker tells of itself, waiting until all are warm and taken in."""
        greetings = list(self._ray.get([slot.actor.greet.remote() for slot in self._slots]))
        self._welcome(0)
        return greetings

    def _room(self) -> int:
        """Return how many workers there is room for."""
        if self._plan.workers is not None:
            return self._plan.workers
        return max(1, sum(node.size(self._plan.cpus, self._plan.gpus) for node in self._nodes()))

    # --- tasks: dispatched, ended, handed back

    def _dispatch(self) -> None:
        if self._is_lost or self._watch.loss() is not None:
            return  # until the cluster was entered again
        idle = [slot for slot in self._slots if slot.key is None and slot.greeting is None]
        for slot in idle[: len(self._waiting)]:
            waiting = self._waiting.popleft()
            carried = self._carried(waiting.task)
            slot.key, slot.reference = waiting.key, slot.actor.run.remote(waiting.key, waiting.task, carried)

    def _carried(self, task: Task) -> list[Any]:
        """Return references to the files that go with a task."""
        files = {} if self._cluster.is_private else files_of_task(task, self._context)
        return [self._ray.put(files)] if files else []

    def _hand_back(self) -> None:
        """Hand back what has waited for a worker for too long."""
        if any(slot.greeting is None for slot in self._slots):
            return
        now = time.monotonic()
        for waiting in [one for one in self._waiting if now - one.since > PATIENCE_S]:
            self._waiting.remove(waiting)
            why = self._why if self._is_lost else "the Ray cluster has no room for a worker at the moment"
            self._handed_back.append(Completion(waiting.key, error=why, withdrawn=True))

    def _ended(self, timeout_s: float) -> list[Completion]:
        handed_back, self._handed_back = self._handed_back, []
        if handed_back:
            timeout_s = 0.0
        busy = {slot.reference: slot for slot in self._slots if slot.key is not None}
        if not busy:
            if self._waiting and timeout_s > 0:
                time.sleep(min(timeout_s, LOOK_EVERY_S))
            return handed_back
        self._ray.wait(list(busy), num_returns=1, timeout=timeout_s)
        ready, _ = self._ray.wait(list(busy), num_returns=len(busy), timeout=0)
        return handed_back + [self._settle(busy[reference]) for reference in ready]

    def _settle(self, slot: _Slot) -> Completion:
        key, reference = slot.key, slot.reference
        assert key is not None
        slot.key = slot.reference = None
        errors = self._ray.exceptions
        try:
            delivery: Delivery = self._ray.get(reference)
        except (errors.RayActorError, errors.WorkerCrashedError, errors.OutOfMemoryError) as error:
            return self._bury(key, slot, error)
        except errors.RayError as error:  # such as a value that cannot be pickled
            return Completion(key, error=_cause(error), traceback=str(error))
        return self._delivered(delivery)

    def _delivered(self, delivery: Delivery) -> Completion:
        """Return the end of a task whose files lie in the driver's run folder now."""
        try:
            if delivery.files:
                write_files(delivery.files, self._context.runs)
        except OSError as error:
            return Completion(delivery.completion.key, error=describe(error), withdrawn=True)
        return delivery.completion

    def _bury(self, key: str, slot: _Slot, error: Exception) -> Completion:
        """Return the death of a worker as what it was, and replace it where its node lives."""
        self._slots.remove(slot)
        self._slots = [one for one in self._slots if one.actor is not slot.actor or one.key is not None]
        why = self._machine_fault(slot, error)
        if why is not None:
            _log.warning("task %s is handed back: %s", key, why)
            self._kill(slot.actor)  # it may only have been cut off
            return Completion(key, error=why, withdrawn=True)
        if all(one.actor is not slot.actor for one in self._slots):  # the last of its tasks is told of
            self._start(None if self._plan.workers is not None else slot.node)
        return Completion(key, error=_cause(error), worker_died=True)

    def _machine_fault(self, slot: _Slot, error: Exception) -> str | None:
        """Return what befell the machine, None where the worker died alone."""
        node = slot.node if slot.node is not None else next(iter(self._watch.nodes()), None)
        if "node has died" in str(error) or self._watch.is_dead(node):
            return f"the node of its worker died: {_cause(error)}"
        if not isinstance(error, self._ray.exceptions.ActorUnavailableError):
            return None
        try:  # the actor was cut off: does it live?
            self._ray.get(slot.actor.greet.remote(), timeout=PING_S)
        except self._ray.exceptions.ActorDiedError as death:
            return f"the node of its worker died: {_cause(death)}" if "node has died" in str(death) else None
        except self._ray.exceptions.RayError as silence:
            return f"its worker cannot be reached: {_cause(silence)}"
        return f"the connection to its worker broke: {_cause(error)}"

    def _kill(self, actor: Any) -> None:
        with suppress(ValueError, self._ray.exceptions.RayError):
            self._ray.kill(actor)


def _check_room(nodes: Sequence[Node], plan: PoolPlan) -> None:
    """Refuse a cluster in which no worker would ever fit.

    Raises:
        InputError: naming what each node has.
    """
    if any(node.size(plan.cpus, plan.gpus) for node in nodes):
        return
    there = ", ".join(
        f"{node.host}: {node.total.get('CPU', 0):g} CPUs, {node.total.get('GPU', 0):g} GPUs" for node in nodes
    )
    remedy = "Lower search.ray.cpus and search.ray.gpus, or add a node."
    raise input_error("search.ray.address", f"a cluster with a node of {_size(plan)}", there, remedy)


def _size(plan: PoolPlan) -> str:
    return f"{plan.cpus:g} CPUs" + (f" and {plan.gpus:g} GPUs" if plan.gpus > 0 else "") + " for a worker"


def _cause(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
