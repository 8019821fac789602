"""The listener as a process: one sound at a time, a few waiting, and an end to itself when it hangs."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import structlog
import uvicorn

from workers import metrics
from workers.contract import CLIP_SECONDS
from workers.jobs import Origin
from workers.listening.hearing import CannotHear, NotASound, load_hearing, wav_of_silence
from workers.listening.protocol import (
    ALIVE_PATH,
    HEAR_PATH,
    MAX_WAV_BYTES,
    READY_PATH,
    REQUEST_ID_HEADER,
    UNIX,
    short_path,
)
from workers.logs import named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workers.jobs import Keyframes
    from workers.settings import Settings

logger = structlog.get_logger(__name__)

MAX_WAITING = 16  # a sound takes milliseconds: more than these would wait longer than anybody does
HUNG_S = 20.0
HUNG_EXIT_STATUS = 70
BACKLOG = 64
SILENCE = wav_of_silence(CLIP_SECONDS)


class ListenerApp:
    """ASGI application that answers what `hear` makes of a sound."""

    def __init__(self, hear: Callable[[bytes], Keyframes], *, hung_s: float = HUNG_S) -> None:
        self._hear = hear
        self._hung_s = hung_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hear")
        self._waiting = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401  (ASGI)
        """Answer one request."""
        route = (scope["method"], scope["path"])
        if route == ("GET", ALIVE_PATH):
            status, body = 200, {"status": "ok"}
        elif route == ("GET", READY_PATH):
            status, body = await self._readiness()
        elif route == ("POST", HEAR_PATH):
            request_id = dict(scope["headers"]).get(REQUEST_ID_HEADER, b"").decode("latin-1")
            with named(Origin(request_id or None)):
                began = time.perf_counter()
                status, body = await self._answer(await _body(receive))
                seconds = time.perf_counter() - began
                metrics.HEARING_SECONDS.labels(body.get("code", "heard")).observe(seconds)
                logger.info("sound_heard", status=status, seconds=round(seconds, 4))
        else:
            status, body = 404, {"code": "not_found"}
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})

    async def _readiness(self) -> tuple[int, dict[str, Any]]:
        """Whether a sound would be heard now, asked the way that every sound goes.

        Without a localizer it is ready too: to say so is then all that it has to do.
        """
        status, body = await self._answer(SILENCE)
        if status in (200, 409):
            return 200, {"status": "ready", "checks": {"localizer": "ok" if status == 200 else "none"}}
        return 503, {"status": "unavailable", "checks": {"localizer": body["code"]}}

    async def _answer(self, wav: bytes | None) -> tuple[int, dict[str, Any]]:
        if wav is None:
            return 422, {"code": "not_a_sound"}
        if self._waiting >= MAX_WAITING:
            return 503, {"code": "busy"}
        self._waiting += 1
        try:
            heard = asyncio.get_running_loop().run_in_executor(self._thread, self._hear, wav)
            return 200, asdict(await asyncio.wait_for(heard, self._hung_s))
        except CannotHear:
            return 409, {"code": "keyframes_needed"}
        except NotASound:
            return 422, {"code": "not_a_sound"}
        except TimeoutError:
            logger.critical("listener_hung", after_s=self._hung_s)
            os._exit(HUNG_EXIT_STATUS)  # a thread cannot be stopped; whoever supervises starts a fresh process
        finally:
            self._waiting -= 1


def run_listener(settings: Settings) -> None:
    """Be a listener until SIGTERM.

    Raises: the model's CheckpointError; OSError when the address cannot be listened on.
    """
    hearing = load_hearing(settings)
    config = uvicorn.Config(
        ListenerApp(hearing.hear),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=5,
    )
    source = hearing.listener.name if hearing.listener else None
    with listening_socket(settings.listener_url) as listening:
        logger.info("listener_ready", url=settings.listener_url, localizer=source)
        uvicorn.Server(config).run(sockets=[listening])


@contextmanager
def listening_socket(url: str) -> Iterator[socket.socket]:
    """Listen at `unix:PATH`, for this user only and in place of a dead one, or at `http://HOST:PORT`.

    Raises: OSError.
    """
    if url.startswith(UNIX):
        path = Path(url.removeprefix(UNIX))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening, short_path(path) as name:
            listening.bind(name)
            path.chmod(0o600)
            listening.listen(BACKLOG)
            yield listening
        return
    address = urlsplit(url)
    with socket.create_server((address.hostname or "", address.port or 80), backlog=BACKLOG) as listening:
        yield listening


async def _body(receive: Any) -> bytes | None:  # noqa: ANN401  (ASGI)
    """The request's body; None when it is larger than any sound."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_WAV_BYTES:
            return None
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return bytes(body)
