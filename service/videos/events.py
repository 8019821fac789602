"""A video's events as a stream of server-sent events, replayed and gapless by their `seq`."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from sse_starlette import ServerSentEvent
from starlette.concurrency import run_in_threadpool

from workers.errors import JobNotFound
from workers.jobs import EventType

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from service.events import EventFeed
    from service.videos.schemas import Video
    from service.videos.service import VideoService
    from workers.jobs import JobEvent

RETRY_MS = 3000
PING_SECONDS = 15
REPLAY_BATCH = 500
CATCH_UP_SECONDS = 10.0  # silence after which the database is asked directly, should the feed have missed something
FINAL_EVENTS = (EventType.COMPLETED, EventType.FAILED, EventType.CANCELLED)
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # proxies would hold the events back


async def stream_events(
    videos: VideoService, feed: EventFeed, video_id: str, *, last_seq: int | None
) -> AsyncIterator[ServerSentEvent]:
    """Yield a snapshot, then every event behind it, and end after the final one.

    The snapshot's id is where the events after it go on: the video's `seq`, or for a reader that comes back,
    its own `last_seq`, from which it gets everything that it missed.
    """
    with feed.follow(video_id) as news:
        # Read again now that nothing can be missed any more.
        try:
            snapshot = await run_in_threadpool(videos.get, video_id)
        except JobNotFound:  # deleted since the request began
            return
        seq = snapshot.seq if last_seq is None or last_seq > snapshot.seq else last_seq
        yield ServerSentEvent(snapshot.model_dump_json(), event="video.snapshot", id=str(seq), retry=RETRY_MS)
        if snapshot.status.is_terminal and seq == snapshot.seq:
            return
        missed: list[JobEvent] = await _replay(videos, video_id, seq)
        while True:
            for event in missed:
                if event.seq <= seq:
                    continue
                if event.seq > seq + 1:
                    break  # the queue had overflowed: the next round reads what is missing
                seq = event.seq
                is_news = event is missed[-1]  # a forecast of a moment that is long past would be none
                eta_s = await run_in_threadpool(videos.eta_after, event, model=snapshot.model) if is_news else None
                yield _render(event, eta_s)
                if event.type in FINAL_EVENTS:
                    return
            is_behind = len(missed) == REPLAY_BATCH and missed[-1].seq == seq  # a full batch may not have been all
            missed = await (_replay(videos, video_id, seq) if is_behind else _next_events(videos, news, video_id, seq))


async def _next_events(videos: VideoService, news: asyncio.Queue[JobEvent], job_id: str, seq: int) -> list[JobEvent]:
    """Events behind `seq`, from the feed when it has just the next one, otherwise from the store."""
    try:
        async with asyncio.timeout(CATCH_UP_SECONDS):
            event = await news.get()
    except TimeoutError:
        return await _replay(videos, job_id, seq)
    if event.seq <= seq + 1:
        return [event]
    return await _replay(videos, job_id, seq)


async def _replay(videos: VideoService, job_id: str, seq: int) -> list[JobEvent]:
    return list(await run_in_threadpool(videos.store.events, job_id, after_seq=seq, limit=REPLAY_BATCH))


def _render(event: JobEvent, eta_s: float | None) -> ServerSentEvent:
    data: dict[str, Any] = {**event.data, "id": event.job_id, "seq": event.seq, "type": event.type.value}
    if eta_s is not None:
        data["eta_seconds"] = eta_s
    data["at"] = round(event.at, 3)
    if event.type is EventType.PREVIEW:  # a new address for each, so that an <img> shows it
        data["url"] = f"/v1/videos/{event.job_id}/content?variant=preview&seq={event.seq}"
    return ServerSentEvent(json.dumps(data), event=event.type.value, id=str(event.seq))


def has_seen_the_end(video: Video, last_seq: int | None) -> bool:
    """Whether a reader that comes back has nothing left to read, so that it should stop coming back."""
    return last_seq is not None and last_seq >= video.seq and video.status.is_terminal
