"""The public shape of what operators see. Times are unix seconds; 0 as a limit means that there is none."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.forms import NO_NUL
from workers.access import MOST_OF_A_LIMIT, USUAL_SCOPES, Scope
from workers.roster import WorkerState

TenantName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Amount = Annotated[int, Field(ge=0, le=MOST_OF_A_LIMIT)]
YEAR_S = 366 * 86_400


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Worker(_Answer):
    """One worker process, as it last said."""

    id: str = Field(description="Its id.", examples=["worker-1:4711"])
    host: str = Field(description="The machine it runs on.", examples=["worker-1"])
    pid: int = Field(description="Its process.", examples=[4711])
    state: WorkerState = Field(description="What it does.")
    job_id: str | None = Field(None, description="The video it makes.", examples=["video_01m88svcp4ezcvdpnpynbpjcnx"])
    engine: dict[str, Any] = Field(
        description="What its runner has loaded.", examples=[{"model": "keyvid-mini", "device": "cpu"}]
    )
    started_at: float = Field(description="When it started, in unix seconds.", examples=[1_795_478_400.0])
    beat_at: float = Field(description="When it was last heard of, in unix seconds.", examples=[1_795_478_400.0])
    drain_requested_at: float | None = Field(
        None, description="Since when it is asked to take no more jobs, in unix seconds.", examples=[1_795_478_400.0]
    )


class WorkerList(_Answer):
    """The workers that were heard of lately."""

    object: Literal["list"] = "list"
    data: list[Worker]


class Installation(_Answer):
    """The whole installation in numbers; `keyvid doctor --url` reads them."""

    object: Literal["installation"] = Field("installation", description="What this is.")
    version: str = Field(description="Of this server.", examples=["0.1.0"])
    auth: Literal["auto", "required", "gateway"] = Field(description="Who needs a key.")
    database_revision: str | None = Field(description="Which tables the database has.", examples=["0004"])
    known_revision: str = Field(description="Which tables this server was made for.", examples=["0004"])
    migrations: Literal["current", "behind", "ahead"] = Field(description="How the database is to this server.")
    clock_offset_s: float = Field(
        description="How far this server's clock is ahead of the database's, in seconds.", examples=[0.02]
    )
    jobs: dict[str, int] = Field(
        description="Videos by status, those that have ended and are still kept included.", examples=[{"queued": 2}]
    )
    oldest_waiting_s: float = Field(
        description="For how many seconds the first video has waited that could be begun.", examples=[3.1]
    )
    leases_overdue: int = Field(
        description="Running videos whose worker went silent and that nobody has put back yet.", examples=[0]
    )
    workers: dict[str, int] = Field(
        description="Workers that were heard of in the last two minutes, by state.", examples=[{"READY": 1}]
    )
    reconciler_left_s: float = Field(
        description="For how many seconds a reconciler still leads; none does where it is not above 0.", examples=[6.9]
    )
    listener: Literal["ready", "no_localizer", "unavailable", "away"] = Field(
        description="Whether sounds are heard for localizations: `no_localizer` where the model has none, `unavailable`"
        " while too many wait, `away` where nobody answers.",
        examples=["ready"],
    )
    deliveries_pending: int = Field(description="Webhooks that are owed.", examples=[0])
    deliveries_overdue_s: float = Field(description="For how many seconds the first of them is due.", examples=[0.0])
    endpoints_disabled: int = Field(
        description="Webhook endpoints that were given up as failing or gone.", examples=[0]
    )
    keys_active: int = Field(description="API keys that open something.", examples=[4])
    keys_expiring: int = Field(description="Those of them that end within a week.", examples=[0])


class DeadJob(_Answer):
    """A video that failed, with what an operator needs to find out why."""

    id: str = Field(description="The video's id.", examples=["video_01m88svcp4ezcvdpnpynbpjcnx"])
    tenant: str = Field(description="Whose it was.", examples=["default"])
    model: str = Field(description="Name of the model.", examples=["keyvid-mini"])
    created_at: float = Field(description="When it was accepted, in unix seconds.", examples=[1_795_478_400.0])
    failed_at: float | None = Field(None, description="When it failed, in unix seconds.", examples=[1_795_478_420.0])
    code: str = Field(description="Why, for programs.", examples=["worker_crashed"])
    message: str = Field(description="Why, for people.", examples=["The worker ended while it made this video."])
    attempt: int = Field(description="How often it was tried.", examples=[3])
    image_sha256: str = Field(
        description="SHA-256 of the picture as it was sent.",
        examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
    )
    audio_sha256: str = Field(
        description="SHA-256 of the sound as it was sent.",
        examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
    )
    seed: int = Field(description="Its seed.", examples=[7])


class DeadJobList(_Answer):
    """One page of failed videos, latest first; `last_id` is the next page's `after`."""

    object: Literal["list"] = "list"
    data: list[DeadJob]
    last_id: str | None = None
    has_more: bool


class QuarantinedInput(_Answer):
    """An input that is refused: the SHA-256 of a file, or of a picture and a sound together."""

    digest: str = Field(
        description="SHA-256, in hex.", examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]
    )
    reason: str = Field(description="Why it is refused.", examples=["It ended three workers."])
    job_id: str | None = Field(
        None, description="The video that brought it here.", examples=["video_01m88svcp4ezcvdpnpynbpjcnx"]
    )
    at: float = Field(description="Since when, in unix seconds.", examples=[1_795_478_400.0])


class QuarantineList(_Answer):
    """Every refused input, newest first."""

    object: Literal["list"] = "list"
    data: list[QuarantinedInput]


class QuarantineFields(_Request):
    """Which file to refuse, and why."""

    digest: Digest = Field(
        description="SHA-256 of the file as its caller sent it: `input.image.sha256` of a video.",
        examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
    )
    reason: Annotated[str, Field(min_length=1, max_length=500), NO_NUL] = Field(
        description="Why, for people.", examples=["It ended three workers."]
    )


class InputReleased(_Answer):
    """An input that is accepted again."""

    digest: str = Field(
        description="SHA-256 of the input that is accepted again.",
        examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
    )
    deleted: bool = True


class AuditEntry(_Answer):
    """One deed: who did what to what."""

    row: int = Field(description="Its number; later entries have higher ones.", examples=[41])
    at: float = Field(description="When, in unix seconds.", examples=[1_795_478_400.0])
    tenant: str = Field(description="Whose things it was done to.", examples=["default"])
    actor: str = Field(
        description="Id of the key, `operator` at the command line, or `anonymous`.", examples=["key_01m88svcp4"]
    )
    action: str = Field(description="What was done.", examples=["video.delete"])
    target: str = Field(description="What it was done to.", examples=["video_01m88svcp4ezcvdpnpynbpjcnx"])
    detail: dict[str, Any] = Field(description="What else there is to say.", examples=[{}])
    request_id: str | None = Field(None, description="The request that did it.", examples=["8d3c1f"])


class AuditList(_Answer):
    """One page of the audit log, newest first; `last_row` is the next page's `before`."""

    object: Literal["list"] = "list"
    data: list[AuditEntry]
    last_row: int | None = Field(None, description="The next page's `before`.", examples=[1])


class ApiKey(_Answer):
    """One API key without its secret."""

    id: str = Field(description="Its id.", examples=["key_01m88svcp4ezcvdpnpynbpjcnx"])
    object: Literal["api_key"] = "api_key"
    tenant: str = Field(description="Whom it belongs to.", examples=["default"])
    name: str = Field(description="What it is, for people.", examples=["shop"])
    prefix: str = Field(description="How its secret begins.", examples=["kv_live_8f2a"])
    last4: str = Field(description="How its secret ends.", examples=["x9Qw"])
    scopes: list[Scope] = Field(description="What it may be used for.", examples=[["videos:read", "videos:write"]])
    requests_per_minute: int | None = Field(
        None, description="Its own limit; null means the tenant's, 0 none.", examples=[600]
    )
    created_at: float = Field(description="When it was made, in unix seconds.", examples=[1_795_478_400.0])
    expires_at: float | None = Field(None, description="When it ends, in unix seconds.", examples=[1_795_564_800.0])
    revoked_at: float | None = Field(
        None, description="When it was ended, in unix seconds.", examples=[1_795_478_400.0]
    )
    used_at: float | None = Field(
        None, description="When it was last used, in unix seconds.", examples=[1_795_478_400.0]
    )
    replaced_by: str | None = Field(
        None, description="Id of the key that replaces it.", examples=["key_01m88svcp4ezcvdpnpynbpjcnx"]
    )


class NewApiKey(ApiKey):
    """A key that was just made: its secret is told here and never again."""

    secret: str = Field(description="What a caller shows; told this once.", examples=["kv_live_8f2a..."])


class ApiKeyList(_Answer):
    """Every key that was ever made."""

    object: Literal["list"] = "list"
    data: list[ApiKey]


class ApiKeyFields(_Request):
    """What a new key is for."""

    tenant: TenantName = Field(
        "default", description="Whom it is for; the tenant is made if there is none.", examples=["default"]
    )
    name: Annotated[str, Field(min_length=1, max_length=120), NO_NUL] = Field(
        description="What it is, for people.", examples=["shop"]
    )
    scopes: Annotated[list[Scope], Field(min_length=1)] = Field(
        default_factory=lambda: list(USUAL_SCOPES),
        description="What it may be used for; the usual ones by default.",
        examples=[["videos:read", "videos:write"]],
    )
    expires_in_seconds: Annotated[int, Field(ge=1, le=10 * YEAR_S)] | None = Field(
        None, description="Seconds until it ends; never by default.", examples=[86_400]
    )
    requests_per_minute: Amount | None = Field(None, description="Absent means the tenant's.", examples=[600])


class RotationFields(_Request):
    """How long the old key goes on beside the new one."""

    overlap_seconds: Annotated[int, Field(ge=0, le=YEAR_S)] = Field(
        86_400, description="Seconds for which the old key goes on."
    )


class TenantFields(_Request):
    """New limits of a tenant; null goes back to the default, absent leaves a limit as it is."""

    requests_per_minute: Amount | None = Field(
        None, description="Requests a minute of each key, in each API process.", examples=[600]
    )
    creates_per_minute: Amount | None = Field(None, description="New videos a minute.", examples=[60])
    max_running: Amount | None = Field(None, description="Videos made at once.", examples=[2])
    max_queued: Amount | None = Field(None, description="Videos that wait.", examples=[100])
    compute_seconds_per_day: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        None, description="Seconds of runners a day (UTC).", examples=[3600.0]
    )
    weight: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] = Field(
        1.0, description="Share of the workers' time where several tenants wait."
    )


class Tenant(_Answer):
    """One tenant with its limits in force."""

    id: str = Field(description="Its name.", examples=["default"])
    object: Literal["tenant"] = "tenant"
    weight: float = Field(description="Share of the workers' time where several tenants wait.", examples=[1.0])
    requests_per_minute: int = Field(description="Requests a minute of each key, in each API process.", examples=[600])
    creates_per_minute: int = Field(description="New videos a minute.", examples=[60])
    max_running: int = Field(description="Videos made at once.", examples=[2])
    max_queued: int = Field(description="Videos that wait.", examples=[100])
    compute_seconds_per_day: float = Field(description="Seconds of runners a day (UTC).", examples=[3600.0])
    created_at: float = Field(description="When it was made, in unix seconds.", examples=[1_795_478_400.0])


class TenantList(_Answer):
    """Every tenant."""

    object: Literal["list"] = "list"
    data: list[Tenant]
