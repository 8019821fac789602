"""Hostile inputs 1 to 3: bodies that are too long, too many, or too slow."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest
from hostile_caller import BODY_LIMIT
from test_integration_http_server import chunk, form, read_until_closed

from tests import uploads

if TYPE_CHECKING:
    from hostile_caller import Attacker


def test_01_endless_chunked_body(attacker: Attacker) -> None:
    """A body without a length is cut off with 413 at the limit, and the memory of the API stays flat."""
    head, body = form(uploads.wav())
    before = attacker.api.rss()
    with socket.create_connection(("127.0.0.1", attacker.api.port), timeout=30) as connection:
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(body[: -len(b"\r\n--edge--\r\n")]))
        try:
            for _ in range(20 * BODY_LIMIT // 65_536):
                connection.sendall(chunk(bytes(65_536)))
        except OSError:  # the server has closed
            pass
        answer = read_until_closed(connection)

    assert answer.startswith(b"HTTP/1.1 413")
    assert attacker.api.rss() - before < 30e6


def test_02_fifty_thousand_parts_and_endless_names(attacker: Attacker) -> None:
    """Forms of very many parts, and parts with very long names or heads, are no forms."""
    part = '--edge\r\nContent-Disposition: form-data; name="{}"\r\n\r\n\r\n'
    many = "".join(part.format(number) for number in range(50_000))
    for body in (many, part.format("n" * 1_000_000), "--edge\r\n" + "X: y\r\n" * 100_000 + "\r\n"):
        headers = {"Content-Type": "multipart/form-data; boundary=edge"}
        attacker.refused(
            attacker.request("POST", "/v1/videos", content=body, headers=headers), 400, "malformed_multipart"
        )


@pytest.mark.timeout(90)
def test_03_body_of_one_byte_now_and_then(attacker: Attacker) -> None:
    """A body that never ends but never pauses for long is let go after its whole time, with what it had sent."""
    head, body = form(uploads.wav())
    with socket.create_connection(("127.0.0.1", attacker.api.port), timeout=60) as connection:
        connection.sendall(head + f"Content-Length: {len(body)}\r\n\r\n".encode() + body[:20_000])
        begun = time.monotonic()
        answer = b""
        connection.settimeout(0.3)
        for byte in body[20_000:]:
            try:
                connection.sendall(bytes((byte,)))
                answer += connection.recv(65_536)
            except TimeoutError:
                continue
            break

    assert answer.startswith(b"HTTP/1.1 408")
    assert 6 < time.monotonic() - begun < 60
