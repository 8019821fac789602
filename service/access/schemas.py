"""The public shape of what a tenant may use and has used. 0 as a limit means that there is none."""

from pydantic import BaseModel, ConfigDict, Field


class UsageLimits(BaseModel):
    """The tenant's limits in force."""

    model_config = ConfigDict(frozen=True)

    requests_per_minute: int = Field(description="Of each key, in each API process.", examples=[600])
    creates_per_minute: int = Field(description="New videos a minute.", examples=[60])
    max_running: int = Field(description="Videos made at once; others wait.", examples=[2])
    max_queued: int = Field(description="Videos that wait.", examples=[100])
    compute_seconds_per_day: float = Field(description="Seconds of runners a day (UTC).", examples=[0.0])


class Usage(BaseModel):
    """What the caller's tenant holds and has used."""

    model_config = ConfigDict(frozen=True)

    object: str = "usage"
    tenant: str = Field(description="Whom the key belongs to.", examples=["default"])
    running: int = Field(description="Videos being made.", examples=[1])
    queued: int = Field(description="Videos that wait.", examples=[3])
    compute_seconds_today: float = Field(description="Seconds of runners on the present day (UTC).", examples=[412.5])
    seconds_left_today: float = Field(
        description="Seconds of runners that are left of the day's limit.", examples=[0.0]
    )
    limits: UsageLimits = Field(description="The limits in force.")
