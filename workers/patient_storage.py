"""Storage as a running job uses it: what fails is tried again, and what was stored is proved to be what was sent."""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import structlog

from workers.errors import BlobNotFound, StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from workers.storage import BlobStore

T = TypeVar("T")

logger = structlog.get_logger(__name__)

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 15.0
TICK_S = 0.1
_NAMED_BY_CONTENT = re.compile(r"inputs/([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class PatientStorage:
    """Blobs of one job: an outage is waited out for `patience_s` seconds, since the work so far is worth more.

    check: raises when the job should stop; called several times a second while waiting.
    """

    storage: BlobStore
    check: Callable[[], None]
    patience_s: float

    def put_file(self, key: str, path: Path, *, content_type: str) -> str:
        """Store a file and read it back; returns its SHA-256 in hexadecimal. Raises: StorageUnavailable."""
        with path.open("rb") as file:
            sent = hashlib.file_digest(file, "sha256").hexdigest()

        def put() -> str:
            self.storage.put_file(key, path, content_type=content_type)
            stored = hashlib.sha256()
            try:
                for chunk in self.storage.open_range(key):
                    stored.update(chunk)
            except BlobNotFound as error:
                raise StorageUnavailable("Storage does not hold what was sent.") from error
            if stored.hexdigest() != sent:
                raise StorageUnavailable("Storage holds other bytes than were sent.")
            return sent

        return self._insist(put, key)

    def put_bytes(self, key: str, content: bytes, *, content_type: str) -> None:
        """Store bytes. Raises: StorageUnavailable."""
        self._insist(lambda: self.storage.put_bytes(key, content, content_type=content_type), key)

    def get_to_file(self, key: str, path: Path) -> None:
        """Copy a blob into a file; one that is named by its content must have it.

        Raises: BlobNotFound, StorageUnavailable.
        """
        named = _NAMED_BY_CONTENT.fullmatch(key)

        def get() -> None:
            self.storage.get_to_file(key, path)
            with path.open("rb") as file:
                if named and hashlib.file_digest(file, "sha256").hexdigest() != named[1]:
                    raise StorageUnavailable("Storage answered with other bytes than were stored.")

        self._insist(get, key)

    def get_bytes(self, key: str) -> bytes:
        """Read a small blob. Raises: BlobNotFound, StorageUnavailable."""
        return self._insist(lambda: self.storage.get_bytes(key), key)

    def _insist(self, act: Callable[[], T], key: str) -> T:
        deadline, wait_s = time.monotonic() + self.patience_s, FIRST_WAIT_S
        while True:
            try:
                return act()
            except StorageUnavailable as error:
                if time.monotonic() + wait_s > deadline:
                    raise
                logger.warning("storage_tried_again", key=key, wait_s=wait_s, reason=str(error))
            self._wait(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, TICK_S))
