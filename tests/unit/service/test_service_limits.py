"""The limits of a request body."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from service import app
from service.app import create_app
from service.errors import PayloadTooLarge, RequestTimeout
from service.limits import BodyLimit

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

FILE_ROUTES = (("POST", "/files"), ("PUT", "/blobs/"))
CHUNKED = [(b"transfer-encoding", b"chunked")]


class Exchange:
    """One request whose body comes in pieces; None is a client that stops sending."""

    def __init__(self, *pieces: bytes | None, headers: list[tuple[bytes, bytes]] = CHUNKED) -> None:
        self.scope = {"type": "http", "method": "POST", "path": "/files", "headers": headers}
        self.pieces = list(pieces)
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        """The next piece, as a server hands it over."""
        if not self.pieces:
            return {"type": "http.disconnect"}
        piece = self.pieces.pop(0)
        if piece is None:
            await asyncio.sleep(60)
        return {"type": "http.request", "body": piece, "more_body": bool(self.pieces)}

    async def send(self, message: Message) -> None:
        """Take a piece of the answer."""
        self.sent.append(message)


async def read_all(_scope: Scope, receive: Receive, send: Send) -> None:
    """An application that reads its body and then answers."""
    while (await receive()).get("more_body"):
        pass
    await answer(_scope, receive, send)


async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
    """An application that answers at once."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})


async def run(exchange: Exchange, app: object = read_all) -> None:
    """Send an exchange through a limit of ten bytes."""
    limited = BodyLimit(
        app,  # type: ignore[arg-type]
        max_bytes=10,
        file_routes=FILE_ROUTES,
        idle_seconds=0.05,
        total_seconds=5.0,
    )
    await limited(exchange.scope, exchange.receive, exchange.send)


async def test_body_within_the_limit_passes() -> None:
    """Ten bytes of ten are fine, and the connection stays."""
    exchange = Exchange(b"12345", b"67890")

    await run(exchange)

    assert [message["type"] for message in exchange.sent] == ["http.response.start", "http.response.body"]
    assert exchange.sent[0]["headers"] == []


async def test_body_over_the_limit_is_stopped_while_it_streams() -> None:
    """The eleventh byte ends the request; what follows is not read by the application."""
    exchange = Exchange(b"12345", b"678901", b"never read")

    with pytest.raises(PayloadTooLarge):
        await run(exchange)

    assert exchange.pieces == [b"never read"]


async def test_declared_length_over_the_limit_is_refused_unread() -> None:
    """A body that says it is too long is not even begun."""
    exchange = Exchange(b"1", b"2", headers=[(b"content-length", b"11")])

    with pytest.raises(PayloadTooLarge):
        await run(exchange)

    assert exchange.pieces == [b"1", b"2"]


@pytest.mark.parametrize(
    ("method", "path", "passes"),
    [
        ("POST", "/files", True),
        ("PUT", "/blobs/a/b", True),
        ("PUT", "/files", False),
        ("POST", "/files/1/links", False),
        ("POST", "/blobs/a/b", False),
    ],
)
async def test_only_routes_of_files_take_large_bodies(
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    path: str,
    passes: bool,  # noqa: FBT001
) -> None:
    """Elsewhere the limit is that of a body which is held in memory."""
    monkeypatch.setattr("service.limits.MAX_PLAIN_BYTES", 5)
    exchange = Exchange(b"123456")
    exchange.scope |= {"method": method, "path": path}

    if passes:
        await run(exchange)
    else:
        with pytest.raises(PayloadTooLarge):
            await run(exchange)


async def test_slow_body_times_out() -> None:
    """A client that stops in mid-body is let go."""
    with pytest.raises(RequestTimeout):
        await run(Exchange(b"1", None, b"2"))


async def test_early_answer_drains_and_closes() -> None:
    """An answer before the body's end says that the connection closes, and what still comes is dropped."""
    exchange = Exchange(b"x" * 1000, b"y" * 1000)

    await run(exchange, answer)

    assert exchange.sent[0]["headers"] == [(b"connection", b"close")]
    assert exchange.pieces == []
    assert exchange.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


def test_large_bodies_are_for_the_operations_that_take_files() -> None:
    """Exactly those that the API's document gives a form, and the address of direct uploads, which is signed."""
    takes_forms = {
        (method.upper(), path)
        for path, operations in create_app().openapi()["paths"].items()
        for method, operation in operations.items()
        if "multipart/form-data" in operation.get("requestBody", {}).get("content", {})
    }

    assert {*app.FILE_ROUTES} == takes_forms | {("PUT", "/v1/blobs/")}
