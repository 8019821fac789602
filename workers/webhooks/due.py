"""Deliveries as a dispatcher takes and settles them; any number of dispatchers may do so at once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import delete, select

from workers.jobs import NO_ORIGIN
from workers.records import origin_of
from workers.tables import JobRow, WebhookDeliveryRow, WebhookEndpointRow
from workers.webhooks.messages import DeliveryStatus, DueDelivery
from workers.webhooks.store import disable, locked_endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import ColumnElement

    from workers.database import Database, Transaction
    from workers.webhooks.sending import Reply

logger = structlog.get_logger(__name__)

HOLD_S = 120.0  # longer than any try takes: then the taker has died, and another one may try
TRY_DELAYS_S = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)  # about three days
MAX_TRIES = len(TRY_DELAYS_S) + 1
DISABLE_AFTER_S = 3 * 86_400.0
LONGEST_WISH_S = 86_400.0
GONE = 410
PER_ENDPOINT = 2  # tries at once
LOOK_AHEAD = 200


class DueDeliveries:
    """What is due now. Every method raises StoreUnavailable when the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, *, limit: int, busy: Mapping[str, int]) -> Sequence[DueDelivery]:
        """Take up to `limit` due deliveries for a try; until it is settled, or `HOLD_S` are over, no one else does.

        `busy` counts the tries under way by endpoint: a slow one never holds more than its share.
        """
        with self._database.read() as transaction:  # most looks find nothing: they should not take the write lock
            found = transaction.session.execute(
                select(WebhookDeliveryRow.id, WebhookDeliveryRow.endpoint_id)
                .where(*_due(transaction.now))
                .where(WebhookDeliveryRow.endpoint_id.not_in([id_ for id_, n in busy.items() if n >= PER_ENDPOINT]))
                .order_by(WebhookDeliveryRow.next_at, WebhookDeliveryRow.id)
                .limit(LOOK_AHEAD)
            ).all()
        tries = Counter(busy)
        chosen: list[str] = []
        for delivery_id, endpoint_id in found:
            if len(chosen) < limit and tries[endpoint_id] < PER_ENDPOINT:
                tries[endpoint_id] += 1
                chosen.append(delivery_id)
        if not chosen:
            return []
        with self._database.write() as transaction:
            query = select(WebhookDeliveryRow).where(WebhookDeliveryRow.id.in_(chosen), *_due(transaction.now))
            rows = transaction.session.scalars(query.order_by(WebhookDeliveryRow.id).with_for_update(skip_locked=True))
            taken = [_taken(transaction, row) for row in rows.all()]
            return [due for due in taken if due is not None]

    def settle(self, due: DueDelivery, *, reply: Reply | None, error: str | None, jitter: float) -> None:
        """Note how a try went, and when the next one is due; `jitter` stretches that wait.

        Nothing happens if the delivery has been taken again meanwhile: the later try counts.
        """
        with self._database.write() as transaction:
            endpoint = locked_endpoint(transaction, WebhookEndpointRow.id == due.endpoint_id)
            row = transaction.session.scalar(
                select(WebhookDeliveryRow)
                .where(
                    WebhookDeliveryRow.id == due.id,
                    WebhookDeliveryRow.tries == due.try_number,
                    WebhookDeliveryRow.status == DeliveryStatus.PENDING,
                )
                .with_for_update()
            )
            if endpoint is None or row is None:
                return
            row.reply_status = reply.status if reply else None
            row.reply_excerpt = reply.excerpt if reply else None
            row.error = error
            if reply is not None and reply.is_success:
                row.status, row.done_at = DeliveryStatus.DELIVERED, transaction.now
                endpoint.failing_since = None
                return
            _note_failure(transaction, row, endpoint, reply=reply, jitter=jitter)

    def forget_settled(self, *, after_s: float) -> None:
        """Drop the deliveries that were settled at least `after_s` seconds ago."""
        with self._database.write() as transaction:
            old = WebhookDeliveryRow.done_at <= transaction.now - after_s
            transaction.session.execute(delete(WebhookDeliveryRow).where(old))


def _due(now: float) -> tuple[ColumnElement[bool], ...]:
    return (WebhookDeliveryRow.status == DeliveryStatus.PENDING, WebhookDeliveryRow.next_at <= now)


def _taken(transaction: Transaction, row: WebhookDeliveryRow) -> DueDelivery | None:
    """One delivery to try now; None for one that is given up, as its endpoint was disabled while it was written."""
    endpoint = transaction.session.get_one(WebhookEndpointRow, row.endpoint_id)
    if endpoint.disabled_reason is not None:
        row.status, row.done_at, row.error = DeliveryStatus.FAILED, transaction.now, "endpoint_disabled"
        return None
    row.tries += 1
    row.next_at = transaction.now + HOLD_S
    job = transaction.session.get(JobRow, row.job_id) if row.job_id is not None else None  # None: it was deleted since
    valid = [entry for entry in endpoint.secrets if entry["until"] is None or entry["until"] > transaction.now]
    return DueDelivery(
        id=row.id,
        endpoint_id=endpoint.id,
        job_id=row.job_id,
        url=endpoint.url,
        secrets=tuple(entry["secret"] for entry in valid),
        body=row.body.encode(),
        try_number=row.tries,
        at=transaction.now,
        origin=origin_of(job) if job is not None else NO_ORIGIN,
    )


def _note_failure(
    transaction: Transaction,
    row: WebhookDeliveryRow,
    endpoint: WebhookEndpointRow,
    *,
    reply: Reply | None,
    jitter: float,
) -> None:
    """Plan the next try, give the delivery up, or give its endpoint up."""
    now = transaction.now
    if endpoint.failing_since is None:
        endpoint.failing_since = now
    if row.tries >= MAX_TRIES:
        row.status, row.done_at = DeliveryStatus.FAILED, now
    else:
        wish_s = min(reply.retry_after_s or 0.0, LONGEST_WISH_S) if reply else 0.0
        row.next_at = now + max(TRY_DELAYS_S[row.tries - 1] * jitter, wish_s)
    is_gone = reply is not None and reply.status == GONE
    if endpoint.disabled_reason is None and (is_gone or now - endpoint.failing_since >= DISABLE_AFTER_S):
        reason = "gone" if is_gone else "failing"
        disable(transaction, endpoint, reason)
        logger.warning("webhook_endpoint_disabled", endpoint_id=endpoint.id, reason=reason)
