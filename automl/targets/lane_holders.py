"""Who holds a lock file: the holder signs it, so that one that has stopped can be told from one that is at work.

A signature is a process, told apart from every other one that ever ran, with what it does and since when. It is
worth something only while the lock is held; whoever lets go of a lock wipes it.
"""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

TIMING, WAITING, COMPUTING = "timing", "waiting", "computing"


@dataclass(frozen=True)
class Holder:
    """A process that holds a lock. `start` is the process's, in clock ticks since boot.

    `since` is when it began `doing`, on the monotonic clock that all processes of the machine share; `space` names
    the boot and the process namespace in which `pid` means something.
    """

    pid: int
    start: int
    space: str
    doing: str
    since: float

    @property
    def held_s(self) -> float:
        """Return the seconds since it began."""
        return time.monotonic() - self.since


def sign(descriptor: int, doing: str) -> None:
    """Write into a lock file that this process holds what it does from now on; a full disk leaves it unsigned."""
    start = _start_of(os.getpid())
    holder = Holder(os.getpid(), 0 if start is None else start, _process_space(), doing, time.monotonic())
    text = json.dumps(asdict(holder)).encode()
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text, 0)


def wipe(descriptor: int) -> None:
    """Take the signature away; call it before the lock is let go."""
    os.ftruncate(descriptor, 0)


def read_holder(path: Path) -> Holder | None:
    """Return who has signed the file, None where nobody has, or it was being written just now."""
    try:
        return Holder(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def is_mine_to_end(holder: Holder) -> bool:
    """Tell whether the holder is a living process of this user and machine, and not this one."""
    if holder.pid == os.getpid() or holder.space != _process_space() or not holder.space:
        return False
    try:
        owner = Path(f"/proc/{holder.pid}").stat().st_uid
    except OSError:
        return False
    return owner == os.getuid() and _start_of(holder.pid) == holder.start


def is_stopped(holder: Holder) -> bool:
    """Tell whether the holder's process has been stopped by a signal or a debugger."""
    stat = _stat(holder.pid)
    return stat is not None and stat[0] in "Tt" and holder.space == _process_space()


def kill(holder: Holder) -> bool:
    """End the holder with SIGKILL and tell whether that was done; never another process that got its number."""
    if not hasattr(os, "pidfd_open"):  # not Linux: nothing is ended that might be somebody else
        return False
    try:
        handle = os.pidfd_open(holder.pid)
    except OSError:
        return False
    try:
        if not is_mine_to_end(holder):  # asked with the handle in hand: it cannot pass to another process any more
            return False
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            return True
        return False
    finally:
        os.close(handle)


def _start_of(pid: int) -> int | None:
    """Return the clock ticks from boot to the process's start, None where there is no such process (or no /proc)."""
    stat = _stat(pid)
    return None if stat is None or stat[0] in "ZX" else int(stat[19])


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat from the process's state on."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return stat[stat.rindex(")") + 2 :].split()  # the name in parentheses may hold anything


def _process_space() -> str:
    """Return what names this boot and process namespace, "" where the system does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""
