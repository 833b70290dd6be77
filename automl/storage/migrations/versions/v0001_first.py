"""The first schema: what every database has that was ever made by a package."""

from __future__ import annotations

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Change nothing: a database of version 1 was made whole."""
