"""Endpoints and deliveries as their tenant manages them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, select

from workers.audit import note
from workers.errors import IllegalTransition, WorkerError
from workers.ids import new_id
from workers.jobs import EventType
from workers.quota import locked_tenant
from workers.tables import WebhookDeliveryRow, WebhookEndpointRow
from workers.webhooks.messages import TEST_EVENT, Delivery, DeliveryStatus, Endpoint
from workers.webhooks.outbox import owe_one
from workers.webhooks.signature import new_secret

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement

    from workers.access import Actor
    from workers.database import Database, Transaction

MAX_ENDPOINTS = 10
ROTATION_OVERLAP_S = 86_400.0
BY_CALLER = "caller"


class EndpointNotKnown(WorkerError):
    """There is no such webhook endpoint."""


class DeliveryNotKnown(WorkerError):
    """There is no such webhook delivery."""


class TooManyEndpoints(WorkerError):
    """The tenant has as many webhook endpoints as it may."""


class WebhookStore:
    """The webhooks of all tenants. Every method raises StoreUnavailable when the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, *, url: str, events: Sequence[EventType], description: str, actor: Actor) -> tuple[Endpoint, str]:
        """Add an endpoint for the actor's tenant; answers it with its secret, which is not shown again.

        Raises: TooManyEndpoints.
        """
        with self._database.write() as transaction:
            locked_tenant(transaction, actor.tenant)  # those who come at once are counted one after the other
            count = select(func.count()).select_from(WebhookEndpointRow)
            if (
                transaction.session.scalar(count.where(WebhookEndpointRow.tenant == actor.tenant)) or 0
            ) >= MAX_ENDPOINTS:
                raise TooManyEndpoints
            secret = new_secret()
            row = WebhookEndpointRow(
                id=new_id("endpoint"),
                tenant=actor.tenant,
                url=url,
                description=description,
                events=[event.value for event in events],
                secrets=[{"secret": secret, "until": None}],
                created_at=transaction.now,
            )
            transaction.session.add(row)
            note(transaction, actor, "webhook.create", row.id)
            return _endpoint_of(row), secret

    def list(self, *, tenant: str) -> Sequence[Endpoint]:
        """The endpoints of a tenant, oldest first."""
        query = select(WebhookEndpointRow).where(WebhookEndpointRow.tenant == tenant)
        order = (WebhookEndpointRow.created_at, WebhookEndpointRow.id)
        with self._database.read() as transaction:
            return [_endpoint_of(row) for row in transaction.session.scalars(query.order_by(*order))]

    def get(self, endpoint_id: str, *, tenant: str) -> Endpoint:
        """One endpoint. Raises: EndpointNotKnown."""
        with self._database.read() as transaction:
            return _endpoint_of(_owned(transaction, endpoint_id, tenant))

    def update(
        self,
        endpoint_id: str,
        *,
        actor: Actor,
        url: str | None = None,
        events: Sequence[EventType] | None = None,
        description: str | None = None,
        is_enabled: bool | None = None,
    ) -> Endpoint:
        """Change what is given; an endpoint that is enabled again starts without its history of failures.

        Raises: EndpointNotKnown.
        """
        with self._database.write() as transaction:
            row = _owned(transaction, endpoint_id, actor.tenant, lock=True)
            row.url = row.url if url is None else url
            row.events = row.events if events is None else [event.value for event in events]
            row.description = row.description if description is None else description
            if is_enabled is False and row.disabled_reason is None:
                disable(transaction, row, BY_CALLER)
            elif is_enabled:
                row.disabled_reason = row.failing_since = None
            note(transaction, actor, "webhook.update", row.id)
            return _endpoint_of(row)

    def delete(self, endpoint_id: str, *, actor: Actor) -> None:
        """Forget an endpoint and everything that was owed to it. Raises: EndpointNotKnown."""
        with self._database.write() as transaction:
            row = _owned(transaction, endpoint_id, actor.tenant, lock=True)
            note(transaction, actor, "webhook.delete", row.id)
            transaction.session.execute(delete(WebhookEndpointRow).where(WebhookEndpointRow.id == row.id))

    def rotate_secret(self, endpoint_id: str, *, actor: Actor) -> tuple[Endpoint, str]:
        """Give an endpoint a new secret; for a day everything is signed with the one before, too.

        Raises: EndpointNotKnown.
        """
        with self._database.write() as transaction:
            row = _owned(transaction, endpoint_id, actor.tenant, lock=True)
            secret = new_secret()
            before = row.secrets[0]["secret"]
            until = transaction.now + ROTATION_OVERLAP_S
            row.secrets = [{"secret": secret, "until": None}, {"secret": before, "until": until}]
            note(transaction, actor, "webhook.rotate_secret", row.id)
            return _endpoint_of(row), secret

    def send_test(self, endpoint_id: str, *, tenant: str) -> Delivery:
        """Owe an endpoint a webhook that tells of nothing. Raises: EndpointNotKnown, IllegalTransition."""
        with self._database.write() as transaction:
            endpoint = _owned(transaction, endpoint_id, tenant, lock=True)
            if endpoint.disabled_reason is not None:
                raise IllegalTransition
            return _delivery_of(owe_one(transaction, endpoint, kind=TEST_EVENT, job_id=None, data={}))

    def deliveries(
        self,
        *,
        tenant: str,
        after: str | None,
        limit: int,
        endpoint_id: str | None = None,
        status: DeliveryStatus | None = None,
    ) -> Sequence[Delivery]:
        """Up to `limit` deliveries of a tenant, newest first, beginning behind `after`.

        Raises: DeliveryNotKnown when there is no delivery `after`.
        """
        query = select(WebhookDeliveryRow).where(WebhookDeliveryRow.tenant == tenant)
        if endpoint_id is not None:
            query = query.where(WebhookDeliveryRow.endpoint_id == endpoint_id)
        if status is not None:
            query = query.where(WebhookDeliveryRow.status == status)
        with self._database.read() as transaction:
            if after is not None:
                query = query.where(WebhookDeliveryRow.id < _delivery(transaction, after, tenant).id)
            rows = transaction.session.scalars(query.order_by(WebhookDeliveryRow.id.desc()).limit(limit))
            return [_delivery_of(row) for row in rows]

    def redeliver(self, delivery_id: str, *, tenant: str) -> Delivery:
        """Owe a delivery once more, under the same id and with a schedule from the beginning.

        Raises: DeliveryNotKnown; IllegalTransition when its endpoint is disabled.
        """
        with self._database.write() as transaction:
            owing = select(WebhookDeliveryRow.endpoint_id).where(WebhookDeliveryRow.id == delivery_id)
            its_own = (WebhookEndpointRow.id.in_(owing), WebhookEndpointRow.tenant == tenant)
            endpoint = locked_endpoint(transaction, *its_own)
            row = _delivery(transaction, delivery_id, tenant, lock=True)
            if endpoint is None or endpoint.disabled_reason is not None:
                raise IllegalTransition
            row.status, row.tries, row.next_at, row.done_at = DeliveryStatus.PENDING, 0, transaction.now, None
            return _delivery_of(row)


def disable(transaction: Transaction, endpoint: WebhookEndpointRow, reason: str) -> None:
    """Send an endpoint nothing more; what is owed to it is given up."""
    endpoint.disabled_reason = reason
    owed = select(WebhookDeliveryRow).where(
        WebhookDeliveryRow.endpoint_id == endpoint.id, WebhookDeliveryRow.status == DeliveryStatus.PENDING
    )
    for row in transaction.session.scalars(owed.with_for_update()):
        row.status, row.done_at, row.error = DeliveryStatus.FAILED, transaction.now, "endpoint_disabled"


def locked_endpoint(transaction: Transaction, *which: ColumnElement[bool]) -> WebhookEndpointRow | None:
    """The endpoint's row, held against other changes. Always taken before rows of its deliveries."""
    query = select(WebhookEndpointRow).where(*which)
    return transaction.session.scalar(query.with_for_update(key_share=True))  # new deliveries may still name it


def _owned(transaction: Transaction, endpoint_id: str, tenant: str, *, lock: bool = False) -> WebhookEndpointRow:
    which = (WebhookEndpointRow.id == endpoint_id, WebhookEndpointRow.tenant == tenant)
    if lock:
        row = locked_endpoint(transaction, *which)
    else:
        row = transaction.session.scalar(select(WebhookEndpointRow).where(*which))
    if row is None:
        raise EndpointNotKnown
    return row


def _delivery(transaction: Transaction, delivery_id: str, tenant: str, *, lock: bool = False) -> WebhookDeliveryRow:
    query = select(WebhookDeliveryRow).where(WebhookDeliveryRow.id == delivery_id, WebhookDeliveryRow.tenant == tenant)
    row = transaction.session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise DeliveryNotKnown
    return row


def _endpoint_of(row: WebhookEndpointRow) -> Endpoint:
    return Endpoint(
        id=row.id,
        tenant=row.tenant,
        url=row.url,
        description=row.description,
        events=tuple(EventType(event) for event in row.events),
        created_at=row.created_at,
        disabled_reason=row.disabled_reason,
        failing_since=row.failing_since,
    )


def _delivery_of(row: WebhookDeliveryRow) -> Delivery:
    is_pending = row.status == DeliveryStatus.PENDING
    shown: dict[str, Any] = {
        name: getattr(row, name) for name in ("id", "endpoint_id", "job_id", "type", "tries", "created_at", "done_at")
    }
    return Delivery(
        **shown,
        status=DeliveryStatus(row.status),
        next_at=row.next_at if is_pending else None,
        reply_status=row.reply_status,
        reply_excerpt=row.reply_excerpt,
        error=row.error,
    )
