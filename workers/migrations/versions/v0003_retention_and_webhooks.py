"""Retention, deadlines and retries of jobs; webhook endpoints and deliveries; tickets for event streams."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
TIME = sa.Float(precision=53)


def upgrade() -> None:
    """Create the tables; rows and processes of before do without the new columns."""
    _widen_jobs_and_files()
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("events", DOCUMENT, nullable=False),
        sa.Column("secrets", DOCUMENT, nullable=False),
        sa.Column("disabled_reason", sa.String(length=40), nullable=True),
        sa.Column("failing_since", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoints")),
    )
    op.create_index(
        "ix_webhook_endpoints_tenant_created_at", "webhook_endpoints", ["tenant", "created_at"], unique=False
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("endpoint_id", sa.String(length=40), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=True),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_at", TIME, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("done_at", TIME, nullable=True),
        sa.Column("reply_status", sa.Integer(), nullable=True),
        sa.Column("reply_excerpt", sa.Text(), nullable=True),
        sa.Column("error", sa.String(length=40), nullable=True),
        sa.ForeignKeyConstraint(
            ["endpoint_id"],
            ["webhook_endpoints.id"],
            name=op.f("fk_webhook_deliveries_endpoint_id_webhook_endpoints"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
        sa.UniqueConstraint(
            "job_id", "type", "endpoint_id", name=op.f("uq_webhook_deliveries_job_id_type_endpoint_id")
        ),
    )
    op.create_index("ix_webhook_deliveries_status_next_at", "webhook_deliveries", ["status", "next_at"], unique=False)
    op.create_index(
        "ix_webhook_deliveries_tenant_created_at_id", "webhook_deliveries", ["tenant", "created_at", "id"], unique=False
    )
    op.create_table(
        "event_tickets",
        sa.Column("secret_sha256", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_event_tickets_job_id_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("secret_sha256", name=op.f("pk_event_tickets")),
    )
    op.create_index("ix_event_tickets_expires_at", "event_tickets", ["expires_at"], unique=False)


def _widen_jobs_and_files() -> None:
    op.add_column("jobs", sa.Column("retention_s", TIME, nullable=True))
    op.add_column("jobs", sa.Column("deadline_at", TIME, nullable=True))
    op.add_column("jobs", sa.Column("retried_from", sa.String(length=40), nullable=True))
    op.add_column("jobs", sa.Column("recipe_sha256", sa.String(length=64), nullable=True))
    op.add_column("jobs", sa.Column("cached_from", sa.String(length=40), nullable=True))
    op.create_index("ix_jobs_expires_at", "jobs", ["expires_at"], unique=False)
    op.create_index("ix_jobs_retried_from", "jobs", ["retried_from"], unique=False)
    op.create_index("ix_jobs_tenant_recipe_sha256", "jobs", ["tenant", "recipe_sha256"], unique=False)
    op.add_column("files", sa.Column("expires_at", TIME, nullable=True))
    op.add_column("files", sa.Column("purged_at", TIME, nullable=True))
    op.create_index("ix_files_expires_at", "files", ["expires_at"], unique=False)


def downgrade() -> None:
    """Refuse: the tables only move forward; a backup is the way back."""
    raise RuntimeError("this database only moves forward; restore a backup instead")
