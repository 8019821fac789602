"""The tables of the job database. What they mean is in `workers.jobs`; how they change, in `workers/migrations`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Float, ForeignKey, Index, Integer, MetaData, String, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

Document = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
RowNumber = BigInteger().with_variant(Integer(), "sqlite")  # only INTEGER is a row id to SQLite


class Base(DeclarativeBase):
    """Base of the tables; times are unix seconds by the database's clock."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {dict[str, Any]: Document, list[dict[str, Any]]: Document}  # noqa: RUF012 - SQLAlchemy's form


class JobRow(Base):
    """One job: the truth about it."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_status_created_at_id", "status", "created_at", "id"),
        Index("ix_jobs_tenant_created_at_id", "tenant", "created_at", "id"),
        Index("ix_jobs_status_tenant_priority_created_at_id", "status", "tenant", "priority", "created_at", "id"),
        Index("ix_jobs_image_key", "image_key"),
        Index("ix_jobs_audio_key", "audio_key"),
        Index("ix_jobs_expires_at", "expires_at"),
        Index("ix_jobs_retried_from", "retried_from"),
        Index("ix_jobs_tenant_recipe_sha256", "tenant", "recipe_sha256"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64), default="default")
    api_key_id: Mapped[str | None] = mapped_column(String(40))
    priority: Mapped[int] = mapped_column(default=1, server_default="1")
    status: Mapped[str] = mapped_column(String(16))
    stage: Mapped[str] = mapped_column(String(16))
    request: Mapped[dict[str, Any]]
    model: Mapped[str] = mapped_column(String(120))
    image_key: Mapped[str] = mapped_column(String(200))
    audio_key: Mapped[str] = mapped_column(String(200))
    caller_metadata: Mapped[dict[str, Any]]
    progress: Mapped[int] = mapped_column(default=0)
    seq: Mapped[int] = mapped_column(BigInteger, default=0)
    attempt: Mapped[int] = mapped_column(default=0)
    max_attempts: Mapped[int]
    fence: Mapped[int] = mapped_column(BigInteger, default=0)
    lease_owner: Mapped[str | None] = mapped_column(String(120))
    lease_until: Mapped[float | None] = mapped_column(Float(53))
    not_before: Mapped[float] = mapped_column(Float(53), default=0.0)
    cancel_requested_at: Mapped[float | None] = mapped_column(Float(53))
    created_at: Mapped[float] = mapped_column(Float(53))
    claimed_at: Mapped[float | None] = mapped_column(Float(53))
    started_at: Mapped[float | None] = mapped_column(Float(53))
    completed_at: Mapped[float | None] = mapped_column(Float(53))
    expires_at: Mapped[float | None] = mapped_column(Float(53))
    retention_s: Mapped[float | None] = mapped_column(Float(53))
    deadline_at: Mapped[float | None] = mapped_column(Float(53))
    retried_from: Mapped[str | None] = mapped_column(String(40))
    recipe_sha256: Mapped[str | None] = mapped_column(String(64))
    cached_from: Mapped[str | None] = mapped_column(String(40))
    request_id: Mapped[str | None] = mapped_column(String(64))
    traceparent: Mapped[str | None] = mapped_column(String(64))
    deleted_at: Mapped[float | None] = mapped_column(Float(53))
    purged_at: Mapped[float | None] = mapped_column(Float(53))
    stages: Mapped[list[dict[str, Any]]]
    keyframes: Mapped[dict[str, Any] | None]
    output: Mapped[dict[str, Any] | None]
    failure_code: Mapped[str | None] = mapped_column(String(64))
    failure_message: Mapped[str | None] = mapped_column(Text)
    engine: Mapped[dict[str, Any]]
    usage: Mapped[dict[str, Any]]


class EventRow(Base):
    """One entry of a job's history; `row` orders the entries of all jobs by their commit."""

    __tablename__ = "job_events"
    __table_args__ = (UniqueConstraint("job_id", "seq"), {"sqlite_autoincrement": True})

    row: Mapped[int] = mapped_column(RowNumber, primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(String(40), ForeignKey("jobs.id", ondelete="CASCADE"))
    seq: Mapped[int] = mapped_column(BigInteger)
    type: Mapped[str] = mapped_column(String(32))
    data: Mapped[dict[str, Any]]
    at: Mapped[float] = mapped_column(Float(53))


class CheckpointRow(Base):
    """What a stage left last, so that the next attempt need not repeat it; `step` is absent when it is finished."""

    __tablename__ = "checkpoints"

    job_id: Mapped[str] = mapped_column(String(40), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    stage: Mapped[str] = mapped_column(String(16), primary_key=True)
    key: Mapped[str] = mapped_column(String(200))
    sha256: Mapped[str] = mapped_column(String(64))
    engine_digest: Mapped[str] = mapped_column(String(64))
    fence: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[float] = mapped_column(Float(53))
    step: Mapped[int | None] = mapped_column(default=None)


class FileRow(Base):
    """One uploaded file that later requests may name."""

    __tablename__ = "files"
    __table_args__ = (
        Index("ix_files_tenant_created_at_id", "tenant", "created_at", "id"),
        Index("ix_files_key", "key"),
        Index("ix_files_expires_at", "expires_at"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64), default="default")
    purpose: Mapped[str] = mapped_column(String(16))
    filename: Mapped[str] = mapped_column(Text)
    key: Mapped[str | None] = mapped_column(String(200))
    media: Mapped[dict[str, Any]]
    created_at: Mapped[float] = mapped_column(Float(53))
    expires_at: Mapped[float | None] = mapped_column(Float(53))
    purged_at: Mapped[float | None] = mapped_column(Float(53))


class UploadRow(Base):
    """One file that its caller sends straight to storage; once completed it is a file of the id `file_id`."""

    __tablename__ = "uploads"
    __table_args__ = (
        Index("ix_uploads_tenant_expires_at", "tenant", "expires_at"),
        Index("ix_uploads_expires_at", "expires_at"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64))
    file_id: Mapped[str] = mapped_column(String(40))
    purpose: Mapped[str] = mapped_column(String(16))
    filename: Mapped[str] = mapped_column(Text)
    bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[float] = mapped_column(Float(53))
    expires_at: Mapped[float] = mapped_column(Float(53))
    completed_at: Mapped[float | None] = mapped_column(Float(53))


class WorkerRow(Base):
    """One worker process, as it last said."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(String(120), primary_key=True)
    host: Mapped[str] = mapped_column(String(120))
    pid: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    job_id: Mapped[str | None] = mapped_column(String(40))
    engine: Mapped[dict[str, Any]]
    started_at: Mapped[float] = mapped_column(Float(53))
    beat_at: Mapped[float] = mapped_column(Float(53))
    drain_requested_at: Mapped[float | None] = mapped_column(Float(53))


class LeaderRow(Base):
    """Which process does a duty that only one may do at a time."""

    __tablename__ = "leaders"

    duty: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(120))
    until: Mapped[float] = mapped_column(Float(53))


class TenantRow(Base):
    """One tenant: its limits (null is the installation's default, 0 is none) and its place in the queue.

    `turn_start` and `turn_end` are the virtual time of its last turn (see `workers.fair_share`); `create_clock` is when
    its allowance of new videos is whole again.
    """

    __tablename__ = "tenants"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    created_at: Mapped[float] = mapped_column(Float(53))
    weight: Mapped[float] = mapped_column(Float(53), default=1.0)
    requests_per_minute: Mapped[int | None]
    creates_per_minute: Mapped[int | None]
    max_running: Mapped[int | None]
    max_queued: Mapped[int | None]
    compute_seconds_per_day: Mapped[float | None] = mapped_column(Float(53))
    create_clock: Mapped[float] = mapped_column(Float(53), default=0.0)
    turn_start: Mapped[float] = mapped_column(Float(53), default=0.0)
    turn_end: Mapped[float] = mapped_column(Float(53), default=0.0)


class ApiKeyRow(Base):
    """One API key; the secret itself is nowhere, only its hash."""

    __tablename__ = "api_keys"
    __table_args__ = (Index("ix_api_keys_tenant_created_at", "tenant", "created_at"), UniqueConstraint("prefix"))

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64), ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(String(120))
    prefix: Mapped[str] = mapped_column(String(40))
    last4: Mapped[str] = mapped_column(String(4))
    secret_sha256: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[list[str]] = mapped_column(Document)
    requests_per_minute: Mapped[int | None]
    created_at: Mapped[float] = mapped_column(Float(53))
    expires_at: Mapped[float | None] = mapped_column(Float(53))
    revoked_at: Mapped[float | None] = mapped_column(Float(53))
    used_at: Mapped[float | None] = mapped_column(Float(53))
    replaced_by: Mapped[str | None] = mapped_column(String(40))


class UsageRow(Base):
    """What a tenant used on one day (UTC, days since 1970)."""

    __tablename__ = "usage_days"

    tenant: Mapped[str] = mapped_column(String(64), primary_key=True)
    day: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    compute_seconds: Mapped[float] = mapped_column(Float(53), default=0.0)
    attempts: Mapped[int] = mapped_column(default=0)


class IdempotencyRow(Base):
    """One Idempotency-Key of a tenant and the job that it made."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        Index("ix_idempotency_keys_expires_at", "expires_at"),
        Index("ix_idempotency_keys_job_id", "job_id"),
    )

    tenant: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    job_id: Mapped[str] = mapped_column(String(40), ForeignKey("jobs.id", ondelete="CASCADE"))
    expires_at: Mapped[float] = mapped_column(Float(53))


class AuditRow(Base):
    """One entry of the audit log; rows are only ever added."""

    __tablename__ = "audit_log"
    __table_args__ = (Index("ix_audit_log_tenant_row", "tenant", "row"), {"sqlite_autoincrement": True})

    row: Mapped[int] = mapped_column(RowNumber, primary_key=True, autoincrement=True)
    at: Mapped[float] = mapped_column(Float(53))
    tenant: Mapped[str] = mapped_column(String(64))
    actor: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(40))
    target: Mapped[str] = mapped_column(String(200))
    detail: Mapped[dict[str, Any]]
    request_id: Mapped[str | None] = mapped_column(String(64))


class QuarantineRow(Base):
    """An input that may not be used: by the SHA-256 of a file, or of a picture and a sound together."""

    __tablename__ = "quarantine"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    reason: Mapped[str] = mapped_column(Text)
    job_id: Mapped[str | None] = mapped_column(String(40))
    at: Mapped[float] = mapped_column(Float(53))


class WebhookEndpointRow(Base):
    """One address of a tenant that is told of its videos; `secrets` are those it may be signed with, newest first."""

    __tablename__ = "webhook_endpoints"
    __table_args__ = (Index("ix_webhook_endpoints_tenant_created_at", "tenant", "created_at"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64))
    url: Mapped[str] = mapped_column(Text)
    description: Mapped[str] = mapped_column(Text)
    events: Mapped[list[str]] = mapped_column(Document)
    secrets: Mapped[list[dict[str, Any]]]
    disabled_reason: Mapped[str | None] = mapped_column(String(40))
    failing_since: Mapped[float | None] = mapped_column(Float(53))
    created_at: Mapped[float] = mapped_column(Float(53))


class WebhookDeliveryRow(Base):
    """One webhook that is owed to an endpoint, written with the change that it tells of; its id is the `webhook-id`."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("job_id", "type", "endpoint_id"),
        Index("ix_webhook_deliveries_status_next_at", "status", "next_at"),
        Index("ix_webhook_deliveries_tenant_created_at_id", "tenant", "created_at", "id"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64))
    endpoint_id: Mapped[str] = mapped_column(String(40), ForeignKey("webhook_endpoints.id", ondelete="CASCADE"))
    job_id: Mapped[str | None] = mapped_column(String(40))
    type: Mapped[str] = mapped_column(String(32))
    body: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(16))
    tries: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[float] = mapped_column(Float(53))
    created_at: Mapped[float] = mapped_column(Float(53))
    done_at: Mapped[float | None] = mapped_column(Float(53))
    reply_status: Mapped[int | None]
    reply_excerpt: Mapped[str | None] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(String(40))


class EventTicketRow(Base):
    """One ticket that lets a browser open one event stream; of its secret there is only the hash."""

    __tablename__ = "event_tickets"
    __table_args__ = (Index("ix_event_tickets_expires_at", "expires_at"), Index("ix_event_tickets_job_id", "job_id"))

    secret_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    job_id: Mapped[str] = mapped_column(String(40), ForeignKey("jobs.id", ondelete="CASCADE"))
    tenant: Mapped[str] = mapped_column(String(64))
    expires_at: Mapped[float] = mapped_column(Float(53))


class ShareLinkRow(Base):
    """One link that lets anybody see a finished video until a time; what is secret of it is a signature."""

    __tablename__ = "share_links"
    __table_args__ = (Index("ix_share_links_job_id", "job_id"), Index("ix_share_links_expires_at", "expires_at"))

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    job_id: Mapped[str] = mapped_column(String(40), ForeignKey("jobs.id", ondelete="CASCADE"))
    tenant: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[float] = mapped_column(Float(53))
    expires_at: Mapped[float] = mapped_column(Float(53))
    revoked_at: Mapped[float | None] = mapped_column(Float(53))


class BrowserSessionRow(Base):
    """One browser that was let in with an API key; of the session's secret there is only the hash."""

    __tablename__ = "browser_sessions"
    __table_args__ = (Index("ix_browser_sessions_expires_at", "expires_at"),)

    secret_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    key_id: Mapped[str] = mapped_column(String(40), ForeignKey("api_keys.id", ondelete="CASCADE"))
    created_at: Mapped[float] = mapped_column(Float(53))
    expires_at: Mapped[float] = mapped_column(Float(53))
