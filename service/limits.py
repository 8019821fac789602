"""The request body's limits: size, counted as it arrives, and time."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from service.errors import PayloadTooLarge, RequestTimeout

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_PLAIN_BYTES = 64_000  # of a body that is no file: it is held in memory, before it is known who sends it
LINGER_SECONDS = 3.0  # long enough for a client in mid-upload to notice the answer


class BodyLimit:
    """ASGI middleware: a body that is too large or too slow ends with 413 or 408, in constant memory.

    Only `file_routes` take `max_bytes`: methods with their paths, or with what paths begin with that ends in a slash.
    All others take `MAX_PLAIN_BYTES`.
    An answer that is given before the whole body was read closes the connection. It lingers a moment first, reading
    and dropping what still arrives, because closing at once would reset the connection and destroy the answer.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_bytes: int,
        file_routes: Collection[tuple[str, str]],
        idle_seconds: float,
        total_seconds: float,
    ) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._file_routes = file_routes
        self._idle_seconds = idle_seconds
        self._total_seconds = total_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application on a counted body."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = _header(scope, b"content-length")
        body = _Body(
            receive,
            send,
            declared_bytes=int(declared) if declared.isdigit() else 0,
            is_chunked=bool(_header(scope, b"transfer-encoding")),
            max_bytes=self._max_bytes if self._takes_files(scope) else min(self._max_bytes, MAX_PLAIN_BYTES),
            idle_seconds=self._idle_seconds,
            total_seconds=self._total_seconds,
        )
        await self._app(scope, body.receive, body.send)

    def _takes_files(self, scope: Scope) -> bool:
        asked = scope["path"]
        return any(
            scope["method"] == method and (asked == path or (path[-1] == "/" and asked.startswith(path)))
            for method, path in self._file_routes
        )


class _Body:
    """One request's body while it arrives, and the answer that may come before its end."""

    def __init__(
        self,
        receive: Receive,
        send: Send,
        *,
        declared_bytes: int,
        is_chunked: bool,
        max_bytes: int,
        idle_seconds: float,
        total_seconds: float,
    ) -> None:
        self._receive = receive
        self._send = send
        self._declared_bytes = declared_bytes
        self._received_bytes = 0
        self._max_bytes = max_bytes
        self._idle_seconds = idle_seconds
        self._deadline = time.monotonic() + total_seconds
        self._is_complete = not declared_bytes and not is_chunked

    async def receive(self) -> Message:
        """Pass the next piece on.

        Raises: PayloadTooLarge, RequestTimeout.
        """
        if self._is_complete:
            return await self._receive()  # from here on it only tells that the client has left
        if self._declared_bytes > self._max_bytes:
            raise self._too_large()
        patience = min(self._idle_seconds, self._deadline - time.monotonic())
        try:
            async with asyncio.timeout(max(0.0, patience)):
                message = await self._receive()
        except TimeoutError as error:
            raise RequestTimeout from error
        self._received_bytes += len(message.get("body", b""))
        if self._received_bytes > self._max_bytes:
            raise self._too_large()
        self._is_complete = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Pass the answer on; one that is early ends the connection."""
        if self._is_complete:
            await self._send(message)
        elif message["type"] == "http.response.start":
            headers = [header for header in message["headers"] if header[0].lower() != b"connection"]
            await self._send({**message, "headers": [*headers, (b"connection", b"close")]})
        elif message.get("more_body", False):
            await self._send(message)
        else:
            await self._send({**message, "more_body": True})
            await _drain(self._receive)
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def _too_large(self) -> PayloadTooLarge:
        size = f"{self._max_bytes / 1e6:g} MB" if self._max_bytes >= 1e6 else f"{self._max_bytes / 1e3:g} KB"
        return PayloadTooLarge(f"The body may have at most {size}.")


async def _drain(receive: Receive) -> None:
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while (await receive()).get("more_body", False):
                pass
    except TimeoutError:
        return


def _header(scope: Scope, name: bytes) -> bytes:
    return next((bytes(value) for key, value in scope["headers"] if key == name), b"")
