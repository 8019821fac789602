"""News of videos: one look at the database per moment, however many streams are open."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog
from starlette.concurrency import run_in_threadpool

from service.errors import TooManyStreams
from workers.errors import WorkerError
from workers.metrics import EVENT_STREAMS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workers.job_store import JobStore
    from workers.jobs import JobEvent

logger = structlog.get_logger(__name__)

BATCH = 500  # events per look
MAX_BACKLOG = 1000  # events a slow reader may lag behind before it has to start over from the database
OUTAGE_PAUSE_SECONDS = 2.0


class EventFeed:
    """Hands each new event to the streams that follow its job. Lives on the event loop."""

    def __init__(self, store: JobStore, *, poll_seconds: float, max_streams: int) -> None:
        self._store = store
        self._poll_seconds = poll_seconds
        self._max_streams = max_streams
        self._followers: dict[str, list[asyncio.Queue[JobEvent]]] = defaultdict(list)
        self._num_streams = 0
        self._is_followed = asyncio.Event()

    def check_room(self) -> None:
        """Raises: TooManyStreams when no more streams may be opened."""
        if self._num_streams >= self._max_streams:
            raise TooManyStreams

    @contextmanager
    def follow(self, job_id: str) -> Iterator[asyncio.Queue[JobEvent]]:
        """Receive a job's events from now on. A queue that was full has lost some: read the rest from the store."""
        queue: asyncio.Queue[JobEvent] = asyncio.Queue(MAX_BACKLOG)
        self._num_streams += 1
        EVENT_STREAMS.inc()
        self._followers[job_id].append(queue)
        self._is_followed.set()
        try:
            yield queue
        finally:
            self._num_streams -= 1
            EVENT_STREAMS.dec()
            self._followers[job_id].remove(queue)
            if not self._followers[job_id]:
                del self._followers[job_id]
            if not self._followers:
                self._is_followed.clear()

    async def run(self) -> None:
        """Look for events until cancelled; sleep while nobody follows."""
        position = -1
        while True:
            if not self._is_followed.is_set():
                await self._is_followed.wait()
                position = -1
            try:
                events, position = await run_in_threadpool(self._store.events_since, position, limit=BATCH)
            except WorkerError as error:
                logger.warning("event_poll_failed", error=type(error).__name__)
                await asyncio.sleep(OUTAGE_PAUSE_SECONDS)
                continue
            for event in events:
                for queue in self._followers.get(event.job_id, ()):
                    if not queue.full():
                        queue.put_nowait(event)
            if len(events) < BATCH:
                await asyncio.sleep(self._poll_seconds)
