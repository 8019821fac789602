"""Polls: those that come at the same moment are answered from one look at the database, however many they are."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from workers.errors import JobExpired, JobNotFound
from workers.glances import Asked, Glance

if TYPE_CHECKING:
    from collections.abc import Mapping

    from service.videos.queue_places import QueuePlaces
    from workers.glances import Glances
    from workers.jobs import JobStatus

MAX_ASKED = 1000  # of one look: databases bound the parameters of a query


@dataclass(frozen=True, slots=True)
class Version:
    """What changes whenever a video does: its status, the number of its last event, and its turn while it waits."""

    status: JobStatus
    seq: int
    queue_position: int | None


@dataclass(slots=True)
class _Look:
    asked: set[Asked] = field(default_factory=set)
    task: asyncio.Task[Mapping[Asked, tuple[Glance, int | None]]] | None = None


class Polls:
    """Answers pollers. Lives on the event loop.

    Each is answered by a look that begins after it came, so nobody is told what was so before. Those who come while one
    is under way gather for the next: a thread and a query for each of them would cost many times as much.
    """

    def __init__(self, glances: Glances, places: QueuePlaces) -> None:
        self._glances = glances
        self._places = places
        self._turn = asyncio.Lock()
        self._gathering: _Look | None = None

    async def version(self, video_id: str, *, tenant: str) -> Version:
        """The version of a tenant's video. Raises: JobNotFound, JobExpired; StoreUnavailable."""
        asked = Asked(video_id, tenant)
        look = self._gathering
        if look is None or look.task is None or len(look.asked) >= MAX_ASKED:
            look = self._gathering = _Look()
            look.task = asyncio.create_task(self._look(look))
        look.asked.add(asked)
        found = await asyncio.shield(look.task)  # one who leaves must not take the others' answer along
        if asked not in found:
            raise JobNotFound
        glance, queue_position = found[asked]
        if glance.is_expired:
            raise JobExpired
        return Version(glance.status, glance.seq, queue_position)

    async def _look(self, look: _Look) -> Mapping[Asked, tuple[Glance, int | None]]:
        async with self._turn:
            if self._gathering is look:
                self._gathering = None
            return await run_in_threadpool(self._read, look.asked)

    def _read(self, asked: set[Asked]) -> Mapping[Asked, tuple[Glance, int | None]]:
        found = self._glances.at(asked)
        return {one: (glance, self._places.of_glance(glance)) for one, glance in found.items()}
