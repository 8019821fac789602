"""A small hub on a local port: the endpoints that downloads use, with the faults that networks have."""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class LocalHub:
    """What the hub serves, and how it misbehaves.

    Args:
        files: content by `repo/path`.
        cut_after: bytes after which the first answer of a file breaks off.
        flipped: files of which one byte is sent wrong.
        refusals: HTTP status and the hub's error code by repository.
        ranges: the `Range` header of every download, None where there was none.
    """

    files: dict[str, bytes]
    cut_after: int | None = None
    flipped: set[str] = field(default_factory=set)
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    ranges: list[str | None] = field(default_factory=list)
    endpoint: str = ""


class HubServer(ThreadingHTTPServer):
    """Serves one hub on a free port."""

    def __init__(self, hub: LocalHub) -> None:
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.hub = hub


class HubHandler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    server: HubServer

    def log_message(self, *_args: object) -> None:
        """Stay silent."""

    def do_HEAD(self) -> None:
        """Describe a file."""
        self._answer(has_body=False)

    def do_GET(self) -> None:
        """Send a file, or the rest of it."""
        self._answer(has_body=True)

    def _answer(self, *, has_body: bool) -> None:
        hub = self.server.hub
        repo, _, rest = unquote(self.path).lstrip("/").partition("/resolve/")
        name = f"{repo}/{rest.partition('/')[2]}"
        if repo in hub.refusals:
            self._refuse(*hub.refusals[repo])
        elif name not in hub.files:
            self._refuse(404, "EntryNotFound")
        else:
            begin = self._describe(hub.files[name])
            if has_body:
                self._send(name, begin)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _describe(self, content: bytes) -> int:
        """Send the headers; the first byte that is wanted."""
        asked = self.headers.get("Range")
        begin = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content) - begin))
        if asked:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        return begin

    def _send(self, name: str, begin: int) -> None:
        hub = self.server.hub
        hub.ranges.append(self.headers.get("Range"))
        sent = bytearray(hub.files[name])
        if name in hub.flipped:
            sent[len(sent) // 2] ^= 1
        end, hub.cut_after = hub.cut_after or len(sent), None
        self.close_connection = end < len(sent)
        self.wfile.write(sent[begin:end])


@contextmanager
def serve(hub: LocalHub) -> Iterator[LocalHub]:
    """Serve `hub` on a free port."""
    server = HubServer(hub)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
