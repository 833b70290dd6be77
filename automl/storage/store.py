"""The store: one study database behind one deep class. The driver alone writes; everyone may read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, TypeVar

from sqlalchemy import Connection

from automl.candidate import Candidate
from automl.outcome import Measured, Measurement, Outcome, RungResult, Timing
from automl.storage import bulk, controls, events, finalists, lease, points, pulse, rungs, studies, trials
from automl.storage.database import Transactions, connect
from automl.storage.records import (
    EventRecord,
    FinalistRecord,
    Holder,
    PhaseRecord,
    PointRecord,
    RungRecord,
    StudyRecord,
    TeacherRecord,
    TrialRecord,
)
from automl.storage.schema import prepare

DEFAULT_URL = "sqlite:///runs/automl.db"

T = TypeVar("T")
Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the time of this machine."""
    return datetime.now(UTC)


def open_store(url: str | None = None, clock: Clock | None = None) -> Store:
    """Return the store at a database URL, made or migrated where needed; None means `DEFAULT_URL`.

    Without a `clock`, leases go by the clock of the database server, which all drivers share.

    Raises:
        StorageError: where the database cannot be reached, written or understood; the password is never shown.
    """
    url = DEFAULT_URL if url is None else url
    database = connect(url)
    try:
        prepare(database)
    except BaseException:
        database.engine.dispose()
        raise
    return Store(url, database, clock)


class Store:
    """The record of all studies in one database.

    Every method is one transaction: it happens whole or not at all, also when the process is killed within it.
    A store that holds a study's lease (`take_lease`) checks in every write to that study that it still does.

    Every method raises StorageError where the database cannot be used (gone, locked for too long, disk full).
    """

    def __init__(self, url: str, database: Transactions, clock: Clock | None) -> None:
        self.url = url  # with its password: for connecting, never for showing
        self.shown_url = database.shown
        self._database = database
        self._clock = clock
        self._tokens: dict[int, str] = {}

    def __repr__(self) -> str:
        """Name the database without its password."""
        return f"Store({self.shown_url!r})"

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections."""
        self.close()

    def through(self, wrap: Callable[[Transactions], Transactions]) -> Store:
        """Return a store of the same database, leases and clock whose transactions go through `wrap`'s."""
        other = type(self)(self.url, wrap(self._database), self._clock)
        other._tokens = self._tokens  # noqa: SLF001 (its own class)
        return other

    def close(self) -> None:
        """Close all connections; leases stay as they are."""
        self._database.close()

    # --- studies

    def create_study(
        self,
        name: str,
        spec: Mapping[str, Any],
        spec_digest: str,
        seed: int,
        versions: Mapping[str, str],
        device: str,
        objectives: Sequence[str],
    ) -> StudyRecord:
        """Return a new study.

        Raises:
            InputError: where a study of that name exists.
        """
        draft = studies.Draft(name, spec, spec_digest, seed, versions, device, tuple(objectives))
        return self._database.write(lambda connection: studies.create(connection, draft, self._now()))

    def require_study(
        self,
        name: str,
        spec: Mapping[str, Any],
        spec_digest: str,
        seed: int,
        versions: Mapping[str, str],
        device: str,
        objectives: Sequence[str],
        free_keys: Collection[str] = (),
    ) -> StudyRecord:
        """Return the study of that name, made where there is none, with its spec brought up to date.

        `free_keys` are the dotted keys (or the heads of some, such as "budget") that the digest leaves out: they
        may differ, and are stored anew.

        Raises:
            InputError: where it exists with another digest: one fault for each key that differs.
        """
        draft = studies.Draft(name, spec, spec_digest, seed, versions, device, tuple(objectives))
        return self._database.write(lambda connection: studies.require(connection, draft, free_keys, self._now()))

    def find_study(self, name: str) -> StudyRecord | None:
        """Return the study of that name, None where there is none."""
        return self._database.read(lambda connection: studies.find(connection, name))

    def studies(self) -> list[StudyRecord]:
        """Return every study, the oldest first."""
        return self._database.read(studies.read_all)

    def finish_study(self, study_id: int) -> None:
        """Mark the study as finished; the first mark stays."""
        self._write(study_id, lambda connection: studies.finish(connection, study_id, self._now()))

    # --- trials

    def add_trial(
        self,
        study_id: int,
        number: int,
        point: Mapping[str, int],
        candidate: Candidate,
        candidate_hash: str,
        shape_key: str,
        sampler_state: Mapping[str, Any],
        enqueued: bool = False,
        attempts: int = 0,
    ) -> None:
        """Record an open trial; with `attempts` 1 its first attempt begins with it, at the cost of no second write.

        Raises:
            StorageError: where the study has a trial of that number.
        """
        draft = trials.Draft(number, point, candidate, candidate_hash, shape_key, sampler_state, enqueued, attempts)
        self._write(study_id, lambda connection: trials.add(connection, study_id, draft, self._now()))

    def begin_attempt(self, study_id: int, number: int) -> int:
        """Count one more attempt at an open trial and return how many there are now.

        Raises:
            StorageError: where the trial is unknown or finished.
        """
        return self._write(study_id, lambda connection: trials.change_attempts(connection, study_id, number, +1))

    def withdraw_attempt(self, study_id: int, number: int) -> int:
        """Take back an attempt that does not count (its driver died, or the pool did) and return how many are left.

        Raises:
            StorageError: where the trial is unknown or finished, or has no attempt.
        """
        return self._write(study_id, lambda connection: trials.change_attempts(connection, study_id, number, -1))

    def finish_trial(self, study_id: int, number: int, outcome: Outcome, reused_from: int | None = None) -> bool:
        """Record the outcome of an open trial, all of it or nothing.

        Returns:
            True where this call finished the trial; False where it was finished before, and nothing was changed.

        Raises:
            StorageError: where the trial is unknown.
        """
        return self._write(
            study_id,
            lambda connection: trials.finish(
                connection, study_id, number, outcome=outcome, reused_from=reused_from, now=self._now()
            ),
        )

    def trials(
        self,
        study_id: int,
        with_samples: bool = False,
        numbers: Collection[int] | None = None,
        names: Collection[str] | None = None,
    ) -> list[TrialRecord]:
        """Return the study's trials by number, or those of some numbers.

        Without `with_samples` the outcomes lack what is bulky: `samples_ms` and `curve` are empty. With `names` they
        have the measurements of those names only, and no timings: little memory, for who keeps every trial.
        """
        return self._database.read(
            lambda connection: trials.read_all(connection, study_id, with_samples, numbers, names)
        )

    def trial(self, study_id: int, number: int) -> TrialRecord | None:
        """Return one trial with everything, None where there is none of that number."""
        return self._database.read(lambda connection: trials.read_one(connection, study_id, number))

    def points(self, study_id: int, names: Collection[str]) -> list[PointRecord]:
        """Return the study's trials by number with the named measurements only: quick, for views of many trials."""
        return self._database.read(lambda connection: points.read_all(connection, study_id, names))

    def pulse(self, study_id: int) -> tuple[int, ...]:
        """Return counts that differ whenever a trial was added or finished, or a finalist or teacher recorded."""
        return self._database.read(lambda connection: pulse.read(connection, study_id))

    def known_timing(self, study_id: int, device: str, shape_key: str) -> Timing | None:
        """Return the first recorded timing of the untrained network of that shape on the device, with its samples."""
        return self._database.read(lambda connection: trials.known_timing(connection, study_id, device, shape_key))

    def import_trials(self, study_id: int, trials: Sequence[TrialRecord], rungs: Sequence[RungRecord] = ()) -> None:
        """Record trials of elsewhere as they are, times included, and their results below the top rung; all or none.

        Raises:
            StorageError: where the study has a trial of one of the numbers.
        """
        self._write(study_id, lambda connection: bulk.import_trials(connection, study_id, trials, rungs, self._now()))

    # --- rungs

    def add_rung(self, study_id: int, number: int, result: RungResult) -> RungRecord:
        """Record what an open trial is worth at a rung, and return it; the first result at a rung stays.

        Raises:
            StorageError: where the trial is unknown, or finished without a result at that rung.
        """
        return self._write(study_id, lambda connection: rungs.add(connection, study_id, number, result, self._now()))

    def rungs(self, study_id: int, with_samples: bool = False) -> list[RungRecord]:
        """Return the study's results below the top rung in the order in which they were recorded.

        Without `with_samples` they lack what is bulky: `samples_ms` and `curve` are empty.
        """
        return self._database.read(lambda connection: rungs.read_all(connection, study_id, with_samples))

    # --- controls, teacher, finalists, events

    def control_references(self, study_id: int, device: str) -> dict[str, float]:
        """Return the reference milliseconds of each kind of control that was timed on the device."""
        return self._database.read(lambda connection: controls.references(connection, study_id, device))

    def set_control_reference(self, study_id: int, device: str, kind: str, ms: float, sha256: str) -> float:
        """Fix a control's reference milliseconds and return the ones that hold: the first ones ever set stay."""
        return self._write(
            study_id,
            lambda connection: controls.fix_reference(
                connection, study_id, device=device, kind=kind, ms=ms, sha256=sha256, now=self._now()
            ),
        )

    def save_teacher(
        self,
        study_id: int,
        *,
        sha256: str,
        path: str,
        candidate: Candidate,
        measurements: Sequence[Measurement],
        seconds: float,
    ) -> None:
        """Record the study's teacher; an earlier one stays in the record, but the latest one is the teacher."""
        teacher = TeacherRecord(sha256, path, candidate, tuple(measurements), seconds, self._now())
        self._write(study_id, lambda connection: finalists.add_teacher(connection, study_id, teacher))

    def teacher(self, study_id: int) -> TeacherRecord | None:
        """Return the study's teacher, None where it has none yet."""
        return self._database.read(lambda connection: finalists.read_teacher(connection, study_id))

    def add_finalist(
        self, study_id: int, role: str, trial: int | None, candidate: Candidate, outcome: Measured
    ) -> bool:
        """Record a finalist or a twin.

        Returns:
            True where it was recorded; False where the study has that candidate in that role: nothing was changed.
        """
        finalist = FinalistRecord(role, trial, candidate, outcome, self._now())
        return self._write(study_id, lambda connection: finalists.add(connection, study_id, finalist))

    def finalists(self, study_id: int) -> list[FinalistRecord]:
        """Return the study's finalists and twins with everything, in the order in which they were recorded."""
        return self._database.read(lambda connection: finalists.read_all(connection, study_id))

    def add_event(self, study_id: int, kind: str, text: str, trial: int | None = None) -> None:
        """Record something worth telling."""
        event = EventRecord(kind, text, trial, self._now())
        self._database.write(lambda connection: events.add(connection, study_id, event))

    def events(self, study_id: int, limit: int = 100) -> list[EventRecord]:
        """Return the latest events, the oldest of them first."""
        return self._database.read(lambda connection: events.latest(connection, study_id, limit))

    # --- lease and time

    def take_lease(self, study_id: int, holder: Holder, phase: str = "start") -> None:
        """Make `holder` the only driver of the study, and this store's writes good only as long as it is.

        A holder known to be dead (its process on this host is gone) is followed at once, one on another host when
        it has not renewed for `LEASE_TIMEOUT_S`, and the same process always. A new stretch of `phase` begins.

        Raises:
            LeaseError: naming the live holder.
        """
        self._tokens[study_id] = self._database.write(
            lambda connection: lease.take(connection, study_id, holder, phase, self._shared_now(connection))
        )

    def renew_lease(self, study_id: int) -> None:
        """Show a sign of life; do so every `RENEW_EVERY_S` or so, also while a long task runs.

        Raises:
            LeaseError: where this store does not hold the lease any more: stop writing.
        """
        self._write(
            study_id,
            lambda connection: lease.renew(connection, study_id, self._tokens[study_id], self._shared_now(connection)),
            required=True,
        )

    def release_lease(self, study_id: int) -> None:
        """Give the lease back; nothing happens where this store does not hold it."""
        token = self._tokens.pop(study_id, None)
        if token is not None:
            self._database.write(
                lambda connection: lease.release(connection, study_id, token, self._shared_now(connection))
            )

    def is_leased(self, study_id: int) -> Holder | None:
        """Return the driver that holds the study and is not known to be dead, None where there is none."""
        return self._database.read(
            lambda connection: lease.live_holder(connection, study_id, self._shared_now(connection))
        )

    def mark_phase(self, study_id: int, phase: str) -> None:
        """End the current stretch of time and begin one of `phase`; a sign of life as well.

        Raises:
            LeaseError: where this store does not hold the lease.
        """
        self._write(
            study_id,
            lambda connection: lease.mark_phase(
                connection, study_id, self._tokens[study_id], phase, self._shared_now(connection)
            ),
            required=True,
        )

    def phases(self, study_id: int) -> list[PhaseRecord]:
        """Return every stretch of time that drivers spent on the study, the oldest first."""
        return self._database.read(lambda connection: lease.phases(connection, study_id))

    def total_seconds(self, study_id: int, phase: str | None = None) -> float:
        """Return the seconds spent by all drivers so far, up to each one's last sign of life.

        Only stretches of `phase` count where it is given. Right after `take_lease` these are the earlier drivers'.
        """
        stretches = self.phases(study_id)
        return sum(stretch.seconds for stretch in stretches if phase is None or stretch.phase == phase)

    def _now(self) -> datetime:
        return utc_now() if self._clock is None else self._clock()

    def _shared_now(self, connection: Connection) -> datetime:
        return lease.database_time(connection) if self._clock is None else self._clock()

    def _write(self, study_id: int, work: Callable[[Connection], T], required: bool = False) -> T:
        """Return what the work says of its transaction, in which the lease is held where this store took it."""
        return self._database.write(lambda connection: work(self._guarded(connection, study_id, required)))

    def _guarded(self, connection: Connection, study_id: int, required: bool) -> Connection:
        token = self._tokens.get(study_id)
        if token is not None or required:
            lease.check_held(connection, study_id, token)
        return connection
