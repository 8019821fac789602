"""The public shape of webhook endpoints and deliveries. Times are unix seconds."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from workers.webhooks.address import MAX_URL
from workers.webhooks.messages import DeliveryStatus

Event = Literal["video.started", "video.completed", "video.failed", "video.cancelled"]
ALL_EVENTS: tuple[Event, ...] = ("video.started", "video.completed", "video.failed", "video.cancelled")
Url = Annotated[str, Field(min_length=1, max_length=MAX_URL, description="https, on the public internet.")]
Events = Annotated[list[Event], Field(min_length=1, max_length=len(ALL_EVENTS))]
Description = Annotated[str, Field(max_length=200)]


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class EndpointFields(_Request):
    """A new endpoint."""

    url: Url
    events: Events = Field(list(ALL_EVENTS), description="What it wants to hear of.")
    description: Description = ""


class EndpointChanges(_Request):
    """What to change about an endpoint; what is absent stays."""

    url: Url | None = None
    events: Events | None = None
    description: Description | None = None
    enabled: bool | None = Field(None, description="`true` also ends a disabling by failures.")


class WebhookEndpoint(_Answer):
    """One address that is told of the caller's videos."""

    id: str
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    url: str
    events: list[Event]
    description: str
    enabled: bool
    disabled_reason: str | None = Field(
        None, description="`caller`, `gone` (it answered 410), or `failing` (for three days)."
    )
    failing_since: int | None = Field(None, description="The first failure since the last success.")
    created_at: int


class NewWebhookEndpoint(WebhookEndpoint):
    """An endpoint with its new secret, which is not shown again."""

    secret: str = Field(description="`whsec_` and 32 bytes in base64: the key of the signatures.")


class WebhookEndpointList(_Answer):
    """All endpoints of the caller."""

    object: Literal["list"] = "list"
    data: list[WebhookEndpoint]


class WebhookEndpointDeleted(_Answer):
    """An endpoint that is gone."""

    id: str
    object: Literal["webhook_endpoint.deleted"] = "webhook_endpoint.deleted"
    deleted: bool = True


class WebhookDelivery(_Answer):
    """One webhook for one endpoint; its id is the `webhook-id` of every try."""

    id: str
    object: Literal["webhook_delivery"] = "webhook_delivery"
    endpoint_id: str
    video_id: str | None
    type: str
    status: DeliveryStatus
    tries: int
    created_at: int
    next_try_at: int | None = None
    done_at: int | None = None
    reply_status: int | None = Field(None, description="HTTP status of the last try.")
    reply_excerpt: str | None = Field(None, description="The beginning of its body.")
    error: str | None = Field(
        None,
        description="What was wrong with the last try: `bad_status`, `timeout`, `connection_failed`, `tls_failed`,"
        " `host_unknown`, `address_refused` or `endpoint_disabled`.",
    )


class WebhookDeliveryList(_Answer):
    """One page of deliveries; `last_id` is the next page's `after`."""

    object: Literal["list"] = "list"
    data: list[WebhookDelivery]
    first_id: str | None
    last_id: str | None
    has_more: bool
