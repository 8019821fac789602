"""Answers that carry a blob: whole or one byte range of it, with validators, from any storage."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.responses import Response, StreamingResponse

from service.errors import RangeNotSatisfiable
from service.openapi import headers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from workers.storage import BlobStore

_HEADERS = headers("ETag", "Accept-Ranges", "Content-Disposition")
_FILE = {"schema": {"type": "string", "format": "binary"}}
ANSWERS: Mapping[int | str, dict[str, Any]] = {
    200: {
        "description": "The file.",
        "content": {"video/mp4": _FILE, "image/jpeg": _FILE, "image/png": _FILE, "audio/wav": _FILE},
        **_HEADERS,
    },
    206: {
        "description": "The range that was asked for.",
        "headers": {**_HEADERS["headers"], **headers("Content-Range")["headers"]},
    },
    304: {"description": "The file that the reader has is the present one.", **_HEADERS},
}
"""What routes that answer with `content_response` document."""

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True, slots=True)
class Content:
    """A blob as its reader gets it; `etag` is quoted and strong.

    `body` is all of it, for a small one that may be replaced between two looks.
    """

    key: str
    etag: str
    media_type: str
    filename: str
    body: bytes | None = None


def content_response(request: Request, storage: BlobStore, content: Content) -> Response:
    """Answer 200, 206 for one range, or 304; several ranges at once are answered with the whole, as HTTP allows.

    Raises: BlobNotFound, StorageUnavailable, RangeNotSatisfiable.
    """
    headers = {
        "ETag": content.etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",  # keep it, but ask: the video may have been deleted
        "Content-Disposition": _disposition(content.filename),
        "X-Content-Type-Options": "nosniff",
    }
    if matches(request.headers.get("if-none-match"), content.etag):
        return Response(status_code=304, headers=headers)
    size = storage.stat(content.key).size if content.body is None else len(content.body)
    start, length, status = 0, size, 200
    span = _requested_range(request, content.etag, size)
    if span is not None:
        start, length = span
        status = 206
        headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{size}"
    headers["Content-Length"] = str(length)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=content.media_type)
    if content.body is not None:
        part = content.body[start : start + length]
        return Response(part, status_code=status, headers=headers, media_type=content.media_type)
    chunks = storage.open_range(content.key, start=start, length=length)
    return StreamingResponse(chunks, status_code=status, headers=headers, media_type=content.media_type)


def matches(if_none_match: str | None, etag: str) -> bool:
    """Whether an If-None-Match header names `etag`; weak comparison, as HTTP wants for GET."""
    if if_none_match is None:
        return False
    named = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in named or etag.removeprefix("W/") in named


def _requested_range(request: Request, etag: str, size: int) -> tuple[int, int] | None:
    """Start and length of the range to send; None for the whole."""
    match = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    if match is None or match.group(0) == "bytes=-":
        return None
    condition = request.headers.get("if-range")
    if condition is not None and condition != etag:
        return None
    first, last = match.groups()
    if not first:
        length = min(int(last), size)
        start = size - length
    else:
        start = int(first)
        if last and int(last) < start:
            return None  # not a range at all: ignored
        length = (min(int(last), size - 1) if last else size - 1) - start + 1
    if length <= 0:
        raise RangeNotSatisfiable(size=size)
    return start, length


def _disposition(filename: str) -> str:
    """Content-Disposition with both spellings of RFC 6266."""
    plain = re.sub(r"[^ !#-\[\]-~]", "_", filename)
    return f"inline; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"
