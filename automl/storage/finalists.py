"""What stands at the two ends of a study: its teacher and its finalists."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select

from automl.candidate import candidate_from_json, candidate_to_json
from automl.outcome import Measured
from automl.storage.codec import measurement_row
from automl.storage.decoding import measurements_from_lines
from automl.storage.outcomes import read_outcomes, write_outcome
from automl.storage.raw import Texts, raw
from automl.storage.records import FinalistRecord, TeacherRecord
from automl.storage.tables import FINALIST, OUTCOME, TEACHER, TEACHER_MEASUREMENT


def add(connection: Connection, study_id: int, finalist: FinalistRecord) -> bool:
    """Write a finalist with its outcome; False where the study has that candidate in that role."""
    candidate_hash = finalist.candidate.candidate_hash()
    same = select(FINALIST.c.id).where(
        FINALIST.c.study_id == study_id,
        FINALIST.c.role == finalist.role,
        FINALIST.c.candidate_hash == candidate_hash,
    )
    if connection.execute(same).first() is not None:
        return False
    row = {
        "study_id": study_id,
        "role": finalist.role,
        "trial": finalist.trial,
        "candidate": candidate_to_json(finalist.candidate),
        "candidate_hash": candidate_hash,
        "outcome_id": write_outcome(connection, study_id, finalist.outcome, finalist.created_at),
        "created_at": finalist.created_at,
    }
    connection.execute(insert(FINALIST), row)
    return True


def read_all(connection: Connection, study_id: int) -> list[FinalistRecord]:
    """Return the finalists with everything, in the order in which they were written."""
    rows = connection.execute(select(FINALIST).where(FINALIST.c.study_id == study_id).order_by(FINALIST.c.id))
    of_finalists = OUTCOME.c.id.in_(select(FINALIST.c.outcome_id).where(FINALIST.c.study_id == study_id))
    outcomes = read_outcomes(connection, of_finalists, with_samples=True)
    finalists = []
    for row in rows.mappings():
        outcome = outcomes[row["outcome_id"]]
        assert isinstance(outcome, Measured), "only measured outcomes are written"
        candidate = candidate_from_json(row["candidate"])
        finalists.append(FinalistRecord(row["role"], row["trial"], candidate, outcome, row["created_at"]))
    return finalists


def add_teacher(connection: Connection, study_id: int, teacher: TeacherRecord) -> None:
    """Write a teacher; the latest one counts."""
    row = {
        "study_id": study_id,
        "sha256": teacher.sha256,
        "path": teacher.path,
        "candidate": candidate_to_json(teacher.candidate),
        "seconds": teacher.seconds,
        "created_at": teacher.created_at,
    }
    teacher_id = connection.execute(insert(TEACHER).values(row).returning(TEACHER.c.id)).scalar_one()
    for position, measurement in enumerate(teacher.measurements):
        identity = {"teacher_id": teacher_id, "position": position}
        connection.execute(insert(TEACHER_MEASUREMENT), identity | measurement_row(measurement))


def read_teacher(connection: Connection, study_id: int) -> TeacherRecord | None:
    """Return the latest teacher, None where there is none."""
    latest = select(TEACHER).where(TEACHER.c.study_id == study_id).order_by(TEACHER.c.id.desc()).limit(1)
    row = connection.execute(latest).mappings().one_or_none()
    if row is None:
        return None
    owner, position, *columns = TEACHER_MEASUREMENT.c
    lines = select(owner, *map(raw, columns)).where(owner == row["id"]).order_by(position)
    found = measurements_from_lines(connection.execute(lines), Texts())
    return TeacherRecord(
        sha256=row["sha256"],
        path=row["path"],
        candidate=candidate_from_json(row["candidate"]),
        measurements=tuple(measurement for _, measurement in found),
        seconds=row["seconds"],
        created_at=row["created_at"],
    )
