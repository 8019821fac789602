"""The words of webhooks: endpoints, deliveries, and what is due."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from workers.jobs import EventType, Origin

WEBHOOK_EVENTS = (EventType.STARTED, EventType.COMPLETED, EventType.FAILED, EventType.CANCELLED)
TEST_EVENT = "webhook.test"


class DeliveryStatus(StrEnum):
    """Where a delivery is."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"  # given up; it can still be sent again by hand


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address that is told of its tenant's videos. Times are unix seconds.

    disabled_reason: `caller`, `gone` (it answered 410) or `failing`; None while webhooks are sent.
    failing_since: the first failure since the last success.
    """

    id: str
    tenant: str
    url: str
    description: str
    events: tuple[EventType, ...]
    created_at: float
    disabled_reason: str | None = None
    failing_since: float | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One webhook for one endpoint; its id is the `webhook-id` of every try."""

    id: str
    endpoint_id: str
    job_id: str | None
    type: str
    status: DeliveryStatus
    tries: int
    created_at: float
    next_at: float | None
    done_at: float | None
    reply_status: int | None
    reply_excerpt: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class DueDelivery:
    """A delivery that a dispatcher has taken: what to send where, and the number and time of this try."""

    id: str
    endpoint_id: str
    job_id: str | None
    url: str
    secrets: tuple[str, ...]
    body: bytes
    try_number: int
    at: float
    origin: Origin
