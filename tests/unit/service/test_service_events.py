"""The feed that tells streams of new events."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from service.errors import TooManyStreams
from service.events import EventFeed
from workers.errors import StoreUnavailable
from workers.jobs import EventType, JobEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class EventLog:
    """The part of a job store that the feed reads; can be down."""

    def __init__(self) -> None:
        self.events: list[JobEvent] = []
        self.polls = 0
        self.is_down = False

    def add(self, job_id: str, seq: int) -> None:
        """Let something happen to a job."""
        self.events.append(JobEvent(job_id, seq, EventType.PROGRESS, {}, 0.0))

    def events_since(self, after: int, *, limit: int) -> tuple[list[JobEvent], int]:
        """Events behind a position, and the next position."""
        self.polls += 1
        if self.is_down:
            raise StoreUnavailable
        if after < 0:
            return [], len(self.events)
        found = self.events[after : after + limit]
        return found, after + len(found)


@asynccontextmanager
async def running(log: EventLog, *, max_streams: int = 10) -> AsyncIterator[EventFeed]:
    """A feed that looks every hundredth of a second."""
    feed = EventFeed(log, poll_seconds=0.01, max_streams=max_streams)  # type: ignore[arg-type]
    task = asyncio.create_task(feed.run())
    try:
        yield feed
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def first_look(log: EventLog) -> None:
    """Wait until the feed, in its thread, has looked once."""
    while not log.polls:  # noqa: ASYNC110  (a thread sets it)
        await asyncio.sleep(0.005)


async def next_of(queue: asyncio.Queue[JobEvent]) -> JobEvent:
    """The next event, which must come soon."""
    async with asyncio.timeout(5):
        return await queue.get()


async def test_each_stream_gets_its_own_jobs_events() -> None:
    """Two streams of one job both get its event, a stream of another job does not."""
    log = EventLog()
    log.add("a", 1)
    async with running(log) as feed:
        with feed.follow("a") as first, feed.follow("a") as second, feed.follow("b") as other:
            await first_look(log)
            log.add("a", 2)

            assert (await next_of(first)).seq == (await next_of(second)).seq == 2
            assert other.empty()


async def test_nobody_following_means_no_looking() -> None:
    """An idle service leaves its database alone."""
    log = EventLog()
    async with running(log) as feed:
        await asyncio.sleep(0.05)
        assert log.polls == 0

        with feed.follow("a"):
            await first_look(log)
        await asyncio.sleep(0.05)
        seen = log.polls
        await asyncio.sleep(0.05)
        assert log.polls == seen


async def test_feed_survives_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the database is back, events flow again."""
    monkeypatch.setattr("service.events.OUTAGE_PAUSE_SECONDS", 0.01)
    log = EventLog()
    async with running(log) as feed:
        with feed.follow("a") as queue:
            await first_look(log)
            log.is_down = True
            await asyncio.sleep(0.05)
            log.add("a", 1)
            log.is_down = False

            assert (await next_of(queue)).seq == 1


async def test_streams_are_counted() -> None:
    """There is room again when a stream ends."""
    async with running(EventLog(), max_streams=1) as feed:
        with feed.follow("a"), pytest.raises(TooManyStreams):
            feed.check_room()
        feed.check_room()
