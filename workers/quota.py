"""Limits of a tenant, kept inside the transactions that use them up, so that parallel requests cannot pass together."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from workers.access import Limits, Usage
from workers.errors import QuotaExceeded
from workers.jobs import JobStatus
from workers.tables import JobRow, TenantRow, UsageRow

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from workers.database import Transaction
    from workers.settings import Settings

WINDOW_S = 60.0
DAY_S = 86_400.0
QUEUE_RETRY_S = 10.0  # a place in the queue frees when a job ends; sooner is not worth asking


def default_limits(settings: Settings) -> Limits:
    """The limits of tenants that have none of their own."""
    return Limits(
        requests_per_minute=settings.quota_requests_per_minute,
        creates_per_minute=settings.quota_creates_per_minute,
        max_running=settings.quota_running,
        max_queued=settings.quota_queued,
        compute_seconds_per_day=settings.quota_compute_seconds_per_day,
    )


def limits_of(row: TenantRow | None, defaults: Limits) -> Limits:
    """A tenant's own limits, with the defaults where it has none."""
    if row is None:
        return defaults
    own = {field.name: getattr(row, field.name) for field in fields(Limits)}
    return Limits(**{name: getattr(defaults, name) if value is None else value for name, value in own.items()})


def ensure_tenant(transaction: Transaction, tenant: str) -> None:
    """Make the tenant's row unless it is there."""
    values = {
        "id": tenant,
        "created_at": transaction.now,
        "weight": 1.0,
        "create_clock": 0.0,
        "turn_start": 0.0,
        "turn_end": 0.0,
    }
    transaction.session.execute(transaction.insert(TenantRow).values(values).on_conflict_do_nothing())


def locked_tenant(transaction: Transaction, tenant: str) -> TenantRow:
    """The tenant's row, made if it is not there, held against others until the transaction ends."""
    query = select(TenantRow).where(TenantRow.id == tenant).with_for_update().execution_options(populate_existing=True)
    row = transaction.session.scalar(query)
    if row is None:
        ensure_tenant(transaction, tenant)
        row = transaction.session.scalars(query).one()
    return row


def admit(transaction: Transaction, row: TenantRow, defaults: Limits) -> None:
    """Count one new job of a tenant whose row is held.

    Raises: QuotaExceeded.
    """
    row.create_clock = check_room(transaction, row.id, row, defaults)


def check_room(transaction: Transaction, tenant: str, row: TenantRow | None, defaults: Limits) -> float:
    """Whether a tenant may have one more job; returns when its allowance of new jobs would be whole again.

    Raises: QuotaExceeded.
    """
    limits = limits_of(row, defaults)
    clock = row.create_clock if row else 0.0
    session, now = transaction.session, transaction.now
    if limits.max_queued and count_jobs(session, tenant, JobStatus.QUEUED) >= limits.max_queued:
        raise QuotaExceeded(
            "concurrency_limit",
            f"{limits.max_queued} videos wait already, as many as may.",
            retry_after_s=QUEUE_RETRY_S,
            limit=limits.max_queued,
        )
    allowed_s = limits.compute_seconds_per_day
    if allowed_s and _used_s(session, tenant, now) >= allowed_s:
        raise QuotaExceeded(
            "quota_exceeded",
            f"The {allowed_s:g} seconds of computing of this day (UTC) are used up.",
            retry_after_s=_left_of_day(now),
            limit=int(allowed_s),
            window_s=DAY_S,
        )
    return _next_clock(clock, now, per_minute=limits.creates_per_minute) if limits.creates_per_minute else clock


def charge(transaction: Transaction, row: JobRow) -> None:
    """Count the seconds of the attempt that ends now on its tenant's day; harmless when none was running."""
    if row.claimed_at is None:
        return
    seconds = max(0.0, transaction.now - row.claimed_at)
    row.claimed_at = None
    values = {"tenant": row.tenant, "day": _day(transaction.now), "compute_seconds": seconds, "attempts": 1}
    transaction.session.execute(
        transaction.insert(UsageRow)
        .values(values)
        .on_conflict_do_update(
            index_elements=["tenant", "day"],
            set_={"compute_seconds": UsageRow.compute_seconds + seconds, "attempts": UsageRow.attempts + 1},
        )
    )


def usage_of(transaction: Transaction, tenant: str, defaults: Limits) -> Usage:
    """What a tenant holds and has used today."""
    session, now = transaction.session, transaction.now
    return Usage(
        limits=limits_of(session.get(TenantRow, tenant), defaults),
        running=count_jobs(session, tenant, JobStatus.IN_PROGRESS),
        queued=count_jobs(session, tenant, JobStatus.QUEUED),
        compute_seconds_today=round(_used_s(session, tenant, now), 3),
        seconds_left_today=round(_left_of_day(now), 3),
    )


def _next_clock(clock: float, now: float, *, per_minute: int) -> float:
    """The generic cell rate algorithm: when the allowance is whole again after one more.

    Raises: QuotaExceeded when the allowance of a whole minute is used up.
    """
    interval_s = WINDOW_S / per_minute
    moved = max(clock, now) + interval_s
    if moved - now > WINDOW_S + 1e-6:
        raise QuotaExceeded(
            "rate_limited",
            f"At most {per_minute} new videos a minute.",
            retry_after_s=moved - now - WINDOW_S,
            limit=per_minute,
            window_s=WINDOW_S,
        )
    return moved


def count_jobs(session: Session, tenant: str, status: JobStatus) -> int:
    """How many jobs of a tenant are in a state."""
    query = select(func.count()).select_from(JobRow).where(JobRow.status == status, JobRow.tenant == tenant)
    return int(session.scalar(query) or 0)


def _used_s(session: Session, tenant: str, now: float) -> float:
    query = select(UsageRow.compute_seconds).where(UsageRow.tenant == tenant, UsageRow.day == _day(now))
    return float(session.scalar(query) or 0.0)


def _day(now: float) -> int:
    return int(now // DAY_S)


def _left_of_day(now: float) -> float:
    return DAY_S - now % DAY_S
