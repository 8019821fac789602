"""The public shape of webhook endpoints and deliveries. Times are unix seconds."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.forms import NO_NUL
from workers.webhooks.address import MAX_URL
from workers.webhooks.messages import DeliveryStatus

Event = Literal["video.started", "video.completed", "video.failed", "video.cancelled"]
ALL_EVENTS: tuple[Event, ...] = ("video.started", "video.completed", "video.failed", "video.cancelled")
Url = Annotated[str, Field(min_length=1, max_length=MAX_URL, description="https, on the public internet.")]
Events = Annotated[list[Event], Field(min_length=1, max_length=len(ALL_EVENTS))]
Description = Annotated[str, Field(max_length=200), NO_NUL]


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class EndpointFields(_Request):
    """A new endpoint."""

    url: Url = Field(examples=["https://example.com/keyvid"])
    events: Events = Field(
        list(ALL_EVENTS), description="What it wants to hear of.", examples=[["video.completed", "video.failed"]]
    )
    description: Description = Field("", description="What it is, for people.", examples=["the shop's server"])


class EndpointChanges(_Request):
    """What to change about an endpoint; what is absent stays."""

    url: Url | None = Field(None, examples=["https://example.com/keyvid"])
    events: Events | None = Field(None, description="What it wants to hear of.", examples=[["video.completed"]])
    description: Description | None = Field(None, description="What it is, for people.", examples=["the shop's server"])
    enabled: bool | None = Field(None, description="`true` also ends a disabling by failures.", examples=[True])


class WebhookEndpoint(_Answer):
    """One address that is told of the caller's videos."""

    id: str = Field(description="Its id.", examples=["endpoint_01m88svcp4ezcvdpnpynbpjcnx"])
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    url: str = Field(description="The address.", examples=["https://example.com/keyvid"])
    events: list[Event] = Field(description="What it hears of.", examples=[["video.completed", "video.failed"]])
    description: str = Field(description="What it is, for people.", examples=["the shop's server"])
    enabled: bool = Field(description="Whether anything is sent to it.")
    disabled_reason: str | None = Field(
        None, description="`caller`, `gone` (it answered 410), or `failing` (for three days).", examples=["gone"]
    )
    failing_since: int | None = Field(
        None, description="The first failure since the last success, in unix seconds.", examples=[1_795_478_400]
    )
    created_at: int = Field(description="When it was made, in unix seconds.", examples=[1_795_478_400])


class NewWebhookEndpoint(WebhookEndpoint):
    """An endpoint with its new secret, which is not shown again."""

    secret: str = Field(
        description="`whsec_` and 32 bytes in base64: the key of the signatures.",
        examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )


class WebhookEndpointList(_Answer):
    """All endpoints of the caller."""

    object: Literal["list"] = "list"
    data: list[WebhookEndpoint]


class WebhookEndpointDeleted(_Answer):
    """An endpoint that is gone."""

    id: str = Field(description="The id that the endpoint had.", examples=["endpoint_01m88svcp4ezcvdpnpynbpjcnx"])
    object: Literal["webhook_endpoint.deleted"] = "webhook_endpoint.deleted"
    deleted: bool = True


class WebhookDelivery(_Answer):
    """One webhook for one endpoint; its id is the `webhook-id` of every try."""

    id: str = Field(
        description="Its id, which every try carries as `webhook-id`.", examples=["delivery_01m88svcp4ezcvdpnpynbpjcnx"]
    )
    object: Literal["webhook_delivery"] = "webhook_delivery"
    endpoint_id: str = Field(description="Whom it is for.", examples=["endpoint_01m88svcp4ezcvdpnpynbpjcnx"])
    video_id: str | None = Field(
        description="The video it tells of; null for a test.", examples=["video_01m88svcp4ezcvdpnpynbpjcnx"]
    )
    type: str = Field(description="What it tells.", examples=["video.completed"])
    status: DeliveryStatus = Field(description="What became of it.")
    tries: int = Field(description="How often it was sent.", examples=[1])
    created_at: int = Field(description="When there was something to tell, in unix seconds.", examples=[1_795_478_400])
    next_try_at: int | None = Field(
        None, description="When it is sent next, in unix seconds.", examples=[1_795_478_700]
    )
    done_at: int | None = Field(
        None, description="When it was delivered or given up, in unix seconds.", examples=[1_795_478_401]
    )
    reply_status: int | None = Field(None, description="HTTP status of the last try.", examples=[200])
    reply_excerpt: str | None = Field(None, description="The beginning of its body.", examples=["ok"])
    error: str | None = Field(
        None,
        description="What was wrong with the last try: `bad_status`, `timeout`, `connection_failed`, `tls_failed`,"
        " `host_unknown`, `address_refused` or `endpoint_disabled`.",
        examples=["timeout"],
    )


class WebhookDeliveryList(_Answer):
    """One page of deliveries; `last_id` is the next page's `after`."""

    object: Literal["list"] = "list"
    data: list[WebhookDelivery]
    first_id: str | None
    last_id: str | None
    has_more: bool
