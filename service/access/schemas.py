"""The public shape of what a tenant may use and has used. 0 as a limit means that there is none."""

from pydantic import BaseModel, ConfigDict, Field


class UsageLimits(BaseModel):
    """The tenant's limits in force."""

    model_config = ConfigDict(frozen=True)

    requests_per_minute: int = Field(description="Of each key, in each API process.")
    creates_per_minute: int
    max_running: int = Field(description="Videos made at once; others wait.")
    max_queued: int
    compute_seconds_per_day: float


class Usage(BaseModel):
    """What the caller's tenant holds and has used."""

    model_config = ConfigDict(frozen=True)

    object: str = "usage"
    tenant: str
    running: int
    queued: int
    compute_seconds_today: float = Field(description="Seconds of runners on the present day (UTC).")
    seconds_left_today: float
    limits: UsageLimits
