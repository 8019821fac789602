"""One HTTP POST to a receiver that may be slow, endless or hostile, within one bound of time."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import TYPE_CHECKING

from workers.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.webhooks.address import Target

MAX_REPLY_BYTES = 1024  # more of a reply is never read
MAX_EXCERPT = 200  # characters of it that are kept for the caller


class PostFailed(WorkerError):
    """The receiver did not answer."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a receiver answered; `retry_after_s` is how long it wants to be left alone."""

    status: int
    excerpt: str = ""
    retry_after_s: float | None = None

    @property
    def is_success(self) -> bool:
        """Whether the webhook counts as delivered; a redirect does not."""
        return 200 <= self.status < 300


def post(target: Target, address: str, *, headers: Mapping[str, str], body: bytes, timeout_s: float) -> Reply:
    """Send a body to a target at an address that was checked for it. Redirects are not followed, nor proxies used.

    `timeout_s` bounds everything together, however slowly the other side drips.

    Raises: PostFailed, with a word for the caller.
    """
    connection = _PinnedConnection(target, address, timeout_s=timeout_s)
    bound = threading.Timer(timeout_s, connection.abort)
    bound.daemon = True
    bound.start()
    try:
        connection.request("POST", target.path, body=body, headers={**headers, "Host": target.host_header})
        response = connection.getresponse()
        return Reply(response.status, _excerpt(response), _retry_after_s(response.headers.get("Retry-After")))
    except TimeoutError as error:
        raise PostFailed("timeout") from error
    except ssl.SSLError as error:
        raise PostFailed("timeout" if connection.is_aborted else "tls_failed") from error
    except (OSError, http.client.HTTPException) as error:
        raise PostFailed("timeout" if connection.is_aborted else "connection_failed") from error
    finally:
        bound.cancel()
        connection.close()


class _PinnedConnection(http.client.HTTPConnection):
    """Connects to a given address, whatever the host's name says by now; TLS still checks the name."""

    def __init__(self, target: Target, address: str, *, timeout_s: float) -> None:
        super().__init__(target.host, target.port, timeout=timeout_s)
        self._target = target
        self._address = address
        self.is_aborted = False

    def connect(self) -> None:
        sock = socket.create_connection((self._address, self._target.port), self.timeout)
        if self._target.scheme == "https":
            context = ssl.create_default_context()
            # The handshake comes later: until `self.sock` is the socket in use, an abort cannot reach it.
            sock = context.wrap_socket(sock, server_hostname=self._target.host, do_handshake_on_connect=False)
        self.sock = sock
        if self.is_aborted:
            raise TimeoutError
        if isinstance(sock, ssl.SSLSocket):
            sock.do_handshake()

    def abort(self) -> None:
        """Break the connection from another thread, in whatever it is doing."""
        self.is_aborted = True
        if self.sock is not None:
            with suppress(OSError):
                # Of the plain socket: the TLS layer's own shutdown would change its state under the reader.
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


def _excerpt(response: http.client.HTTPResponse) -> str:
    """The beginning of the reply for a person to read; the status alone decides, so a body that breaks is no matter."""
    content = b""
    with suppress(OSError, http.client.HTTPException):
        content = response.read(MAX_REPLY_BYTES)
    text = content.decode("utf-8", "replace")[:MAX_EXCERPT]
    return "".join(character if character.isprintable() else " " for character in text)


def _retry_after_s(header: str | None) -> float | None:
    """Seconds of a Retry-After header, which may also be a date."""
    if header is None:
        return None
    if header.isascii() and header.isdigit():
        return float(header[:9])
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time())
    except (ValueError, OverflowError):
        return None
