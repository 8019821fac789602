"""What can be done with webhooks. Everything here blocks and runs in a thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.errors import Conflict, NotFound, ValidationFailed
from service.webhooks.schemas import (
    NewWebhookEndpoint,
    WebhookDelivery,
    WebhookDeliveryList,
    WebhookEndpoint,
    WebhookEndpointList,
)
from workers.errors import IllegalTransition
from workers.jobs import EventType
from workers.webhooks.address import TargetRefused, TargetUnknown, checked_addresses, parse_target
from workers.webhooks.store import MAX_ENDPOINTS, DeliveryNotKnown, EndpointNotKnown, TooManyEndpoints

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.access.principal import Principal
    from service.settings import ServiceSettings
    from service.webhooks.schemas import EndpointChanges, EndpointFields
    from workers.webhooks.messages import Delivery, DeliveryStatus, Endpoint
    from workers.webhooks.store import WebhookStore


class NoSuchEndpoint(NotFound):
    """There is no such webhook endpoint."""


class NoSuchDelivery(NotFound):
    """There is no such webhook delivery."""


class EndpointDisabled(Conflict):
    """The webhook endpoint is disabled: enable it first."""

    code = "endpoint_disabled"


class NotResolved(ValidationFailed):
    """The name of this host does not resolve."""

    def __init__(self) -> None:
        super().__init__(param="url")


class TooMany(Conflict):
    """There are as many webhook endpoints as may be."""

    code = "too_many_endpoints"


@dataclass(frozen=True, slots=True)
class WebhookService:
    """Operations on one tenant's webhooks."""

    webhooks: WebhookStore
    settings: ServiceSettings
    caller: Principal

    def create(self, fields: EndpointFields) -> NewWebhookEndpoint:
        """Add an endpoint whose URL is checked. Raises: TooMany."""
        try:
            endpoint, secret = self.webhooks.create(
                url=fields.url,
                events=_events(fields.events),
                description=fields.description,
                actor=self.caller.actor,
            )
        except TooManyEndpoints as error:
            raise TooMany(f"There may be at most {MAX_ENDPOINTS} webhook endpoints.") from error
        return NewWebhookEndpoint(**_describe(endpoint).model_dump(), secret=secret)

    def list(self) -> WebhookEndpointList:
        """All endpoints."""
        found = self.webhooks.list(tenant=self.caller.tenant)
        return WebhookEndpointList(data=[_describe(endpoint) for endpoint in found])

    def get(self, endpoint_id: str) -> WebhookEndpoint:
        """One endpoint. Raises: NoSuchEndpoint."""
        try:
            return _describe(self.webhooks.get(endpoint_id, tenant=self.caller.tenant))
        except EndpointNotKnown as error:
            raise NoSuchEndpoint from error

    def update(self, endpoint_id: str, changes: EndpointChanges) -> WebhookEndpoint:
        """Change an endpoint; its URL is checked. Raises: NoSuchEndpoint."""
        try:
            endpoint = self.webhooks.update(
                endpoint_id,
                actor=self.caller.actor,
                url=changes.url,
                events=None if changes.events is None else _events(changes.events),
                description=changes.description,
                is_enabled=changes.enabled,
            )
        except EndpointNotKnown as error:
            raise NoSuchEndpoint from error
        return _describe(endpoint)

    def delete(self, endpoint_id: str) -> None:
        """Forget an endpoint and its deliveries. Raises: NoSuchEndpoint."""
        try:
            self.webhooks.delete(endpoint_id, actor=self.caller.actor)
        except EndpointNotKnown as error:
            raise NoSuchEndpoint from error

    def rotate_secret(self, endpoint_id: str) -> NewWebhookEndpoint:
        """Make a new secret; the one before signs too for a day. Raises: NoSuchEndpoint."""
        try:
            endpoint, secret = self.webhooks.rotate_secret(endpoint_id, actor=self.caller.actor)
        except EndpointNotKnown as error:
            raise NoSuchEndpoint from error
        return NewWebhookEndpoint(**_describe(endpoint).model_dump(), secret=secret)

    def send_test(self, endpoint_id: str) -> WebhookDelivery:
        """Send a webhook that tells of nothing. Raises: NoSuchEndpoint, EndpointDisabled."""
        try:
            return _describe_delivery(self.webhooks.send_test(endpoint_id, tenant=self.caller.tenant))
        except EndpointNotKnown as error:
            raise NoSuchEndpoint from error
        except IllegalTransition as error:
            raise EndpointDisabled from error

    def deliveries(
        self, *, after: str | None, limit: int, endpoint_id: str | None, status: DeliveryStatus | None
    ) -> WebhookDeliveryList:
        """One page of deliveries, newest first. Raises: ValidationFailed when `after` is no delivery."""
        try:
            found = self.webhooks.deliveries(
                tenant=self.caller.tenant, after=after, limit=limit + 1, endpoint_id=endpoint_id, status=status
            )
        except DeliveryNotKnown as error:
            raise ValidationFailed("There is no such delivery.", param="after") from error
        page = [_describe_delivery(delivery) for delivery in found[:limit]]
        return WebhookDeliveryList(
            data=page,
            first_id=page[0].id if page else None,
            last_id=page[-1].id if page else None,
            has_more=len(found) > limit,
        )

    def redeliver(self, delivery_id: str) -> WebhookDelivery:
        """Send a webhook once more. Raises: NoSuchDelivery, EndpointDisabled."""
        try:
            return _describe_delivery(self.webhooks.redeliver(delivery_id, tenant=self.caller.tenant))
        except DeliveryNotKnown as error:
            raise NoSuchDelivery from error
        except IllegalTransition as error:
            raise EndpointDisabled from error

    def check_url(self, url: str) -> None:
        """Refuse now what every try would refuse; each try checks again, because names change their addresses.

        Waits for the nameserver. Raises: ValidationFailed.
        """
        try:
            target = parse_target(url, private_hosts=self.settings.webhook_private_hosts)
        except TargetRefused as error:
            raise ValidationFailed(str(error), param="url") from error
        try:
            checked_addresses(target)
        except TargetRefused as error:
            raise ValidationFailed("This host is not on the public internet.", param="url") from error
        except TargetUnknown as error:
            raise NotResolved from error


def _events(names: Sequence[str]) -> list[EventType]:
    return [EventType(name) for name in dict.fromkeys(names)]


def _describe(endpoint: Endpoint) -> WebhookEndpoint:
    return WebhookEndpoint.model_validate(
        {
            "id": endpoint.id,
            "url": endpoint.url,
            "events": [event.value for event in endpoint.events],
            "description": endpoint.description,
            "enabled": endpoint.disabled_reason is None,
            "disabled_reason": endpoint.disabled_reason,
            "failing_since": _whole(endpoint.failing_since),
            "created_at": int(endpoint.created_at),
        }
    )


def _describe_delivery(delivery: Delivery) -> WebhookDelivery:
    return WebhookDelivery(
        id=delivery.id,
        endpoint_id=delivery.endpoint_id,
        video_id=delivery.job_id,
        type=delivery.type,
        status=delivery.status,
        tries=delivery.tries,
        created_at=int(delivery.created_at),
        next_try_at=_whole(delivery.next_at),
        done_at=_whole(delivery.done_at),
        reply_status=delivery.reply_status,
        reply_excerpt=delivery.reply_excerpt,
        error=delivery.error,
    )


def _whole(moment: float | None) -> int | None:
    return None if moment is None else int(moment)
