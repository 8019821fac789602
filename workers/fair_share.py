"""Whose job is next where several tenants wait: start-time fair queueing, so that nobody's flood delays another.

Each tenant has a clock of virtual time that a turn moves on by `1 / weight`; the tenant that is furthest behind is
next. A tenant that was away begins where the others are: it gets no credit for its absence. Within a tenant the order
is priority, then age. So one tenant's single job waits for one job of each other tenant, however many those have.
"""

from __future__ import annotations

from itertools import accumulate, groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, func, select

from workers.jobs import JobStatus
from workers.quota import count_jobs, limits_of, locked_tenant
from workers.tables import JobRow, TenantRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from workers.access import Limits
    from workers.database import Transaction


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

    def is_full(tenant: str, share: TenantRow | None) -> bool:
        most = limits_of(share, defaults).max_running
        return bool(most) and count_jobs(session, tenant, JobStatus.IN_PROGRESS) >= most

    for tenant in sorted(waiting, key=lag):
        if is_full(tenant, shares.get(tenant)):  # looked at first: claims that hold many tenants could block each other
            continue
        share = locked_tenant(transaction, tenant)
        if is_full(tenant, share):  # counted again while it is held: two claims cannot pass a limit together
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


def queue_order(session: Session, model: str) -> list[str]:
    """Ids of the waiting jobs of a model in the order of their turns, if no more come and each takes as long."""
    query = (
        select(JobRow.tenant, JobRow.created_at, JobRow.id)
        .where(JobRow.status == JobStatus.QUEUED, JobRow.model == model)
        .order_by(JobRow.tenant, JobRow.priority, JobRow.created_at, JobRow.id)
    )
    lines = {tenant: list(rows) for tenant, rows in groupby(session.execute(query), key=itemgetter(0))}
    shares = {row.id: row for row in session.scalars(select(TenantRow).where(TenantRow.id.in_(lines)))}
    clock = _clock(session)
    turns = []
    for tenant, line in lines.items():
        share = shares.get(tenant)
        start, period = (max(clock, share.turn_end), 1 / share.weight) if share else (clock, 1.0)
        waits_since = list(accumulate((created_at for _, created_at, _ in reversed(line)), min))[::-1]
        for number, (_, _, job_id) in enumerate(line):
            turns.append((start, waits_since[number], tenant, number, job_id))
            start += period  # added up as claims do, or rounding would break ties another way
    return [job_id for *_, job_id in sorted(turns)]


def _clock(session: Session) -> float:
    """The virtual time: where the latest turn started."""
    return float(session.scalar(select(func.max(TenantRow.turn_start))) or 0.0)
