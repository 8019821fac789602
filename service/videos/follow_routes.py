"""/v1/videos/{id}/events, and tickets that open it where no API key can be sent."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from sse_starlette import EventSourceResponse
from starlette.concurrency import run_in_threadpool

from service.access.guard import GUARD_VIDEOS, SCHEME_NAME, Guard, authenticate
from service.access.principal import Principal
from service.dependencies import ResourcesDep, VideosDep, get_videos
from service.errors import InvalidTicket
from service.openapi import problems
from service.videos.events import HEADERS, PING_SECONDS, has_seen_the_end, stream_events
from service.videos.schemas import EventTicket
from workers.access import Scope

# To make a ticket is to read: it gives its holder nothing that the key may not see.
GUARD_TICKETS = Guard(read=Scope.VIDEOS_READ, write=Scope.VIDEOS_READ)

tickets = APIRouter(prefix="/v1/videos", tags=["videos"], dependencies=[Depends(GUARD_TICKETS)])
events = APIRouter(prefix="/v1/videos", tags=["videos"])  # guards itself: a ticket stands in for a key


async def get_follower(
    request: Request,
    video_id: str,
    resources: ResourcesDep,
    ticket: Annotated[
        str | None, Query(max_length=100, description="A ticket of this video, in place of an API key.")
    ] = None,
) -> Principal:
    """Who follows: the holder of a ticket, which is used up by this, or of a key.

    Raises: InvalidTicket, Unauthorized, InsufficientScope, RateLimited; StoreUnavailable.
    """
    if ticket is not None:
        tenant = await run_in_threadpool(resources.tickets.redeem, ticket, job_id=video_id)
        if tenant is None:
            raise InvalidTicket
        return Principal(tenant=tenant, scopes=frozenset({Scope.VIDEOS_READ}))
    principal = await authenticate(request)
    await GUARD_VIDEOS(request, principal)
    return principal


@tickets.post(
    "/{video_id}/event-tickets",
    operation_id="createEventTicket",
    status_code=201,
    responses=problems(404, 410, 503),
)
def create_event_ticket(video_id: str, resources: ResourcesDep, videos: VideosDep) -> EventTicket:
    """Make a ticket that opens the video's event stream once, within a minute: for EventSource in browsers."""
    videos.get(video_id)
    ticket = resources.tickets.issue(video_id, tenant=videos.tenant)
    return EventTicket(
        ticket=ticket.secret,
        expires_at=int(ticket.expires_at),
        url=f"/v1/videos/{video_id}/events?ticket={ticket.secret}",
    )


@events.get(
    "/{video_id}/events",
    operation_id="streamVideoEvents",
    response_class=EventSourceResponse,
    responses={
        200: {"description": "Server-sent events.", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
        204: {"description": "The reader has seen the final event: there is nothing more."},
        **problems(401, 403, 404, 410, 429, 503),
    },
    openapi_extra={"security": [{SCHEME_NAME: [Scope.VIDEOS_READ.value]}, {}]},
)
async def stream_video_events(
    video_id: str,
    resources: ResourcesDep,
    follower: Annotated[Principal, Depends(get_follower)],
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", max_length=20)] = None,
    after: Annotated[int | None, Query(ge=0, description="As `Last-Event-ID`, for a new EventSource.")] = None,
) -> Response:
    """Follow a video: a snapshot, then every change until the final one; `Last-Event-ID` replays what was missed."""
    last_seq = int(last_event_id) if last_event_id and last_event_id.isdecimal() else after
    videos = await get_videos(resources, follower)
    video = await run_in_threadpool(videos.get, video_id)
    if has_seen_the_end(video, last_seq):
        return Response(status_code=204)
    resources.feed.check_room()
    stream = stream_events(videos, resources.feed, video_id, last_seq=last_seq)
    return EventSourceResponse(stream, ping=PING_SECONDS, headers=HEADERS)
