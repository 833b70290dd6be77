"""Who may compute where: one timing lane a device, and training slots on all cores.

Nothing computes on the lane's core while it times. A training may use that core otherwise, as a guest: it holds the
guest's lock while it computes, and gives way at its next step boundary when a measurer has taken the lane.

Locks are `flock`s on files in a shared folder: they hold across processes and die with their holder, however it
ends. The files stay behind on purpose, since removing a locked file would let two holders in. Neither lock can be
taken twice by one thread: leave the training slot before entering the timing lane.

A process that is stopped, or hangs, keeps its lock: `stuck_holder` names who has kept the lane from everyone for too
long, and `end_stuck_holder` ends it.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from automl.targets.lane_holders import (
    COMPUTING,
    TIMING,
    WAITING,
    Holder,
    is_mine_to_end,
    is_stopped,
    kill,
    read_holder,
    sign,
    wipe,
)

POLL_SECONDS = 0.02


@dataclass(frozen=True)
class CorePlan:
    """The core that times, and those that train first; on a machine of one core they are the same."""

    lane: int
    training: tuple[int, ...]


def core_plan(cores: Collection[int] | None = None, siblings: Mapping[int, Collection[int]] | None = None) -> CorePlan:
    """Return the plan for these cores: the first one times, the others are the first to train.

    Args:
        cores: those that may be used; None means all that the calling thread is allowed now, so ask before a
            lane or a slot has narrowed them.
        siblings: the hardware threads that share a core with each; None reads them from the system. Those of the
            lane do not train, unless nothing else is left.
    """
    usable = sorted(allowed_cores() if cores is None else cores)
    lane, others = usable[0], usable[1:]
    beside = set(_sibling_cores(lane) if siblings is None else siblings.get(lane, ()))
    training = [core for core in others if core not in beside] or others or [lane]
    return CorePlan(lane, tuple(training))


def allowed_cores() -> tuple[int, ...]:
    """Return the cores that the calling thread may run on now."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    count = os.cpu_count()
    return tuple(range(1 if count is None else count))


def _sibling_cores(core: int) -> set[int]:
    path = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    try:
        return _parse_core_list(path.read_text())
    except (OSError, ValueError):
        return set()


def _parse_core_list(text: str) -> set[int]:
    """Return the numbers in a list such as "0-3,8"."""
    bounds = [part.split("-") for part in text.strip().split(",") if part]
    return {core for bound in bounds for core in range(int(bound[0]), int(bound[-1]) + 1)}


@contextmanager
def timing_lane(folder: Path, device: str = "cpu", *, plan: CorePlan | None = None) -> Iterator[CorePlan]:
    """Wait for the device's timing lane and hold it, with the calling thread pinned to the lane's core.

    A guest that trains on that core is waited for until its next step boundary.
    """
    plan = core_plan() if plan is None else plan
    with ExitStack() as stack:
        lane = stack.enter_context(_locked(_lane_file(folder, device)))
        sign(lane, WAITING)
        stack.enter_context(_locked(_guest_file(folder, device)))
        stack.enter_context(_pinned((plan.lane,), _calling_thread))
        sign(lane, TIMING)
        yield plan


def lane_holder(folder: Path, device: str = "cpu") -> Holder | None:
    """Return who times on the device now, None where nobody does."""
    path = _lane_file(folder, device)
    holder = read_holder(path)
    return holder if holder is not None and holder.doing == TIMING and _is_held(path) else None


def stuck_holder(folder: Path, device: str, limit_s: float) -> Holder | None:
    """Return the process that has kept the device's lane from everyone for longer than `limit_s`, None if none has.

    That is one that times for so long, or a stopped guest for which a measurer has waited for so long (one that
    computes is at its step, however long that takes). Those who wait for the lane are never meant.
    """
    return next((holder for holder, _ in _suspects(folder, device, limit_s)), None)


def end_stuck_holder(folder: Path, device: str, limit_s: float) -> Holder | None:
    """End the process that `stuck_holder` names, and return it; None where there is none, or it may not be ended.

    It is ended only as a living process of this user that holds its lock still; never this process itself.
    """
    for holder, path in _suspects(folder, device, limit_s):
        if is_mine_to_end(holder) and read_holder(path) == holder and _is_held(path) and kill(holder):
            return holder
    return None


def _suspects(folder: Path, device: str, limit_s: float) -> Iterator[tuple[Holder, Path]]:
    """Yield who is stuck, with the lock that it holds: at most one."""
    lane, guest = _lane_file(folder, device), _guest_file(folder, device)
    first = read_holder(lane)
    if first is None or first.held_s <= limit_s or not _is_held(lane):
        return
    if first.doing == TIMING:
        yield first, lane
        return
    second = read_holder(guest)
    if second is not None and is_stopped(second) and _is_held(guest):
        yield second, guest


@dataclass(frozen=True)
class TrainingSlot:
    """The cores held; call `give_way` at every step boundary, so that a measurer gets the lane's core."""

    cores: tuple[int, ...]
    give_way: Callable[[], None]


@contextmanager
def training_slot(
    folder: Path, device: str = "cpu", *, cores: int = 1, plan: CorePlan | None = None
) -> Iterator[TrainingSlot]:
    """Wait for so many free cores and hold them, with all threads of the process pinned to them.

    The cores beside the lane are taken first; the lane's own is the last choice.

    Yields:
        The slot: `cores` cores, or all where there are fewer.
    """
    plan = core_plan() if plan is None else plan
    paths = {core: folder / f"core-{core}.lock" for core in plan.training if core != plan.lane}
    paths[plan.lane] = _guest_file(folder, device)
    with ExitStack() as stack:
        held = _take_cores(paths, max(1, min(cores, len(paths))), stack)
        if plan.lane in held:
            sign(held[plan.lane], COMPUTING)
        stack.enter_context(_pinned(tuple(held), _thread_ids))
        if plan.lane in held:
            yield TrainingSlot(tuple(held), partial(_give_way, _lane_file(folder, device), held[plan.lane]))
        else:
            yield TrainingSlot(tuple(held), lambda: None)


def _give_way(lane: Path, guest: int) -> None:
    """Let go of the guest's lock, if a measurer has taken the lane, until the lane is free again."""
    descriptor = _try_lock(lane)
    if descriptor is not None:
        _unlock(descriptor)
        return
    wipe(guest)
    fcntl.flock(guest, fcntl.LOCK_UN)
    with _locked(lane) as held:
        sign(held, WAITING)  # another guest may have been quicker
        fcntl.flock(guest, fcntl.LOCK_EX)
    sign(guest, COMPUTING)


def _take_cores(paths: Mapping[int, Path], wanted: int, stack: ExitStack) -> dict[int, int]:
    """Lock so many of the cores, all or none at a time, so that two waiters cannot hold half each.

    Returns:
        The descriptor that holds the lock of each core.
    """
    while True:
        with ExitStack() as attempt:
            held: dict[int, int] = {}
            for core, path in paths.items():
                descriptor = _try_lock(path)
                if descriptor is not None:
                    attempt.callback(_unlock, descriptor)
                    held[core] = descriptor
                if len(held) == wanted:
                    stack.push(attempt.pop_all())
                    return held
        time.sleep(POLL_SECONDS)


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Wait for the lock, hold it, and yield the descriptor that does."""
    descriptor = _open_lock(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except BaseException:  # interrupted while it waited: the signature in the file is another one's
        os.close(descriptor)
        raise
    try:
        yield descriptor
    finally:
        _unlock(descriptor)


def _is_held(path: Path) -> bool:
    descriptor = _try_lock(path)
    if descriptor is None:
        return True
    _unlock(descriptor)
    return False


def _try_lock(path: Path) -> int | None:
    """Return the descriptor that holds the lock, or None where another one does."""
    descriptor = _open_lock(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _unlock(descriptor: int) -> None:
    wipe(descriptor)
    fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing alone would leave it with a child forked meanwhile
    os.close(descriptor)


def _open_lock(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _lane_file(folder: Path, device: str) -> Path:
    return folder / f"lane-{re.sub(r'[^A-Za-z0-9_.-]+', '-', device)}.lock"


def _guest_file(folder: Path, device: str) -> Path:
    return _lane_file(folder, device).with_suffix(".guest.lock")


def _calling_thread() -> list[int]:
    return [0]


def _thread_ids() -> list[int]:
    tasks = Path("/proc/self/task")
    return [int(task.name) for task in tasks.iterdir()] if tasks.exists() else _calling_thread()


@contextmanager
def _pinned(cores: Collection[int], threads: Callable[[], list[int]]) -> Iterator[None]:
    """Hold the threads to these cores; give each its own back, and those born meanwhile the calling one's.

    A runtime's helper threads inherit the cores of the thread that opens a file: left there, they would compute on
    the lane's core for as long as they live.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    own, born_before = os.sched_getaffinity(0), set(_thread_ids())
    before = {thread: os.sched_getaffinity(thread) for thread in threads()}
    try:
        _set_affinity(dict.fromkeys(before, cores))
        yield
    finally:
        _set_affinity({**dict.fromkeys(_held_to(cores, set(_thread_ids()) - born_before), own), **before})


def _held_to(cores: Collection[int], threads: Collection[int]) -> list[int]:
    """Return those of the threads that may run on these cores only."""
    held = []
    for thread in threads:
        with suppress(ProcessLookupError):
            held += [thread] if os.sched_getaffinity(thread) == set(cores) else []
    return held


def _set_affinity(cores: Mapping[int, Collection[int]]) -> None:
    for thread, allowed in cores.items():
        with suppress(ProcessLookupError):  # a thread may end at any time
            os.sched_setaffinity(thread, allowed)
