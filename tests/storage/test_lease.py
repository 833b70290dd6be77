from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from automl.storage.lease import current_holder, is_alive, process_start
from automl.storage.records import Holder, PhaseRecord
from tests.storage.sample_outcomes import at


def test_current_holder_is_this_process_and_alive() -> None:
    holder = current_holder()
    assert holder.pid == os.getpid()
    assert holder.process_start == process_start(os.getpid())
    assert is_alive(holder) is True


def test_is_alive_tells_a_process_from_a_later_one_of_the_same_number() -> None:
    assert is_alive(replace(current_holder(), process_start=1)) is False


def test_is_alive_takes_an_ended_process_for_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        start = process_start(process.pid)
        assert start is not None
        holder = replace(current_holder(), pid=process.pid, process_start=start)
        assert is_alive(holder) is True
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, but nobody has asked how: a zombie
        assert is_alive(holder) is False
    assert is_alive(holder) is False


@pytest.mark.parametrize(
    "elsewhere", [replace(current_holder(), host="other"), replace(current_holder(), boot_id="other")]
)
def test_is_alive_does_not_guess_about_what_it_cannot_see(elsewhere: Holder) -> None:
    assert is_alive(elsewhere) is None


@pytest.mark.parametrize(("last_seen_s", "seconds"), [(7.5, 7.5), (0.0, 0.0), (-3.0, 0.0)])
def test_phase_record_is_never_negative(last_seen_s: float, seconds: float) -> None:
    assert PhaseRecord("search", "host", 1, at(0), at(last_seen_s)).seconds == seconds
