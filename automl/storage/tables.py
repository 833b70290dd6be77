"""Our tables. Names start with `automl_`, because Optuna's live in the same database.

What a person would ask for is a typed column; JSON holds only whole documents (spec, versions, point, candidate,
sampler state, samples). A trial's state is not a column: a trial without an outcome is open, the others have the
state of their outcome.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    UniqueConstraint,
)
from sqlalchemy.schema import SchemaItem

from automl.storage.column_types import ExactText, Moment, Real

METADATA = MetaData()

SCHEMA_VERSION_TABLE = Table(
    "automl_schema_version",
    METADATA,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("applied_at", Moment, nullable=False),
)

STUDY = Table(
    "automl_study",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", ExactText, nullable=False, unique=True),
    Column("spec", JSON, nullable=False),
    Column("spec_digest", ExactText, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("versions", JSON, nullable=False),
    Column("device", ExactText, nullable=False),
    Column("objectives", JSON, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("finished_at", Moment),
)


def _study_id(primary: bool = False) -> Column[int]:
    return Column("study_id", ForeignKey("automl_study.id"), primary_key=primary, nullable=False)


def _part(owner: str, name: str, *columns: SchemaItem) -> Table:
    """Return a table with some lines for each `owner` ("outcome" or "rung"), in the order of `position`."""
    return Table(
        name,
        METADATA,
        Column(f"{owner}_id", ForeignKey(f"automl_{owner}.id"), primary_key=True),
        Column("position", Integer, primary_key=True, autoincrement=False),
        *columns,
    )


def _measurement_columns() -> tuple[SchemaItem, ...]:
    return (
        Column("name", ExactText, nullable=False),
        Column("value", Real, nullable=False),
        Column("kind", ExactText, nullable=False),
        Column("protocol", ExactText, nullable=False),
        Column("low", Real, nullable=False),
        Column("high", Real, nullable=False),
        Column("samples", BigInteger, nullable=False),
        Column("device", ExactText, nullable=False),
        Column("artefact", ExactText, nullable=False),
    )


def _ratio_columns(name: str, nullable: bool) -> tuple[SchemaItem, ...]:
    return tuple(Column(f"{name}{suffix}", Real, nullable=nullable) for suffix in ("", "_low", "_high"))


def _timing_columns() -> tuple[SchemaItem, ...]:
    return (
        Column("moment", ExactText, nullable=False),
        Column("kind", ExactText, nullable=False),
        Column("protocol", ExactText, nullable=False),
        Column("device", ExactText, nullable=False),
        Column("artefact", ExactText, nullable=False),
        Column("control", ExactText, nullable=False),
        Column("control_reference_ms", Real, nullable=False),
        *_ratio_columns("control_ratio", nullable=False),
        *_ratio_columns("twin_ratio", nullable=True),
        *_ratio_columns("aa_ratio", nullable=True),
        Column("samples_ms", JSON, nullable=False),
    )


def _epoch_columns() -> tuple[SchemaItem, ...]:
    return (
        Column("phase", ExactText, nullable=False),
        Column("epoch", Integer, nullable=False),
        Column("loss", Real, nullable=False),
        Column("gradient_norm", Real, nullable=False),
        Column("learning_rate", Real, nullable=False),
        Column("seconds", Real, nullable=False),
    )


def _duration_columns() -> tuple[SchemaItem, ...]:
    return (Column("part", ExactText, nullable=False), Column("seconds", Real, nullable=False))


# An outcome of a trial or a finalist. stable and verdict and the ratios are those of a measured one.
OUTCOME = Table(
    "automl_outcome",
    METADATA,
    Column("id", Integer, primary_key=True),
    _study_id(),
    Column("state", ExactText, nullable=False),
    Column("reason", ExactText),
    Column("traceback", ExactText),
    Column("stable", Boolean),
    Column("verdict", ExactText),
    *_ratio_columns("twin_ratio", nullable=True),
    Column("size_ratio", Real),
    Column("created_at", Moment, nullable=False),
    Index("automl_outcome_by_study", "study_id"),
)

ARTEFACT = Table(
    "automl_artefact",
    METADATA,
    Column("outcome_id", ForeignKey("automl_outcome.id"), primary_key=True),
    Column("sha256", ExactText, nullable=False),
    Column("path", ExactText, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Index("automl_artefact_by_sha256", "sha256"),
)

MEASUREMENT = _part("outcome", "automl_measurement", *_measurement_columns())
TIMING = _part("outcome", "automl_timing", *_timing_columns())
EPOCH = _part("outcome", "automl_epoch", *_epoch_columns())
DURATION = _part("outcome", "automl_duration", *_duration_columns())

VIOLATION = _part(
    "outcome",
    "automl_violation",
    Column("name", ExactText, nullable=False),
    Column("value", Real, nullable=False),
    Column("bound", Real, nullable=False),
)

NOTE = _part("outcome", "automl_note", Column("text", ExactText, nullable=False))

TRIAL = Table(
    "automl_trial",
    METADATA,
    _study_id(primary=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("point", JSON, nullable=False),
    Column("candidate", JSON, nullable=False),
    Column("candidate_hash", ExactText, nullable=False),
    Column("shape_key", ExactText, nullable=False),
    Column("sampler_state", JSON, nullable=False),
    Column("enqueued", Boolean, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("outcome_id", ForeignKey("automl_outcome.id"), unique=True),
    Column("reused_from", Integer),
    ForeignKeyConstraint(["study_id", "reused_from"], ["automl_trial.study_id", "automl_trial.number"]),
    Index("automl_trial_by_shape", "study_id", "shape_key"),
    Index("automl_trial_by_candidate", "study_id", "candidate_hash"),
)

# What a trial is worth below the top rung; ids grow in the order in which results were recorded.
RUNG = Table(
    "automl_rung",
    METADATA,
    Column("id", Integer, primary_key=True),
    _study_id(),
    Column("trial", Integer, nullable=False),
    Column("rung", Integer, nullable=False),
    Column("checkpoint_sha256", ExactText),
    Column("checkpoint_path", ExactText),
    Column("checkpoint_size_bytes", BigInteger),
    Column("created_at", Moment, nullable=False),
    ForeignKeyConstraint(["study_id", "trial"], ["automl_trial.study_id", "automl_trial.number"]),
    UniqueConstraint("study_id", "trial", "rung"),
)

RUNG_MEASUREMENT = _part("rung", "automl_rung_measurement", *_measurement_columns())
RUNG_TIMING = _part("rung", "automl_rung_timing", *_timing_columns())
RUNG_EPOCH = _part("rung", "automl_rung_epoch", *_epoch_columns())
RUNG_DURATION = _part("rung", "automl_rung_duration", *_duration_columns())

FINALIST = Table(
    "automl_finalist",
    METADATA,
    Column("id", Integer, primary_key=True),
    _study_id(),
    Column("role", ExactText, nullable=False),
    Column("trial", Integer),
    Column("candidate", JSON, nullable=False),
    Column("candidate_hash", ExactText, nullable=False),
    Column("outcome_id", ForeignKey("automl_outcome.id"), nullable=False, unique=True),
    Column("created_at", Moment, nullable=False),
    ForeignKeyConstraint(["study_id", "trial"], ["automl_trial.study_id", "automl_trial.number"]),
    UniqueConstraint("study_id", "role", "candidate_hash"),
)

TEACHER = Table(
    "automl_teacher",
    METADATA,
    Column("id", Integer, primary_key=True),
    _study_id(),
    Column("sha256", ExactText, nullable=False),
    Column("path", ExactText, nullable=False),
    Column("candidate", JSON, nullable=False),
    Column("seconds", Real, nullable=False),
    Column("created_at", Moment, nullable=False),
)

TEACHER_MEASUREMENT = Table(
    "automl_teacher_measurement",
    METADATA,
    Column("teacher_id", ForeignKey("automl_teacher.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    *_measurement_columns(),
)

CONTROL = Table(
    "automl_control",
    METADATA,
    _study_id(primary=True),
    Column("device", ExactText, primary_key=True),
    Column("kind", ExactText, primary_key=True),
    Column("reference_ms", Real, nullable=False),
    Column("sha256", ExactText, nullable=False),
    Column("created_at", Moment, nullable=False),
)

EVENT = Table(
    "automl_event",
    METADATA,
    Column("id", Integer, primary_key=True),
    _study_id(),
    Column("trial", Integer),
    Column("kind", ExactText, nullable=False),
    Column("text", ExactText, nullable=False),
    Column("created_at", Moment, nullable=False),
    Index("automl_event_by_study", "study_id", "id"),
)

LEASE = Table(
    "automl_lease",
    METADATA,
    _study_id(primary=True),
    Column("token", ExactText, nullable=False),
    Column("host", ExactText, nullable=False),
    Column("boot_id", ExactText, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("process_start", BigInteger, nullable=False),
    Column("taken_at", Moment, nullable=False),
    Column("renewed_at", Moment, nullable=False),
)

# One row for each stretch of time that a driver (one token) spent in one phase.
SESSION = Table(
    "automl_session",
    METADATA,
    Column("id", Integer, primary_key=True),
    _study_id(),
    Column("token", ExactText, nullable=False),
    Column("host", ExactText, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("phase", ExactText, nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("last_seen_at", Moment, nullable=False),
    Index("automl_session_by_study", "study_id", "id"),
)

# The latest write of each writer that repeats its writes after an outage: was it committed before the connection died?
LAST_WRITE = Table(
    "automl_last_write",
    METADATA,
    Column("writer", ExactText, primary_key=True),
    Column("write", ExactText, nullable=False),
    Column("written_at", Moment, nullable=False),
)
