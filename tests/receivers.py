"""Receivers of webhooks, good and bad, on the loopback address."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping


@dataclass(frozen=True)
class Received:
    """One request as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Receiver:
    """A web server that keeps what it gets, and answers as `answer` says: status, header fields, body."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    answer: Callable[[], tuple[int, Mapping[str, str], bytes]] = lambda: (204, {}, b"")
    drips: bool = False  # answers one byte at a time, for ever

    def statuses(self, *statuses: int) -> None:
        """Answer these, then the last one for ever."""
        left = list(statuses)
        self.answer = lambda: (left.pop(0) if len(left) > 1 else left[0], {}, b"")


@contextmanager
def receiving(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """Run a receiver on a free port, over https if there is a context with a certificate."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Keep the request, and answer."""
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.received.append(Received(self.path, dict(self.headers), body))
            if receiver.drips:
                self._drip()
                return
            status, fields, content = receiver.answer()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **fields}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):  # the sender need not read all of it
                self.wfile.write(content)

        def _drip(self) -> None:
            try:
                for _ in range(1000):
                    self.wfile.write(b"H")
                    time.sleep(0.02)
            except OSError:
                return

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # senders that break off are expected
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    receiver.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}/hook?x=1"
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
