"""Whose job is next where several tenants wait: start-time fair queueing, so that nobody's flood delays another.

Each tenant has a clock of virtual time that a turn moves on by `1 / weight`; the tenant that is furthest behind is
next. A tenant that was away begins where the others are: it gets no credit for its absence. Within a tenant the order
is priority, then age. So one tenant's single job waits for one job of each other tenant, however many those have.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, func, or_, select

from workers.jobs import JobStatus
from workers.quota import count_jobs, limits_of, locked_tenant
from workers.tables import JobRow, TenantRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from workers.access import Limits
    from workers.database import Transaction
    from workers.jobs import Job


def next_job(transaction: Transaction, claimable: Sequence[ColumnElement[bool]], *, defaults: Limits) -> JobRow | None:
    """Choose among the jobs that are `claimable`, lock it, and count the turn; None when there is none.

    A tenant that runs as many jobs as it may is passed over.
    """
    session = transaction.session
    waiting = dict(
        session.execute(
            select(JobRow.tenant, func.min(JobRow.created_at)).where(*claimable).group_by(JobRow.tenant)
        ).all()
    )
    if not waiting:
        return None
    shares = {row.id: row for row in session.scalars(select(TenantRow).where(TenantRow.id.in_(waiting)))}
    clock = _clock(session)

    def lag(tenant: str) -> tuple[float, float]:
        share = shares.get(tenant)
        return (max(clock, share.turn_end if share else 0.0), waiting[tenant])

    for tenant in sorted(waiting, key=lag):
        share = locked_tenant(transaction, tenant)  # held before it is counted: two claims cannot pass a limit together
        most = limits_of(share, defaults).max_running
        if most and count_jobs(session, tenant, JobStatus.IN_PROGRESS) >= most:
            continue
        first = (
            select(JobRow)
            .where(*claimable, JobRow.tenant == tenant)
            .order_by(JobRow.priority, JobRow.created_at, JobRow.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        row = session.scalar(first)
        if row is not None:
            share.turn_start = max(clock, share.turn_end)
            share.turn_end = share.turn_start + 1 / share.weight
            return row
    return None


def place_of(session: Session, job: Job) -> int:
    """How many jobs run before a queued one, itself included, if no more come: 1 is the next."""
    ahead = or_(
        JobRow.priority < job.priority,
        and_(JobRow.priority == job.priority, JobRow.created_at < job.created_at),
        and_(JobRow.priority == job.priority, JobRow.created_at == job.created_at, JobRow.id < job.id),
    )
    count = select(func.count()).select_from(JobRow)
    own = 1 + int(
        session.scalar(count.where(JobRow.status == JobStatus.QUEUED, JobRow.tenant == job.tenant, ahead)) or 0
    )
    queued = _queued(session)
    queued.pop(job.tenant, None)
    if not queued:
        return own
    shares = {share.id: share for share in session.scalars(select(TenantRow))}
    clock = _clock(session)

    def turns(tenant: str) -> tuple[float, float]:
        share = shares.get(tenant)
        return (max(clock, share.turn_end), 1 / share.weight) if share else (clock, 1.0)

    began, period = turns(job.tenant)
    mine = began + (own - 1) * period  # the virtual time at which this job's turn starts
    place = own
    for tenant, waiting in queued.items():
        start, step = turns(tenant)
        place += min(waiting, max(0, math.ceil((mine - start) / step - 1e-9)))
    return place


def _clock(session: Session) -> float:
    """The virtual time: where the latest turn started."""
    return float(session.scalar(select(func.max(TenantRow.turn_start))) or 0.0)


def _queued(session: Session) -> dict[str, int]:
    query = select(JobRow.tenant, func.count()).where(JobRow.status == JobStatus.QUEUED).group_by(JobRow.tenant)
    return dict(session.execute(query).all())
