"""An installation in numbers, as its database knows them: for metrics, for operators, and for whoever waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, or_, select

from workers.jobs import JobStatus
from workers.roster import RECONCILING, SHOWN_S, WorkerState, state_of
from workers.tables import ApiKeyRow, JobRow, LeaderRow, WebhookDeliveryRow, WebhookEndpointRow, WorkerRow
from workers.webhooks.messages import DeliveryStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.orm import Session

    from workers.database import Database

KEY_WARNING_S = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Census:
    """Numbers of one moment. Ages are seconds by the database's clock, 0 where nothing waits.

    at: the database's time, unix seconds.
    jobs: rows by status, those of the last days that have ended included.
    oldest_waiting_s: how long the job has waited that could have been claimed first.
    leases_overdue: running jobs whose worker went silent and that nobody has put back yet.
    workers: those heard of lately, by state.
    deliveries_pending, deliveries_overdue_s: webhooks that are owed, and how long the first is due.
    endpoints_disabled: webhook endpoints that nothing is sent to, those that their tenant disabled left out.
    reconciler_until: until when a reconciler has its duty, unix seconds; 0 when none ever had.
    keys_active, keys_expiring: API keys that open something, and those of them that end within a week.
    """

    at: float
    jobs: Mapping[JobStatus, int]
    oldest_waiting_s: float
    leases_overdue: int
    workers: Mapping[WorkerState, int]
    deliveries_pending: int
    deliveries_overdue_s: float
    endpoints_disabled: int
    reconciler_until: float
    keys_active: int
    keys_expiring: int

    @property
    def workers_at_work(self) -> int:
        """Workers that take jobs."""
        return self.workers[WorkerState.READY] + self.workers[WorkerState.BUSY]


def take_census(database: Database) -> Census:
    """Count everything, in one transaction that only reads.

    Raises: StoreUnavailable.
    """
    with database.read() as transaction:
        session, now = transaction.session, transaction.now
        counts = dict(session.execute(select(JobRow.status, func.count()).group_by(JobRow.status)).all())
        oldest = select(func.min(JobRow.created_at)).where(
            JobRow.status == JobStatus.QUEUED, JobRow.cancel_requested_at.is_(None), JobRow.not_before <= now
        )
        overdue = (JobRow.status == JobStatus.IN_PROGRESS, JobRow.lease_until < now)
        pending, due_at = _deliveries(session)
        return Census(
            at=now,
            jobs={status: counts.get(status.value, 0) for status in JobStatus},
            oldest_waiting_s=_age(session.scalar(oldest), now),
            leases_overdue=session.scalar(select(func.count()).select_from(JobRow).where(*overdue)) or 0,
            workers=_workers(session, now),
            deliveries_pending=pending,
            deliveries_overdue_s=_age(due_at, now),
            endpoints_disabled=_endpoints_disabled(session),
            reconciler_until=session.scalar(select(LeaderRow.until).where(LeaderRow.duty == RECONCILING)) or 0.0,
            keys_active=_keys(session, until=now),
            keys_expiring=_keys(session, until=now) - _keys(session, until=now + KEY_WARNING_S),
        )


def _age(since: float | None, now: float) -> float:
    return 0.0 if since is None else max(0.0, now - since)


def _workers(session: Session, now: float) -> Mapping[WorkerState, int]:
    counts = dict.fromkeys(WorkerState, 0)
    heard = select(WorkerRow.state, WorkerRow.beat_at).where(WorkerRow.beat_at >= now - SHOWN_S)
    for state, beat_at in session.execute(heard):
        counts[state_of(state, beat_at=beat_at, now=now)] += 1
    return counts


def _deliveries(session: Session) -> tuple[int, float | None]:
    owed = select(func.count(), func.min(WebhookDeliveryRow.next_at)).where(
        WebhookDeliveryRow.status == DeliveryStatus.PENDING
    )
    pending, due_at = session.execute(owed).one()
    return pending, due_at


def _endpoints_disabled(session: Session) -> int:
    """Disabled by us."""
    disabled = WebhookEndpointRow.disabled_reason.in_(("gone", "failing"))
    return session.scalar(select(func.count()).select_from(WebhookEndpointRow).where(disabled)) or 0


def _keys(session: Session, *, until: float) -> int:
    """How many keys open something until a time."""
    lasting = or_(ApiKeyRow.expires_at.is_(None), ApiKeyRow.expires_at > until)
    return (
        session.scalar(select(func.count()).select_from(ApiKeyRow).where(lasting, ApiKeyRow.revoked_at.is_(None))) or 0
    )
