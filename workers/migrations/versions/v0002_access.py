"""Access: tenants, API keys, usage, idempotency keys, the audit log, the quarantine, and whose turn it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
TIME = sa.Float(precision=53)


def upgrade() -> None:
    """Create the tables, and give everything that exists to the tenant `default`, which has no limits."""
    _widen_jobs()
    tenants = op.create_table(
        "tenants",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("weight", TIME, nullable=False),
        sa.Column("requests_per_minute", sa.Integer(), nullable=True),
        sa.Column("creates_per_minute", sa.Integer(), nullable=True),
        sa.Column("max_running", sa.Integer(), nullable=True),
        sa.Column("max_queued", sa.Integer(), nullable=True),
        sa.Column("compute_seconds_per_day", TIME, nullable=True),
        sa.Column("create_clock", TIME, nullable=False),
        sa.Column("turn_start", TIME, nullable=False),
        sa.Column("turn_end", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenants")),
    )
    unlimited = dict.fromkeys(("requests_per_minute", "creates_per_minute", "max_running", "max_queued"), 0)
    still = dict.fromkeys(("created_at", "compute_seconds_per_day", "create_clock", "turn_start", "turn_end"), 0.0)
    op.bulk_insert(tenants, [{"id": "default", "weight": 1.0, **unlimited, **still}])
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("prefix", sa.String(length=40), nullable=False),
        sa.Column("last4", sa.String(length=4), nullable=False),
        sa.Column("secret_sha256", sa.String(length=64), nullable=False),
        sa.Column("scopes", DOCUMENT, nullable=False),
        sa.Column("requests_per_minute", sa.Integer(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=True),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.Column("used_at", TIME, nullable=True),
        sa.Column("replaced_by", sa.String(length=40), nullable=True),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.id"], name=op.f("fk_api_keys_tenant_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("prefix", name=op.f("uq_api_keys_prefix")),
    )
    op.create_index("ix_api_keys_tenant_created_at", "api_keys", ["tenant", "created_at"], unique=False)
    op.create_table(
        "usage_days",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("compute_seconds", TIME, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "day", name=op.f("pk_usage_days")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_idempotency_keys_job_id_jobs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index("ix_idempotency_keys_expires_at", "idempotency_keys", ["expires_at"], unique=False)
    op.create_table(
        "audit_log",
        sa.Column("row", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("target", sa.String(length=200), nullable=False),
        sa.Column("detail", DOCUMENT, nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("row", name=op.f("pk_audit_log")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_log_tenant_row", "audit_log", ["tenant", "row"], unique=False)
    op.create_table(
        "quarantine",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=True),
        sa.Column("at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_quarantine")),
    )


def _widen_jobs() -> None:
    """Columns that rows of before, and processes of before, do without."""
    op.add_column("jobs", sa.Column("api_key_id", sa.String(length=40), nullable=True))
    op.add_column("jobs", sa.Column("priority", sa.Integer(), server_default="1", nullable=False))
    op.add_column("jobs", sa.Column("claimed_at", TIME, nullable=True))
    op.create_index(
        "ix_jobs_status_tenant_priority_created_at_id",
        "jobs",
        ["status", "tenant", "priority", "created_at", "id"],
        unique=False,
    )
    op.add_column("workers", sa.Column("drain_requested_at", TIME, nullable=True))


def downgrade() -> None:
    """Refuse: the tables only move forward; a backup is the way back."""
    raise RuntimeError("this database only moves forward; restore a backup instead")
