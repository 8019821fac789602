"""Blobs: bytes under a key, in a local folder or in an S3 bucket, behind one interface.

Keys are ours (`inputs/<sha256>`, `outputs/<job>/<fence>/video.mp4`), never a caller's words.
Links to local blobs expire and are signed, with the same life cycle as S3's presigned ones.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from workers.settings import Settings

MAX_KEY_LENGTH = 200
SEGMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
CHUNK_BYTES = 256 * 1024
UPLOAD_HEADERS = MappingProxyType({"Content-Type": "application/octet-stream"})


@dataclass(frozen=True, slots=True)
class UploadLink:
    """Where a blob may be PUT by whoever has the link, and the header fields that must come with it."""

    url: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class BlobStat:
    """What is known of a blob without reading it; `modified_at` in unix seconds."""

    key: str
    size: int
    etag: str
    modified_at: float


class BlobStore(Protocol):
    """Blobs under keys. Every method raises StorageUnavailable when storage does not answer."""

    def put_file(self, key: str, path: Path, *, content_type: str) -> BlobStat:
        """Store a file whole: readers see all of it or nothing. An older blob of the key is replaced."""
        ...

    def put_bytes(self, key: str, content: bytes, *, content_type: str) -> BlobStat:
        """Store bytes whole, like `put_file`."""
        ...

    def get_to_file(self, key: str, path: Path) -> None:
        """Copy a blob into a file. Raises: BlobNotFound."""
        ...

    def get_bytes(self, key: str) -> bytes:
        """Read a small blob. Raises: BlobNotFound."""
        ...

    def open_range(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Read `length` bytes from `start` (to the end when None) in chunks.

        Raises: BlobNotFound, from the call itself rather than from the first chunk.
        """
        ...

    def stat(self, key: str) -> BlobStat:
        """Look a blob up. Raises: BlobNotFound."""
        ...

    def delete(self, key: str) -> None:
        """Remove a blob; one that is not there is no error."""
        ...

    def list_prefix(self, prefix: str) -> Iterator[BlobStat]:
        """List the blobs whose key begins with `prefix`, in no order; `etag` may be empty."""
        ...

    def signed_url(self, key: str, *, expires_s: int, filename: str) -> str:
        """Make a link that anybody may follow for `expires_s` seconds and that saves as `filename`.

        Local storage answers with a path below the API's own address.
        """
        ...

    def signed_upload(self, key: str, *, expires_s: int, size: int) -> UploadLink:
        """Make a link by which anybody may PUT exactly `size` bytes under the key for `expires_s` seconds.

        Local storage answers with a path below the API's own address.
        """
        ...

    def ping(self) -> None:
        """Prove that blobs can be written."""
        ...


def open_storage(settings: Settings) -> BlobStore:
    """Open the storage that the settings name."""
    if settings.storage == "s3":
        from workers.storage_s3 import S3BlobStore  # noqa: PLC0415 - boto3 takes 30 MB that local storage does not need

        return S3BlobStore.from_settings(settings)
    from workers.storage_local import LocalBlobStore  # noqa: PLC0415

    return LocalBlobStore(settings.blob_dir, signing_key=settings.signing_key())


def preview_key(job_id: str, fence: int) -> str:
    """Where the newest preview of an attempt is."""
    return f"outputs/{job_id}/{fence}/preview.jpg"


def checked_key(key: str) -> str:
    """Return the key if it is one that we would make.

    Raises: ValueError for anything that could name another place.
    """
    segments = key.split("/")
    if len(key) > MAX_KEY_LENGTH or not all(SEGMENT.fullmatch(segment) for segment in segments):
        raise ValueError("not a blob key")
    return key


def local_link(signing_key: bytes, key: str, *, expires_s: int, filename: str) -> str:
    """Make the path and query of a signed link to a local blob."""
    expires = int(time.time()) + expires_s
    query = {"expires": expires, "filename": filename, "signature": _signature(signing_key, key, expires, filename)}
    return f"/v1/blobs/{quote(checked_key(key))}?{urlencode(query)}"


def is_local_link_valid(signing_key: bytes, key: str, *, expires: int, filename: str, signature: str) -> bool:
    """Whether a link to a local blob was made by this installation and has not expired."""
    genuine = _signature(signing_key, key, expires, filename)
    return hmac.compare_digest(genuine.encode(), signature.encode()) and expires >= time.time()


def local_upload(signing_key: bytes, key: str, *, expires_s: int, size: int) -> UploadLink:
    """Make a signed link for the upload of a local blob of `size` bytes."""
    expires = int(time.time()) + expires_s
    signature = _signature(signing_key, key, expires, str(size), purpose="keyvid-upload-v1")
    query = {"expires": expires, "size": size, "signature": signature}
    return UploadLink(f"/v1/blobs/{quote(checked_key(key))}?{urlencode(query)}", UPLOAD_HEADERS)


def is_local_upload_valid(signing_key: bytes, key: str, *, expires: int, size: int, signature: str) -> bool:
    """Whether a link for an upload was made by this installation for this key and size, and has not expired."""
    genuine = _signature(signing_key, key, expires, str(size), purpose="keyvid-upload-v1")
    return hmac.compare_digest(genuine.encode(), signature.encode()) and expires >= time.time()


def _signature(signing_key: bytes, key: str, expires: int, detail: str, *, purpose: str = "keyvid-blob-v1") -> str:
    message = "\n".join((purpose, key, str(expires), detail))
    return hmac.new(signing_key, message.encode(), hashlib.sha256).hexdigest()
