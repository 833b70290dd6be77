"""Locks and pinning, across real processes."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from automl.targets import lane_holders
from automl.targets.lanes import (
    CorePlan,
    allowed_cores,
    core_plan,
    end_stuck_holder,
    lane_holder,
    stuck_holder,
    timing_lane,
    training_slot,
)

HOLD_LANE = """
import sys
from pathlib import Path
from automl.targets.lanes import timing_lane
with timing_lane(Path(sys.argv[1]), "cpu"):
    print("held", flush=True)
    sys.stdin.read()
"""

WAIT_FOR_LANE = """
import sys
from pathlib import Path
from automl.targets.lanes import timing_lane
print("held", flush=True)
with timing_lane(Path(sys.argv[1]), "cpu"):
    sys.stdin.read()
"""
TRAIN_AS_GUEST = """
import sys
from pathlib import Path
from automl.targets.lanes import CorePlan, allowed_cores, training_slot
here = allowed_cores()[0]
with training_slot(Path(sys.argv[1]), plan=CorePlan(here, (here,))) as slot:
    print("held", flush=True)
    for line in sys.stdin:
        slot.give_way()
"""
EXIT_S = 10.0


@pytest.fixture
def here() -> int:
    """A core that this process may really use."""
    return allowed_cores()[0]


@contextmanager
def holding_process(folder: Path, program: str = HOLD_LANE) -> Iterator[subprocess.Popen[str]]:
    """Yield a process that holds the timing lane (or does what else it is given) until it is ended."""
    command = [sys.executable, "-c", program, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def is_free(path: Path) -> bool:
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def test_timing_lane_keeps_another_process_out(tmp_path: Path) -> None:
    with holding_process(tmp_path):
        assert not is_free(tmp_path / "lane-cpu.lock")


def test_timing_lane_is_free_again_when_its_holder_is_killed(tmp_path: Path) -> None:
    with holding_process(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        with timing_lane(tmp_path):
            pass  # would wait for ever


def test_timing_lane_is_free_after_an_error_inside(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), timing_lane(tmp_path):
        raise ZeroDivisionError
    assert is_free(tmp_path / "lane-cpu.lock")


def test_timing_lane_is_free_although_a_child_was_forked_meanwhile(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with timing_lane(tmp_path):
        child = os.fork()
        if child == 0:  # lives on after the lane, with a copy of the lock's descriptor
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
    free = is_free(tmp_path / "lane-cpu.lock")
    os.close(writer)
    os.waitpid(child, 0)
    assert free


def test_timing_lane_makes_a_waiter_wait_until_it_is_left(tmp_path: Path) -> None:
    order: list[str] = []

    def wait_for_lane() -> None:
        with timing_lane(tmp_path):
            order.append("second")

    with timing_lane(tmp_path):
        waiter = threading.Thread(target=wait_for_lane)
        waiter.start()
        waiter.join(0.1)
        assert waiter.is_alive()
        order.append("first")
    waiter.join(10)
    assert order == ["first", "second"]


def test_timing_lane_of_one_device_leaves_another_free(tmp_path: Path) -> None:
    with timing_lane(tmp_path, "cpu"), timing_lane(tmp_path, "gpu 0/a"):
        assert not is_free(tmp_path / "lane-gpu-0-a.lock")


def test_timing_lane_pins_to_its_core_and_restores(tmp_path: Path) -> None:
    before = allowed_cores()
    with timing_lane(tmp_path) as plan:
        assert allowed_cores() == (plan.lane,)
    assert allowed_cores() == before


def test_timing_lane_leaves_other_threads_where_they_are(tmp_path: Path) -> None:
    before = allowed_cores()
    with idle_thread() as thread, timing_lane(tmp_path):
        assert tuple(sorted(os.sched_getaffinity(thread))) == before


def test_timing_lane_gives_back_threads_born_inside(tmp_path: Path) -> None:
    """A runtime's helper threads inherit the lane's core and outlive the lane."""
    before, ended = os.sched_getaffinity(0), threading.Event()
    worker = threading.Thread(target=ended.wait)
    with timing_lane(tmp_path) as plan:
        worker.start()
        inside = os.sched_getaffinity(worker.native_id or 0)
    after = os.sched_getaffinity(worker.native_id or 0)
    ended.set()
    worker.join()
    assert (inside, after) == ({plan.lane}, before)


def test_training_slot_pins_every_thread_and_restores_them(tmp_path: Path) -> None:
    before = allowed_cores()
    with idle_thread() as thread:
        with training_slot(tmp_path) as slot:
            assert os.sched_getaffinity(thread) == os.sched_getaffinity(0) == set(slot.cores)
        assert tuple(sorted(os.sched_getaffinity(thread))) == allowed_cores() == before


def test_training_slot_gives_back_threads_born_inside(tmp_path: Path) -> None:
    before = allowed_cores()
    with training_slot(tmp_path):
        inside = idle_thread()
        thread = inside.__enter__()
    restored = tuple(sorted(os.sched_getaffinity(thread)))
    inside.__exit__(None, None, None)
    assert restored == before


def test_training_slot_restores_after_an_error(tmp_path: Path) -> None:
    before = allowed_cores()
    with pytest.raises(ZeroDivisionError), training_slot(tmp_path):
        raise ZeroDivisionError
    assert allowed_cores() == before


def test_training_slot_takes_the_cores_beside_the_lane_first(tmp_path: Path, here: int) -> None:
    with training_slot(tmp_path, plan=CorePlan(here + 1, (here,))) as slot:
        assert slot.cores == (here,)
        assert is_free(tmp_path / "lane-cpu.lock")


def test_training_slot_lets_the_lane_be_taken_only_when_it_gives_way(tmp_path: Path, here: int) -> None:
    plan, order, timed = CorePlan(here, (here,)), [], threading.Event()

    def measure() -> None:
        with timing_lane(tmp_path, plan=plan):
            order.append("timed")
        timed.set()

    with training_slot(tmp_path, plan=plan) as slot:
        slot.give_way()  # nobody waits: goes on at once
        measurer = threading.Thread(target=measure)
        measurer.start()
        assert not timed.wait(0.1)
        order.append("trained")
        slot.give_way()
        order.append("trained on")
    measurer.join(10)
    assert order == ["trained", "timed", "trained on"]


def test_training_slot_waits_while_every_core_is_taken(tmp_path: Path, here: int) -> None:
    plan, entered = CorePlan(here, (here,)), threading.Event()

    def enter() -> None:
        with training_slot(tmp_path, plan=plan):
            entered.set()

    with training_slot(tmp_path, plan=plan):
        waiter = threading.Thread(target=enter)
        waiter.start()
        assert not entered.wait(0.1)
    waiter.join(10)
    assert entered.is_set()


@pytest.mark.skipif(len(allowed_cores()) < 2, reason="needs two cores")
def test_training_slot_takes_all_the_cores_asked_for(tmp_path: Path) -> None:
    lane, other = allowed_cores()[:2]
    plan = CorePlan(lane=lane, training=(other,))
    with training_slot(tmp_path, plan=plan, cores=2) as slot:
        assert slot.cores == (other, lane)
        assert not is_free(tmp_path / f"core-{other}.lock")
    with training_slot(tmp_path, plan=plan) as one, training_slot(tmp_path, plan=plan) as two:
        assert {*one.cores, *two.cores} == {lane, other}


def test_training_slot_asked_for_too_many_cores_takes_what_there_is(tmp_path: Path, here: int) -> None:
    with training_slot(tmp_path, plan=CorePlan(here, (here,)), cores=64) as slot:
        assert slot.cores == (here,)


@pytest.mark.parametrize(
    ("cores", "siblings", "plan"),
    [
        ([0], {}, CorePlan(0, (0,))),
        ([3, 1, 2], {}, CorePlan(1, (2, 3))),
        ([0, 1, 2, 3], {0: {0, 2}}, CorePlan(0, (1, 3))),
        ([0, 1], {0: {0, 1}}, CorePlan(0, (1,))),
    ],
)
def test_core_plan_keeps_training_off_the_core_that_times(
    cores: list[int], siblings: dict[int, set[int]], plan: CorePlan
) -> None:
    assert core_plan(cores, siblings) == plan


@contextmanager
def idle_thread() -> Iterator[int]:
    """Yield the system's number of a thread that does nothing until the block ends."""
    done, born = threading.Event(), threading.Event()

    def idle() -> None:
        born.set()
        done.wait()

    thread = threading.Thread(target=idle)
    thread.start()
    born.wait()
    try:
        assert thread.native_id is not None
        yield thread.native_id
    finally:
        done.set()
        thread.join()


def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)  # until it has really stopped


def test_lane_holder_is_who_times_and_nobody_afterwards(tmp_path: Path) -> None:
    assert lane_holder(tmp_path) is None
    with timing_lane(tmp_path):
        holder = lane_holder(tmp_path)
    assert holder is not None and holder.pid == os.getpid() and holder.held_s >= 0
    assert lane_holder(tmp_path) is None


def test_lane_holder_that_was_killed_is_nobody(tmp_path: Path) -> None:
    with holding_process(tmp_path) as process:
        process.kill()
        process.wait(EXIT_S)
        assert (tmp_path / "lane-cpu.lock").read_text()  # its signature is still there
        assert lane_holder(tmp_path) is None and stuck_holder(tmp_path, "cpu", 0.0) is None


def test_end_stuck_holder_frees_the_lane_of_a_stopped_process(tmp_path: Path) -> None:
    with holding_process(tmp_path) as process:
        stop(process)
        assert stuck_holder(tmp_path, "cpu", 60.0) is end_stuck_holder(tmp_path, "cpu", 60.0) is None
        stuck, ended = stuck_holder(tmp_path, "cpu", 0.0), end_stuck_holder(tmp_path, "cpu", 0.0)
        assert stuck is not None and stuck == ended and stuck.pid == process.pid
        assert process.wait(EXIT_S) == -signal.SIGKILL
    with timing_lane(tmp_path):
        pass  # would wait for ever


def test_stuck_holder_never_means_a_waiter(tmp_path: Path) -> None:
    with timing_lane(tmp_path), holding_process(tmp_path, WAIT_FOR_LANE) as waiter:
        stop(waiter)
        found = stuck_holder(tmp_path, "cpu", 0.0)
        assert found is not None and found.pid == os.getpid()
        assert end_stuck_holder(tmp_path, "cpu", 0.0) is None  # never itself
        assert waiter.poll() is None


def test_end_stuck_holder_ends_a_stopped_guest_that_a_measurer_waits_for(tmp_path: Path, here: int) -> None:
    plan, timed = CorePlan(here, (here,)), threading.Event()

    def measure() -> None:
        with timing_lane(tmp_path, plan=plan):
            timed.set()

    with holding_process(tmp_path, TRAIN_AS_GUEST) as guest:
        assert stuck_holder(tmp_path, "cpu", 0.0) is None  # nobody waits for it
        measurer = threading.Thread(target=measure)
        measurer.start()
        wait_until_signed(tmp_path / "lane-cpu.lock")
        assert end_stuck_holder(tmp_path, "cpu", 0.0) is None  # it computes
        stop(guest)
        ended = end_stuck_holder(tmp_path, "cpu", 0.0)
        assert ended is not None and ended.pid == guest.pid
        assert timed.wait(EXIT_S)
    measurer.join(EXIT_S)


def test_stuck_holder_of_a_guest_that_gave_way_is_the_measurer(tmp_path: Path, here: int) -> None:
    plan = CorePlan(here, (here,))
    with holding_process(tmp_path, TRAIN_AS_GUEST) as guest:
        assert guest.stdin is not None
        guest.stdin.write("step\n" * 10_000)
        guest.stdin.close()
        with timing_lane(tmp_path, plan=plan):
            found = stuck_holder(tmp_path, "cpu", 0.0)
        assert found is not None and found.pid == os.getpid()


def test_end_stuck_holder_spares_a_process_that_got_the_holders_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with holding_process(tmp_path) as process:
        start = lane_holders._start_of(process.pid)
        assert start is not None
        monkeypatch.setattr(lane_holders, "_start_of", lambda pid: start + 1)
        stop(process)
        assert end_stuck_holder(tmp_path, "cpu", 0.0) is None
        assert process.poll() is None


def test_end_stuck_holder_spares_one_of_another_process_namespace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with holding_process(tmp_path) as process:
        monkeypatch.setattr(lane_holders, "_process_space", lambda: "another boot")
        assert stuck_holder(tmp_path, "cpu", 0.0) is not None
        assert end_stuck_holder(tmp_path, "cpu", 0.0) is None
        assert process.poll() is None


def wait_until_signed(path: Path) -> None:
    deadline = time.monotonic() + EXIT_S
    while lane_holders.read_holder(path) is None:
        assert time.monotonic() < deadline, "nobody signed the lane"
        time.sleep(0.01)
