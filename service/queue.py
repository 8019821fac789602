"""GET /v1/queue: how many wait, and for how long."""

from typing import Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from service.access.guard import GUARD_VIDEOS
from service.dependencies import ResourcesDep
from service.openapi import problems
from workers.jobs import JobStatus

router = APIRouter(prefix="/v1/queue", tags=["queue"], dependencies=[Depends(GUARD_VIDEOS)])


class Queue(BaseModel):
    """The videos of all tenants that wait, in numbers that are a few seconds old."""

    model_config = ConfigDict(frozen=True)

    object: Literal["queue"] = Field("queue", description="What this is.")
    waiting: int = Field(description="Videos that wait to be begun.", examples=[3])
    running: int = Field(description="Videos that are being made.", examples=[1])
    workers: int = Field(description="Workers that take videos.", examples=[1])
    video_seconds: float | None = Field(
        None, description="How many seconds the last videos took; null while none is completed.", examples=[24.5]
    )
    wait_seconds: float | None = Field(
        None,
        description="For how many seconds a video that is asked for now waits at most before it is begun, by what the"
        " last ones took; null while nothing was measured, or nobody works.",
        examples=[61.2],
    )


@router.get("", operation_id="getQueue", responses=problems(503))
def get_queue(resources: ResourcesDep) -> Queue:
    """Tell how many videos wait, and how long one more would."""
    census = resources.installation.census()
    pace = resources.forecasts.pace(resources.settings.model_name)
    waiting = census.jobs[JobStatus.QUEUED]
    wait_s = pace.turn_seconds(waiting + 1)
    return Queue(
        waiting=waiting,
        running=census.jobs[JobStatus.IN_PROGRESS],
        workers=census.workers_at_work,
        video_seconds=round(pace.job_seconds, 1) if pace.stage_seconds else None,
        wait_seconds=None if wait_s is None else round(wait_s, 1),
    )
