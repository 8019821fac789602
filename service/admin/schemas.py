"""The public shape of what operators see. Times are unix seconds; 0 as a limit means that there is none."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from workers.access import USUAL_SCOPES, Scope
from workers.roster import WorkerState

TenantName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
YEAR_S = 366 * 86_400


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Worker(_Answer):
    """One worker process, as it last said."""

    id: str
    host: str
    pid: int
    state: WorkerState
    job_id: str | None = None
    engine: dict[str, Any]
    started_at: float
    beat_at: float = Field(description="When it was last heard of.")
    drain_requested_at: float | None = Field(None, description="Since when it is asked to take no more jobs.")


class WorkerList(_Answer):
    """The workers that were heard of lately."""

    object: Literal["list"] = "list"
    data: list[Worker]


class DeadJob(_Answer):
    """A video that failed, with what an operator needs to find out why."""

    id: str
    tenant: str
    model: str
    created_at: float
    failed_at: float | None = None
    code: str
    message: str
    attempt: int
    image_sha256: str
    audio_sha256: str
    seed: int


class DeadJobList(_Answer):
    """One page of failed videos, latest first; `last_id` is the next page's `after`."""

    object: Literal["list"] = "list"
    data: list[DeadJob]
    last_id: str | None = None
    has_more: bool


class QuarantinedInput(_Answer):
    """An input that is refused: the SHA-256 of a file, or of a picture and a sound together."""

    digest: str
    reason: str
    job_id: str | None = None
    at: float


class QuarantineList(_Answer):
    """Every refused input, newest first."""

    object: Literal["list"] = "list"
    data: list[QuarantinedInput]


class QuarantineFields(_Request):
    """Which file to refuse, and why."""

    digest: Digest = Field(description="SHA-256 of the file as its caller sent it: `input.image.sha256` of a video.")
    reason: Annotated[str, Field(min_length=1, max_length=500)]


class InputReleased(_Answer):
    """An input that is accepted again."""

    digest: str
    deleted: bool = True


class AuditEntry(_Answer):
    """One deed: who did what to what."""

    row: int
    at: float
    tenant: str
    actor: str = Field(description="Id of the key, `operator` at the command line, or `anonymous`.")
    action: str
    target: str
    detail: dict[str, Any]
    request_id: str | None = None


class AuditList(_Answer):
    """One page of the audit log, newest first; `last_row` is the next page's `before`."""

    object: Literal["list"] = "list"
    data: list[AuditEntry]
    last_row: int | None = None


class ApiKey(_Answer):
    """One API key without its secret."""

    id: str
    object: Literal["api_key"] = "api_key"
    tenant: str
    name: str
    prefix: str
    last4: str
    scopes: list[Scope]
    requests_per_minute: int | None = None
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    used_at: float | None = None
    replaced_by: str | None = None


class NewApiKey(ApiKey):
    """A key that was just made: its secret is told here and never again."""

    secret: str


class ApiKeyList(_Answer):
    """Every key that was ever made."""

    object: Literal["list"] = "list"
    data: list[ApiKey]


class ApiKeyFields(_Request):
    """What a new key is for."""

    tenant: TenantName = "default"
    name: Annotated[str, Field(min_length=1, max_length=120)]
    scopes: Annotated[list[Scope], Field(min_length=1)] = Field(default_factory=lambda: list(USUAL_SCOPES))
    expires_in_seconds: Annotated[int, Field(ge=1, le=10 * YEAR_S)] | None = None
    requests_per_minute: Annotated[int, Field(ge=0)] | None = Field(None, description="Absent means the tenant's.")


class RotationFields(_Request):
    """How long the old key goes on beside the new one."""

    overlap_seconds: Annotated[int, Field(ge=0, le=YEAR_S)] = 86_400


class TenantFields(_Request):
    """New limits of a tenant; null goes back to the default, absent leaves a limit as it is."""

    requests_per_minute: Annotated[int, Field(ge=0)] | None = None
    creates_per_minute: Annotated[int, Field(ge=0)] | None = None
    max_running: Annotated[int, Field(ge=0)] | None = None
    max_queued: Annotated[int, Field(ge=0)] | None = None
    compute_seconds_per_day: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    weight: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] = Field(
        1.0, description="Share of the workers' time where several tenants wait."
    )


class Tenant(_Answer):
    """One tenant with its limits in force."""

    id: str
    object: Literal["tenant"] = "tenant"
    weight: float
    requests_per_minute: int
    creates_per_minute: int
    max_running: int
    max_queued: int
    compute_seconds_per_day: float
    created_at: float


class TenantList(_Answer):
    """Every tenant."""

    object: Literal["list"] = "list"
    data: list[Tenant]
