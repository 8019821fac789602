"""The least that a caller must do for a request: on a shared machine the service is to get the processor, not we."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: its status, its header fields by lower-case names, its body, and the seconds it took."""

    status: int
    fields: Mapping[bytes, bytes]
    body: bytes
    seconds: float


@dataclass
class Wire:
    """One connection, kept open."""

    host: str
    port: int
    reader: asyncio.StreamReader = field(init=False)
    writer: asyncio.StreamWriter = field(init=False)

    async def open(self) -> None:
        """Connect."""
        self.reader, self.writer = await asyncio.open_connection(self.host, self.port)

    async def ask(self, request: bytes) -> Answer:
        """Send a whole request and read the answer."""
        began = time.perf_counter()
        self.writer.write(request)
        await self.writer.drain()
        status, fields = read_head(await self.reader.readuntil(END_OF_HEAD))
        length = int(fields.get(b"content-length", b"0"))
        body = await self.reader.readexactly(length) if length and status != 304 else b""
        return Answer(status, fields, body, time.perf_counter() - began)

    async def close(self) -> None:
        """Hang up."""
        self.writer.close()


def read_head(head: bytes) -> tuple[int, Mapping[bytes, bytes]]:
    """Status and header fields of an answer."""
    first, *lines = head.split(b"\r\n")
    fields = dict(line.split(b": ", 1) for line in lines if line)
    return int(first.split(b" ")[1]), {name.lower(): value for name, value in fields.items()}


def get(path: str, host: str, **fields: str) -> bytes:
    """The bytes of a GET; `fields` are header fields with underscores for dashes."""
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def post_form(path: str, host: str, fields: Mapping[str, str], files: Mapping[str, bytes]) -> bytes:
    """The bytes of a POST of a form with files."""
    boundary = "keyvid-load"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    for name, content in files.items():
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n\r\n'
        parts.append(head.encode() + content + b"\r\n")
    body = b"".join([*parts, f"--{boundary}--\r\n".encode()])
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: multipart/form-data; boundary={boundary}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def percentile(values: list[float], percent: int) -> float:
    """The value below which that share of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(percent / 100 * (len(ordered) - 1)))]
