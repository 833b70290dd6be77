"""Results below the top rung, and the latest write of each writer that repeats its writes after an outage."""

from __future__ import annotations

from alembic import op
from sqlalchemy import JSON, BigInteger, Column, ForeignKey, ForeignKeyConstraint, Integer, UniqueConstraint
from sqlalchemy.schema import SchemaItem

from automl.storage.column_types import ExactText, Moment, Real

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the new tables."""
    op.create_table(
        "automl_rung",
        Column("id", Integer, primary_key=True),
        Column("study_id", Integer, ForeignKey("automl_study.id"), nullable=False),
        Column("trial", Integer, nullable=False),
        Column("rung", Integer, nullable=False),
        Column("checkpoint_sha256", ExactText),
        Column("checkpoint_path", ExactText),
        Column("checkpoint_size_bytes", BigInteger),
        Column("created_at", Moment, nullable=False),
        ForeignKeyConstraint(["study_id", "trial"], ["automl_trial.study_id", "automl_trial.number"]),
        UniqueConstraint("study_id", "trial", "rung"),
    )
    _create_part("automl_rung_measurement", *_texts("name"), *_reals("value"), *_texts("kind", "protocol"),
                 *_reals("low", "high"), Column("samples", BigInteger, nullable=False),
                 *_texts("device", "artefact"))  # fmt: skip
    _create_part("automl_rung_timing", *_texts("moment", "kind", "protocol", "device", "artefact", "control"),
                 *_reals("control_reference_ms"), *_reals("control_ratio", "control_ratio_low", "control_ratio_high"),
                 *_reals("twin_ratio", "twin_ratio_low", "twin_ratio_high", nullable=True),
                 *_reals("aa_ratio", "aa_ratio_low", "aa_ratio_high", nullable=True),
                 Column("samples_ms", JSON, nullable=False))  # fmt: skip
    _create_part("automl_rung_epoch", *_texts("phase"), Column("epoch", Integer, nullable=False),
                 *_reals("loss", "gradient_norm", "learning_rate", "seconds"))  # fmt: skip
    _create_part("automl_rung_duration", *_texts("part"), *_reals("seconds"))
    op.create_table(
        "automl_last_write",
        Column("writer", ExactText, primary_key=True),
        Column("write", ExactText, nullable=False),
        Column("written_at", Moment, nullable=False),
    )


def _create_part(name: str, *columns: SchemaItem) -> None:
    op.create_table(
        name,
        Column("rung_id", Integer, ForeignKey("automl_rung.id"), primary_key=True),
        Column("position", Integer, primary_key=True, autoincrement=False),
        *columns,
    )


def _texts(*names: str) -> list[Column[str]]:
    return [Column(name, ExactText, nullable=False) for name in names]


def _reals(*names: str, nullable: bool = False) -> list[Column[float]]:
    return [Column(name, Real, nullable=nullable) for name in names]
