"""A job as its caller sees it: the video object."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from service.media.intake import describe_audio
from service.videos.schemas import (
    PRIORITY_NAMES,
    InputImage,
    Stage,
    Video,
    VideoError,
    VideoInput,
    VideoKeyframes,
    VideoLinks,
    VideoOutput,
    VideoParameters,
)
from workers.contract import CLIP_SECONDS, FPS, NUM_FRAMES
from workers.jobs import RUNNING_STAGES, JobStatus, StageReport

if TYPE_CHECKING:
    from workers.contract import VideoRequest
    from workers.jobs import Job

MIN_PROGRESS_FOR_ETA = 3  # percent; less says nothing about the speed


def describe(job: Job, *, queue_position: int | None = None, eta_seconds: float | None = None) -> Video:
    """The video object of a job; without an estimate from what others took, a running one is judged by itself."""
    eta_seconds = _eta_by_itself(job) if eta_seconds is None else eta_seconds
    request = job.request
    stages = job.stages or tuple(StageReport(stage, "pending") for stage in RUNNING_STAGES)
    return Video(
        id=job.id,
        model=request.model,
        status=job.status,
        progress=job.progress,
        created_at=int(job.created_at),
        completed_at=_whole(job.completed_at),
        expires_at=_whole(job.expires_at),
        error=VideoError(code=job.failure.code, message=job.failure.message) if job.failure else None,
        prompt=request.prompt,
        seconds=f"{CLIP_SECONDS:g}",
        size=f"{request.width}x{request.height}",
        started_at=_whole(job.started_at),
        queue_position=queue_position,
        eta_seconds=None if eta_seconds is None else round(eta_seconds, 1),
        stage=job.stage,
        stages=[Stage.model_validate(stage, from_attributes=True) for stage in stages],
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        seq=job.seq,
        cancel_requested_at=_whole(job.cancel_requested_at),
        deadline_at=_whole(job.deadline_at),
        cache_hit=job.cached_from is not None,
        retried_from_video_id=job.retried_from,
        fps=FPS,
        num_frames=NUM_FRAMES,
        seed=request.seed,
        parameters=VideoParameters.model_validate(request, from_attributes=True),
        input=_describe_input(request),
        output=VideoOutput.model_validate(job.output, from_attributes=True) if job.output else None,
        keyframes=VideoKeyframes.model_validate(job.keyframes, from_attributes=True) if job.keyframes else None,
        usage=dict(job.usage),
        engine=dict(job.engine),
        priority=PRIORITY_NAMES[job.priority],
        trace_id=job.origin.trace_id,
        metadata=dict(job.metadata),
        links=VideoLinks(
            self=f"/v1/videos/{job.id}",
            content=f"/v1/videos/{job.id}/content",
            events=f"/v1/videos/{job.id}/events",
            cancel=f"/v1/videos/{job.id}/cancel",
        ),
    )


def _describe_input(request: VideoRequest) -> VideoInput:
    image = request.image
    return VideoInput(
        image=InputImage(sha256=image.sha256, width=image.width, height=image.height, bytes=image.bytes),
        audio=describe_audio(request.audio, start_s=request.audio_start),
    )


def _eta_by_itself(job: Job) -> float | None:
    """Time left if the rest goes as fast as what is done."""
    if job.status is not JobStatus.IN_PROGRESS or job.started_at is None or job.progress < MIN_PROGRESS_FOR_ETA:
        return None
    elapsed = max(0.0, time.time() - job.started_at)
    return elapsed * (100 - job.progress) / job.progress


def _whole(moment: float | None) -> int | None:
    return None if moment is None else int(moment)
