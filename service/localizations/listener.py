"""The API's line to the listener, which hears in milliseconds and may be away at any time."""

from __future__ import annotations

import json
import socket
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import structlog

from service.errors import Busy, KeyframesNeeded, LocalizerUnavailable
from workers.listening.protocol import HEAR_PATH, READY_PATH, REQUEST_ID_HEADER, UNIX, short_path
from workers.records import keyframes_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.jobs import Keyframes

logger = structlog.get_logger(__name__)

PATIENCE_S = 5.0

ListenerState = Literal["ready", "no_localizer", "unavailable", "away"]


class ListenerLine:
    """Asks the listener at `unix:PATH` or `http://HOST:PORT`. Blocks; called from many threads."""

    def __init__(self, url: str) -> None:
        self._url = url

    def hear(self, wav: bytes) -> Keyframes:
        """What is heard in the first two seconds of a 16-bit WAV.

        Raises: LocalizerUnavailable, Busy, KeyframesNeeded.
        """
        try:
            asked_by = structlog.contextvars.get_contextvars().get("request_id", "")
            headers = {"Content-Type": "audio/wav", REQUEST_ID_HEADER.decode(): asked_by}
            status, body = self._ask("POST", HEAR_PATH, wav, headers)
        except (HTTPException, OSError) as error:
            logger.warning("listener_unavailable", error=type(error).__name__)
            raise LocalizerUnavailable from error
        if status == 503:
            raise Busy("Too many sounds wait to be heard.")
        if status == 409:
            raise KeyframesNeeded
        if status != 200:
            logger.error("listener_refused", status=status)
            raise LocalizerUnavailable
        return keyframes_of(json.loads(body))

    def state(self) -> ListenerState:
        """Whether a sound would be heard now."""
        try:
            status, body = self._ask("GET", READY_PATH)
        except (HTTPException, OSError):
            return "away"
        if status != 200:
            return "unavailable"
        return "no_localizer" if json.loads(body)["checks"]["localizer"] == "none" else "ready"

    def _ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Send one request on a connection of its own: a kept one would break when the listener restarts."""
        if self._url.startswith(UNIX):
            connection: HTTPConnection = _UnixConnection(Path(self._url.removeprefix(UNIX)))
        else:
            address = urlsplit(self._url)
            connection = HTTPConnection(address.hostname or "", address.port, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body, dict(headers or {}))
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()


class _UnixConnection(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("listener", timeout=PATIENCE_S)
        self._path = path

    def connect(self) -> None:
        """Connect; `close` closes the socket whether or not that succeeds."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(PATIENCE_S)
        with short_path(self._path) as name:
            self.sock.connect(name)
