"""A look at what lies outside this process, which many want at the same moment."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Generic, TypeVar

from starlette.concurrency import run_in_threadpool

if TYPE_CHECKING:
    from collections.abc import Callable

Found = TypeVar("Found")


class SharedLook(Generic[Found]):
    """Tells what the latest look found, as long as it is fresh. Lives on the event loop; looks are taken in a thread.

    Whoever comes while one is taken waits for the same. One that fails is nobody's later answer.
    """

    def __init__(self, *, fresh_s: float) -> None:
        self._fresh_s = fresh_s
        self._latest: tuple[float, Found] | None = None
        self._under_way: asyncio.Task[Found] | None = None

    async def found(self, look: Callable[[], Found]) -> Found:
        """What a look found that began less than `fresh_s` seconds ago. Raises: whatever `look` raises."""
        if self._latest is not None and time.monotonic() - self._latest[0] < self._fresh_s:
            return self._latest[1]
        if self._under_way is None:
            self._under_way = asyncio.create_task(self._take(look))
        return await asyncio.shield(self._under_way)

    async def _take(self, look: Callable[[], Found]) -> Found:
        began_at = time.monotonic()
        try:
            found = await run_in_threadpool(look)
            self._latest = began_at, found
            return found
        finally:
            self._under_way = None
