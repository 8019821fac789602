"""Both clients behind one face, against a service that is played by hand: for failures and for time."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
from keyvid_client import AsyncKeyVID, KeyVID

if TYPE_CHECKING:
    from collections.abc import Callable

URL = "http://keyvid.test"


@dataclass
class Script:
    """What the service does, request by request; keeps what it was asked."""

    turns: deque[httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]] = field(default_factory=deque)
    requests: list[httpx.Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Play the next turn."""
        self.requests.append(request)
        self.bodies.append(request.read())
        return self._play(request)

    async def answer_later(self, request: httpx.Request) -> httpx.Response:
        """The same for asyncio."""
        self.requests.append(request)
        self.bodies.append(await request.aread())
        return self._play(request)

    def _play(self, request: httpx.Request) -> httpx.Response:
        turn = self.turns.popleft()
        if isinstance(turn, Exception):
            raise turn
        return turn if isinstance(turn, httpx.Response) else turn(request)


@dataclass
class Caller:
    """A client of either kind: `do(lambda client: client.get(...))` gives the result of the call, or all it yields."""

    script: Script
    is_async: bool
    pauses: list[float]

    def do(self, act: Callable[[Any], Any], **options: Any) -> Any:
        """Call a method on a client and wait for what it gives."""
        if self.is_async:
            return asyncio.run(self._do_async(act, options))
        with KeyVID(URL, "kv_test", transport=httpx.MockTransport(self.script.answer), **options) as client:
            result = act(client)
            return list(result) if hasattr(result, "__next__") else result

    async def _do_async(self, act: Callable[[Any], Any], options: dict[str, Any]) -> Any:
        transport = httpx.MockTransport(self.script.answer_later)
        async with AsyncKeyVID(URL, "kv_test", transport=transport, **options) as client:
            result = act(client)
            return [item async for item in result] if hasattr(result, "__anext__") else await result


def video_json(**changes: Any) -> dict[str, Any]:
    """A Video object of a service that is newer than this package."""
    stage = {"name": "keyframes", "status": "running", "steps_done": 3, "steps_total": 8, "seconds": None, "resumed": 0}
    body = {
        "id": "video_1",
        "object": "video",
        "status": "in_progress",
        "progress": 40,
        "stage": "keyframes",
        "stages": [stage],
        "model": "keyvid-mini",
        "prompt": "a dog barks",
        "seed": 7,
        "created_at": 1_795_478_400,
        "metadata": {},
        "a_field_of_tomorrow": True,
    }
    return {**body, **changes}
