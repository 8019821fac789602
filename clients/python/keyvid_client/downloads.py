"""One download that goes on where it broke off, and is checked at its end."""

from __future__ import annotations

import hashlib
import re
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from keyvid_client.errors import BrokenContent

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    import httpx

_SHA256_TAG = re.compile(r'"([0-9a-f]{64})"')


class Download:
    """What has arrived so far of one content."""

    def __init__(self, target: BinaryIO) -> None:
        """Write to `target` from its beginning."""
        self.size = 0
        self._target = target
        self._etag: str | None = None
        self._hash = hashlib.sha256()

    def headers(self) -> dict[str, str]:
        """Headers of the next request: the rest, if it is still the same content."""
        plain = {"Accept-Encoding": "identity"}
        if self._etag is None or not self.size:
            return plain
        return {**plain, "Range": f"bytes={self.size}-", "If-Range": self._etag}

    def begin(self, reply: httpx.Response) -> None:
        """Take an answer's beginning: the rest of what is here, or the whole anew."""
        if reply.status_code != 206:
            self._target.seek(0)
            self._target.truncate()
            self.size = 0
            self._hash = hashlib.sha256()
        self._etag = reply.headers.get("etag")

    def add(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._target.write(chunk)
        self._hash.update(chunk)
        self.size += len(chunk)

    def check(self) -> None:
        """Compare with the SHA-256 that the service names as ETag of a video. Raises: BrokenContent."""
        named = _SHA256_TAG.fullmatch(self._etag or "")
        if named and named[1] != self._hash.hexdigest():
            raise BrokenContent("The content was changed on its way: its SHA-256 differs.")


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file that appears at `path` complete, or not at all."""
    destination = Path(path)
    partial = destination.with_name(f".{destination.name}.{uuid.uuid4().hex[:8]}")
    try:
        with partial.open("xb") as file:
            yield file
        partial.replace(destination)
    finally:
        partial.unlink(missing_ok=True)
