"""What is owed: webhooks are written in the transaction of the change that they tell of; none is lost or invented."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from workers.ids import new_id
from workers.jobs import EventType
from workers.tables import JobRow, WebhookDeliveryRow, WebhookEndpointRow
from workers.webhooks.messages import WEBHOOK_EVENTS, DeliveryStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.database import Transaction


def owe(transaction: Transaction, row: JobRow, kind: EventType) -> None:
    """Owe a job's change to every endpoint of its tenant that wants to hear of it.

    Each kind is owed once for a job: a later attempt's start is news to nobody.
    """
    if kind not in WEBHOOK_EVENTS or (kind is EventType.STARTED and row.fence != 1):
        return
    wanted = select(WebhookEndpointRow).where(
        WebhookEndpointRow.tenant == row.tenant, WebhookEndpointRow.disabled_reason.is_(None)
    )
    # Held against deletion until the job's own change is committed: no endpoint may break a job's transaction.
    wanted = wanted.order_by(WebhookEndpointRow.id).with_for_update(read=True, key_share=True)
    for endpoint in transaction.session.scalars(wanted).all():
        if kind in endpoint.events:
            error = {"code": row.failure_code, "message": row.failure_message} if row.failure_code else None
            data = {"id": row.id, "status": row.status, "seq": row.seq, "error": error}
            owe_one(transaction, endpoint, kind=kind, job_id=row.id, data=data)


def owe_one(
    transaction: Transaction, endpoint: WebhookEndpointRow, *, kind: str, job_id: str | None, data: Mapping[str, Any]
) -> WebhookDeliveryRow:
    """Write one delivery. Its body is kept as the bytes that every try sends, because they are what is signed."""
    moment = datetime.fromtimestamp(transaction.now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    delivery = WebhookDeliveryRow(
        id=new_id("delivery"),
        tenant=endpoint.tenant,
        endpoint_id=endpoint.id,
        job_id=job_id,
        type=kind,
        body=json.dumps({"type": kind, "timestamp": moment, "data": data}, separators=(",", ":")),
        status=DeliveryStatus.PENDING,
        tries=0,
        next_at=transaction.now,
        created_at=transaction.now,
    )
    transaction.session.add(delivery)
    return delivery
