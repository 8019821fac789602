"""Checkpoints within a stage."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the step; a checkpoint without one is that of a finished stage, as all were before."""
    op.add_column("checkpoints", sa.Column("step", sa.Integer(), nullable=True))


def downgrade() -> None:
    """Refuse: the tables only move forward; a backup is the way back."""
    raise RuntimeError("this database only moves forward; restore a backup instead")
