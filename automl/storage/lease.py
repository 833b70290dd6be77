"""The lease: at most one driver a study, and how long each one was at work.

A holder is *known to be dead* only where this process can look: same host, same boot, same process namespace, and no
process of that number and start time. Everything else is judged by the time since its last renewal, on the clock of
the database server, which all drivers share. A driver that lost its lease without knowing (its machine slept) is
stopped by its token, which each of its writes checks.
"""

from __future__ import annotations

import os
import socket
import uuid
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, RowMapping, bindparam, delete, func, insert, select, update

from automl.errors import LeaseError, StorageError
from automl.storage.records import Holder, PhaseRecord
from automl.storage.tables import LEASE, SESSION, STUDY

LEASE_TIMEOUT_S = 30.0  # a holder out of sight is given up after so long without a renewal
RENEW_EVERY_S = 5.0  # what a driver should do, so that a few late renewals cost nothing

_FIND = select(LEASE).where(LEASE.c.study_id == bindparam("study"))  # built once: every write asks
_LOCKED = _FIND.with_for_update(read=True)


def current_holder() -> Holder:
    """Return this process as a holder."""
    pid = os.getpid()
    start = process_start(pid)
    return Holder(socket.gethostname(), boot_id(), pid, 0 if start is None else start)


def boot_id() -> str:
    """Return what names this boot and process namespace, "" where the system does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def process_start(pid: int) -> int | None:
    """Return the clock ticks from boot to the process's start, None where there is no such process (or no /proc)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *fields = stat[stat.rindex(")") + 2 :].split()  # the name in parentheses may hold anything
    return None if state in "ZX" else int(fields[18])  # a zombie is dead: nobody has asked for its status yet


def is_alive(holder: Holder) -> bool | None:
    """Tell whether the holder's process lives, None where that cannot be seen from here."""
    boot = boot_id()
    if not boot or (holder.host, holder.boot_id) != (socket.gethostname(), boot):
        return None
    return process_start(holder.pid) == holder.process_start


def database_time(connection: Connection) -> datetime:
    """Return the time by the clock that all drivers of the database share."""
    if connection.dialect.name == "postgresql":
        now: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
        return now.astimezone(UTC)
    return datetime.now(UTC)  # a SQLite file lies on one machine


def take(connection: Connection, study_id: int, holder: Holder, phase: str, now: datetime) -> str:
    """Take the lease, begin a stretch of `phase`, and return the token of both.

    Raises:
        LeaseError: naming the live holder.
    """
    study = select(STUDY.c.id).where(STUDY.c.id == study_id).with_for_update(key_share=True)
    if connection.execute(study).first() is None:  # locked, so that of two drivers one comes second
        raise StorageError(f"there is no study {study_id} in this database")
    row = _row(connection, study_id)
    if row is not None and _holder(row) != holder and _is_live(row, now):
        raise _refusal(row, now)
    token = uuid.uuid4().hex
    connection.execute(delete(LEASE).where(LEASE.c.study_id == study_id))
    connection.execute(
        insert(LEASE),
        {
            "study_id": study_id,
            "token": token,
            "host": holder.host,
            "boot_id": holder.boot_id,
            "pid": holder.pid,
            "process_start": holder.process_start,
            "taken_at": now,
            "renewed_at": now,
        },
    )
    _begin_stretch(connection, study_id, token, phase=phase, host=holder.host, pid=holder.pid, now=now)
    return token


def check_held(connection: Connection, study_id: int, token: str | None) -> None:
    """Hold the lease until the end of the transaction.

    Raises:
        LeaseError: where the token is not the lease's.
    """
    row = _row(connection, study_id, lock=True)
    if row is None or row["token"] != token:
        now_held = "nobody" if row is None else named(_holder(row))
        raise LeaseError(
            f"study {study_id}: this driver must hold the lease to write, but {now_held} holds it. "
            "Stop this one: nothing that was recorded is lost"
        )


def renew(connection: Connection, study_id: int, token: str, now: datetime) -> None:
    """Show a sign of life in the lease and in the current stretch."""
    connection.execute(update(LEASE).where(LEASE.c.study_id == study_id).values(renewed_at=now))
    _touch_stretch(connection, study_id, token, now)


def mark_phase(connection: Connection, study_id: int, token: str, phase: str, now: datetime) -> None:
    """End the current stretch and begin one of `phase`."""
    renew(connection, study_id, token, now)
    row = _row(connection, study_id)
    assert row is not None, "the lease is held"
    _begin_stretch(connection, study_id, token, phase=phase, host=row["host"], pid=row["pid"], now=now)


def release(connection: Connection, study_id: int, token: str, now: datetime) -> None:
    """Give the lease back and end the current stretch; nothing happens where the token is not the lease's."""
    this = (LEASE.c.study_id == study_id) & (LEASE.c.token == token)
    if connection.execute(delete(LEASE).where(this)).rowcount == 1:
        _touch_stretch(connection, study_id, token, now)


def live_holder(connection: Connection, study_id: int, now: datetime) -> Holder | None:
    """Return the holder that must be taken for alive, None where there is none."""
    row = _row(connection, study_id)
    return _holder(row) if row is not None and _is_live(row, now) else None


def phases(connection: Connection, study_id: int) -> list[PhaseRecord]:
    """Return every stretch of the study, the oldest first."""
    columns = SESSION.c.phase, SESSION.c.host, SESSION.c.pid, SESSION.c.started_at, SESSION.c.last_seen_at
    query = select(*columns).where(SESSION.c.study_id == study_id).order_by(SESSION.c.id)
    return [PhaseRecord(*row) for row in connection.execute(query)]


def _row(connection: Connection, study_id: int, lock: bool = False) -> RowMapping | None:
    query = _LOCKED if lock else _FIND
    return connection.execute(query, {"study": study_id}).mappings().one_or_none()


def _holder(row: RowMapping) -> Holder:
    return Holder(row["host"], row["boot_id"], row["pid"], row["process_start"])


def _is_live(row: RowMapping, now: datetime) -> bool:
    alive = is_alive(_holder(row))
    return _silence_s(row, now) < LEASE_TIMEOUT_S if alive is None else alive


def _silence_s(row: RowMapping, now: datetime) -> float:
    seconds: float = (now - row["renewed_at"]).total_seconds()
    return seconds


def _refusal(row: RowMapping, now: datetime) -> LeaseError:
    holder = _holder(row)
    remedy = "End it, or wait until it is done"
    if is_alive(holder) is None:
        left = max(0.0, LEASE_TIMEOUT_S - _silence_s(row, now))
        remedy = f"If it is dead, run the same command again in {left:.0f} s"
    return LeaseError(f"study {row['study_id']} is being driven by {named(holder)}. {remedy}")


def named(holder: Holder) -> str:
    """Return the holder as a person looks for it."""
    return f"process {holder.pid} on {holder.host}"


def _begin_stretch(
    connection: Connection, study_id: int, token: str, *, phase: str, host: str, pid: int, now: datetime
) -> None:
    stretch = {"study_id": study_id, "token": token, "host": host, "pid": pid, "phase": phase}
    connection.execute(insert(SESSION), {**stretch, "started_at": now, "last_seen_at": now})


def _touch_stretch(connection: Connection, study_id: int, token: str, now: datetime) -> None:
    mine = (SESSION.c.study_id == study_id) & (SESSION.c.token == token)
    current = select(SESSION.c.id).where(mine).order_by(SESSION.c.id.desc()).limit(1).scalar_subquery()
    connection.execute(update(SESSION).where(SESSION.c.id == current).values(last_seen_at=now))
