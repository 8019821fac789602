"""/v1/webhook-endpoints and /v1/webhook-deliveries."""

from typing import Annotated

import anyio
from fastapi import APIRouter, Depends, Path, Query, Response
from starlette.concurrency import run_in_threadpool

from service.access.guard import GUARD_WEBHOOKS
from service.dependencies import Resources, ResourcesDep, WebhooksDep
from service.openapi import headers, problems
from service.webhooks.schemas import (
    EndpointChanges,
    EndpointFields,
    NewWebhookEndpoint,
    WebhookDelivery,
    WebhookDeliveryList,
    WebhookEndpoint,
    WebhookEndpointDeleted,
    WebhookEndpointList,
)
from service.webhooks.service import NotResolved, WebhookService
from workers.webhooks.messages import DeliveryStatus

endpoints = APIRouter(prefix="/v1/webhook-endpoints", tags=["webhooks"], dependencies=[Depends(GUARD_WEBHOOKS)])
deliveries = APIRouter(prefix="/v1/webhook-deliveries", tags=["webhooks"], dependencies=[Depends(GUARD_WEBHOOKS)])

Id = Annotated[str, Path(max_length=64)]
RESOLVE_S = 5.0


async def _check_url(url: str, webhooks: WebhookService, resources: Resources) -> None:
    """Raises: ValidationFailed; NotResolved too when the nameserver has not answered in time."""
    try:
        with anyio.fail_after(RESOLVE_S):
            await anyio.to_thread.run_sync(
                webhooks.check_url, url, limiter=resources.resolving_limiter, abandon_on_cancel=True
            )
    except TimeoutError as error:
        raise NotResolved from error


@endpoints.post(
    "",
    operation_id="createWebhookEndpoint",
    status_code=201,
    responses={201: headers("Location"), **problems(409, 422, 503)},
)
async def create_endpoint(
    fields: EndpointFields, response: Response, webhooks: WebhooksDep, resources: ResourcesDep
) -> NewWebhookEndpoint:
    """Have an address of your own told of your videos; keep the secret, it is not shown again."""
    await _check_url(fields.url, webhooks, resources)
    endpoint = await run_in_threadpool(webhooks.create, fields)
    response.headers["Location"] = f"/v1/webhook-endpoints/{endpoint.id}"
    return endpoint


@endpoints.get("", operation_id="listWebhookEndpoints", responses=problems(503))
def list_endpoints(webhooks: WebhooksDep) -> WebhookEndpointList:
    """List all endpoints."""
    return webhooks.list()


@endpoints.get("/{endpoint_id}", operation_id="getWebhookEndpoint", responses=problems(404, 503))
def get_endpoint(endpoint_id: Id, webhooks: WebhooksDep) -> WebhookEndpoint:
    """Describe one endpoint, and how it has been doing."""
    return webhooks.get(endpoint_id)


@endpoints.patch("/{endpoint_id}", operation_id="updateWebhookEndpoint", responses=problems(404, 422, 503))
async def update_endpoint(
    endpoint_id: Id, changes: EndpointChanges, webhooks: WebhooksDep, resources: ResourcesDep
) -> WebhookEndpoint:
    """Change an endpoint, or enable or disable it; what is owed to a disabled one is given up."""
    if changes.url is not None:
        await _check_url(changes.url, webhooks, resources)
    return await run_in_threadpool(webhooks.update, endpoint_id, changes)


@endpoints.delete("/{endpoint_id}", operation_id="deleteWebhookEndpoint", responses=problems(404, 503))
def delete_endpoint(endpoint_id: Id, webhooks: WebhooksDep) -> WebhookEndpointDeleted:
    """Forget an endpoint, with what was sent to it and what is owed."""
    webhooks.delete(endpoint_id)
    return WebhookEndpointDeleted(id=endpoint_id)


@endpoints.post(
    "/{endpoint_id}/rotate-secret", operation_id="rotateWebhookSecret", status_code=201, responses=problems(404, 503)
)
def rotate_secret(endpoint_id: Id, webhooks: WebhooksDep) -> NewWebhookEndpoint:
    """Make a new secret; for a day webhooks are signed with the one before, too."""
    return webhooks.rotate_secret(endpoint_id)


@endpoints.post(
    "/{endpoint_id}/test", operation_id="testWebhookEndpoint", status_code=202, responses=problems(404, 409, 503)
)
def test_endpoint(endpoint_id: Id, webhooks: WebhooksDep) -> WebhookDelivery:
    """Send a `webhook.test`, which tells of nothing."""
    return webhooks.send_test(endpoint_id)


@deliveries.get("", operation_id="listWebhookDeliveries", responses=problems(422, 503))
def list_deliveries(
    webhooks: WebhooksDep,
    after: Annotated[str | None, Query(max_length=64, description="Id of the last one of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    endpoint_id: Annotated[str | None, Query(max_length=64, description="Only those for this endpoint.")] = None,
    status: Annotated[DeliveryStatus | None, Query(description="Only those of this status.")] = None,
) -> WebhookDeliveryList:
    """List what was sent in the last thirty days and what is owed, newest first."""
    return webhooks.deliveries(after=after, limit=limit, endpoint_id=endpoint_id, status=status)


@deliveries.post(
    "/{delivery_id}/redeliver", operation_id="redeliverWebhook", status_code=202, responses=problems(404, 409, 503)
)
def redeliver(delivery_id: Id, webhooks: WebhooksDep) -> WebhookDelivery:
    """Send a webhook once more, under the same id; failures are tried again as if it were new."""
    return webhooks.redeliver(delivery_id)
