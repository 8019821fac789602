"""A proxy in front of an S3 server that breaks what it is told to break."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import S3Server

Kind = Literal["503", "403", "reset", "stall", "slow", "truncate", "corrupt", "lose"]

HOP_HEADERS = {"connection", "transfer-encoding", "keep-alive", "date", "server"}
SLOW_S = 0.2
STALL_S = 20.0


@dataclass
class Fault:
    """What goes wrong with the next `times` requests of a method whose path holds `where`.

    `503` and `403` are answered unasked; `reset` ends the connection in mid-body, `stall` answers nothing, `slow` waits
    a moment; `truncate` and `corrupt` store half of the bytes, or others, and say that all is well; `lose` stores none
    and says so too, or finds nothing where a blob is read.
    """

    kind: Kind
    times: int = 1
    method: str = "PUT"
    where: str = "/"


@dataclass
class FaultProxy:
    """A running proxy; `faults` are taken in order."""

    server: S3Server
    port: int = 0
    faults: list[Fault] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    released: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def break_next(self, kind: Kind, *, times: int = 1, method: str = "PUT", where: str = "/") -> None:
        """Let something go wrong from now on."""
        self.faults.append(Fault(kind, times, method, where))

    def settings(self, bucket: str) -> dict[str, str]:
        """Settings of an installation whose storage is behind the proxy, in a new bucket."""
        return {**self.server.new_bucket(bucket), "s3_endpoint_url": f"http://127.0.0.1:{self.port}"}

    def next_fault(self, method: str, path: str) -> Kind | None:
        """What goes wrong with this request."""
        with self.lock:
            for fault in self.faults:
                if fault.times and fault.method == method and fault.where in path:
                    fault.times -= 1
                    self.seen[fault.kind] += 1
                    return fault.kind
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultProxy

    def handle_request(self) -> None:
        """Pass a request on, or break it."""
        fault = self.proxy.next_fault(self.command, self.path)
        size = int(self.headers.get("content-length", 0))
        if fault == "reset":
            self.rfile.read(size // 2)
            self.close_connection = True
            self.connection.close()
            return
        body = self.rfile.read(size)
        if fault == "stall":
            self.proxy.released.wait(STALL_S)
            self.close_connection = True
            return
        if fault == "slow":
            time.sleep(SLOW_S)
        if fault == "lose":
            self._answer(200 if self.command == "PUT" else 404, b"")
        elif fault in ("503", "403"):
            self._answer(
                int(fault), b"<Error><Code>%s</Code></Error>" % (b"SlowDown" if fault == "503" else b"AccessDenied")
            )
        elif fault in ("truncate", "corrupt"):
            self._store_otherwise(body[: size // 2] if fault == "truncate" else bytes(size))
        else:
            self._pass_on(body)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_request  # noqa: N815 - the names that http.server calls

    def _pass_on(self, body: bytes) -> None:
        upstream = HTTPConnection(urlsplit(self.proxy.server.endpoint).netloc, timeout=60)
        passed = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
        upstream.request(self.command, self.path, body=body or None, headers=passed)
        answer = upstream.getresponse()
        content = answer.read()
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_HEADERS:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        upstream.close()

    def _store_otherwise(self, content: bytes) -> None:
        _, bucket, key = unquote(urlsplit(self.path).path).split("/", 2)
        stored = self.proxy.server.client().put_object(Bucket=bucket, Key=key, Body=content)
        self.send_response_only(200)
        self.send_header("ETag", stored["ETag"])
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response_only(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def fault_proxy(server: S3Server) -> Iterator[FaultProxy]:
    """A proxy in front of a server until the block ends."""
    proxy = FaultProxy(server)
    handler = type("Handler", (_Handler,), {"proxy": proxy})
    listening = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    listening.daemon_threads = True
    proxy.port = listening.server_address[1]
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield proxy
    finally:
        proxy.released.set()
        listening.shutdown()
        thread.join()
        listening.server_close()
