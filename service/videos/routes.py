"""/v1/videos: create, read, list, cancel, retry, delete, download; following one is in `follow_routes`."""

from functools import partial
from typing import Annotated, Any, Literal

import anyio
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from service.access.guard import GUARD_VIDEOS
from service.content import ANSWERS, content_response, matches
from service.dependencies import ResourcesDep, VideosDep
from service.multipart import receive_form
from service.openapi import form_body, headers, problems
from service.readiness import check_free_disk
from service.videos.downloads import Variant
from service.videos.polls import Version
from service.videos.schemas import ContentUrl, CreateVideoFields, Video, VideoDeleted, VideoList
from service.videos.service import AUDIO_FIELD, IMAGE_FIELD, form_limits
from workers.jobs import JobStatus

router = APIRouter(prefix="/v1/videos", tags=["videos"], dependencies=[Depends(GUARD_VIDEOS)])

_POLLING = ("ETag", "openai-poll-after-ms", "Retry-After")
QUEUED_POLL_MS = 1000
RUNNING_POLL_MS = 500
VARIANTS = (
    "`thumbnail` is the first frame, `spritesheet` the twelve keyframes in rows of four,"
    " `preview` the newest preview of a video that is being made, all as JPEG; `image`"
    " and `audio` are the picture and the sound that it is made from, as PNG and WAV."
)

_CREATE_BODY = form_body(
    CreateVideoFields,
    files={
        IMAGE_FIELD: "The picture: JPEG, PNG or WebP, up to 25 megapixels.",
        AUDIO_FIELD: "The sound: WAV, FLAC, MP3, Ogg (Vorbis, Opus) or M4A, 0.25 to 60 seconds.",
    },
)


@router.post(
    "",
    operation_id="createVideo",
    status_code=202,
    openapi_extra=_CREATE_BODY,
    responses={202: headers("Location"), **problems(400, 408, 413, 415, 422, 503)},
)
async def create_video(
    request: Request,
    response: Response,
    *,
    resources: ResourcesDep,
    videos: VideosDep,
    idempotency_key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            min_length=1,
            max_length=255,
            description="The same request under the same key makes one video.",
        ),
    ] = None,
) -> Video:
    """Animate a picture to a sound: send both and a prompt, and get a video that is made from now on."""
    settings = resources.settings
    await run_in_threadpool(check_free_disk, settings)
    if idempotency_key is None:  # a repeated request is answered even where a new one would not be accepted
        await run_in_threadpool(videos.check_room)
    async with receive_form(request, settings.temp_dir, form_limits(settings)) as form:
        video = await anyio.to_thread.run_sync(
            partial(videos.create, form, idempotency_key=idempotency_key), limiter=resources.intake_limiter
        )
    response.headers["Location"] = video.links.self
    return video


@router.get("", operation_id="listVideos", responses=problems(422, 503))
def list_videos(
    videos: VideosDep,
    after: Annotated[str | None, Query(max_length=64, description="Id of the last video of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Annotated[Literal["asc", "desc"], Query(description="By time of creation.")] = "desc",
    status: Annotated[JobStatus | None, Query(description="Only videos of this status.")] = None,
) -> VideoList:
    """List videos, newest first."""
    return videos.list(after=after, limit=limit, order=order, status=status)


@router.get(
    "/{video_id}",
    operation_id="getVideo",
    responses={
        200: {"model": Video, **headers(*_POLLING)},
        304: {"description": "Nothing has changed since the ETag that was sent.", **headers(*_POLLING)},
        **problems(404, 410, 503),
    },
)
async def get_video(
    video_id: str,
    response: Response,
    resources: ResourcesDep,
    videos: VideosDep,
    if_none_match: Annotated[str | None, Header(alias="If-None-Match", max_length=1000)] = None,
) -> Any:  # noqa: ANN401  (a Video, or a bare 304, as documented above)
    """Read a video: its status, stage and progress, and its result once it is completed."""
    if if_none_match is not None:  # most polls end here, at a fraction of the cost
        headers = _validators(await resources.polls.version(video_id, tenant=videos.tenant))
        if matches(if_none_match, headers["ETag"]):
            return Response(status_code=304, headers=headers)
    video = await run_in_threadpool(videos.get, video_id)
    response.headers.update(_validators(video))
    return video


def _validators(version: Version | Video) -> dict[str, str]:
    """Header fields that tell a poller what it has, and when to ask again."""
    turn = "" if version.queue_position is None else f".{version.queue_position}"
    headers = {"ETag": f'W/"{version.seq}{turn}"', "Cache-Control": "private, no-cache"}
    if not version.status.is_terminal:
        poll_ms = QUEUED_POLL_MS if version.status is JobStatus.QUEUED else RUNNING_POLL_MS
        headers |= {"openai-poll-after-ms": str(poll_ms), "Retry-After": "1"}
    return headers


@router.delete("/{video_id}", operation_id="deleteVideo", responses=problems(404, 410, 503))
def delete_video(video_id: str, videos: VideosDep) -> VideoDeleted:
    """Stop a video if it is still being made, and delete it."""
    videos.delete(video_id)
    return VideoDeleted(id=video_id)


@router.post(
    "/{video_id}/cancel",
    operation_id="cancelVideo",
    responses={202: {"description": "The video will stop within one step.", "model": Video}, **problems(404, 410, 503)},
)
def cancel_video(video_id: str, response: Response, videos: VideosDep) -> Video:
    """Stop a video: at once while it is queued, within one step while it runs; a finished one stays as it is."""
    video = videos.cancel(video_id)
    response.status_code = 200 if video.status.is_terminal else 202
    return video


@router.post(
    "/{video_id}/retry",
    operation_id="retryVideo",
    status_code=202,
    responses={
        200: {
            "description": "It is being made once more already: this is that video.",
            "model": Video,
            **headers("Location"),
        },
        202: headers("Location"),
        **problems(404, 409, 410, 422, 503),
    },
)
def retry_video(video_id: str, response: Response, videos: VideosDep) -> Video:
    """Make a failed or cancelled video once more, from the same inputs and seed, as a video of its own."""
    video, is_new = videos.retry(video_id)
    if not is_new:
        response.status_code = 200
    response.headers["Location"] = video.links.self
    return video


@router.get(
    "/{video_id}/content",
    operation_id="downloadVideo",
    response_class=Response,
    responses={**ANSWERS, **problems(404, 409, 410, 416, 503)},
)
@router.head("/{video_id}/content", include_in_schema=False)
def download_video(
    request: Request,
    video_id: str,
    resources: ResourcesDep,
    videos: VideosDep,
    variant: Annotated[Variant, Query(description=VARIANTS)] = "video",
) -> Response:
    """Download the finished MP4, or a part of it."""
    return content_response(request, resources.storage, videos.content(video_id, variant))


@router.get("/{video_id}/content-url", operation_id="getContentUrl", responses=problems(404, 409, 410, 503))
def get_content_url(
    request: Request,
    video_id: str,
    resources: ResourcesDep,
    videos: VideosDep,
    variant: Annotated[Variant, Query(description="As of `content`.")] = "video",
) -> ContentUrl:
    """Make a link to the content that anybody may follow until it expires."""
    base = resources.settings.public_url or str(request.base_url)
    return videos.content_url(video_id, variant, base_url=base)
