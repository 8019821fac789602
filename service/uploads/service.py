"""What can be done with an upload. Everything here blocks and runs in a thread."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import structlog

from service.errors import PayloadTooLarge, ServiceError, UploadIncomplete, UploadMismatch
from service.files.service import FILE_FIELD, FileService, describe, max_bytes
from service.media.validation import Upload as ReceivedUpload
from service.multipart import clean_filename
from service.uploads.schemas import Upload
from workers.errors import BlobNotFound, StorageUnavailable
from workers.uploads import PendingUpload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service.files.schemas import File
    from service.uploads.schemas import CreateUpload
    from workers.uploads import Uploads

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class UploadService:
    """Operations on one tenant's uploads; what they become are `files`."""

    uploads: Uploads
    files: FileService

    def create(self, announced: CreateUpload, *, base_url: str) -> Upload:
        """Expect a file, and make the link that takes its bytes.

        Raises: PayloadTooLarge; QuotaExceeded, StorageUnavailable.
        """
        settings = self.files.settings
        most = max_bytes(announced.purpose, settings)
        if announced.bytes > most:
            raise PayloadTooLarge(f"The file may have at most {most / 1e6:g} MB.", param="bytes")
        pending = PendingUpload(
            id="",
            tenant=self.files.tenant,
            file_id="",
            purpose=announced.purpose,
            filename=clean_filename(announced.filename),
            bytes=announced.bytes,
            sha256=announced.sha256,
        )
        upload = self.uploads.begin(pending, life_s=settings.upload_seconds)
        link = self.files.storage.signed_upload(upload.key, expires_s=settings.upload_seconds, size=upload.bytes)
        return Upload(
            id=upload.id,
            file_id=upload.file_id,
            upload_url=base_url.rstrip("/") + link.url if link.url.startswith("/") else link.url,
            headers=dict(link.headers),
            bytes=upload.bytes,
            created_at=int(upload.created_at),
            expires_at=int(upload.expires_at),
        )

    def complete(self, upload_id: str) -> tuple[File, bool]:
        """Check what arrived in storage and make it a file, once; says whether that was now.

        What is refused is removed from storage; the link takes other bytes until it expires.
        Raises: UploadIncomplete, UploadMismatch, RefusedUpload, UnsupportedMedia, PayloadTooLarge; UploadNotKnown,
        UploadExpired, FileNotKnown, StorageUnavailable.
        """
        upload = self.uploads.get(upload_id, tenant=self.files.tenant)
        if upload.is_completed:
            return self.files.get(upload.file_id), False
        try:
            with self._received(upload) as received:
                checked = self.files.check(received, purpose=upload.purpose)
        except UploadIncomplete:
            if self.uploads.get(upload_id, tenant=self.files.tenant).is_completed:  # another call was faster
                return self.files.get(upload.file_id), False
            raise
        except ServiceError as error:
            if error.status < 500:
                self._drop(upload)
            raise
        keep_s = self.files.settings.file_retention_seconds
        file, is_new = self.uploads.complete(upload, checked, keep_s=keep_s)
        self._drop(upload)
        return describe(file), is_new

    @contextmanager
    def _received(self, upload: PendingUpload) -> Iterator[ReceivedUpload]:
        """A copy of the bytes in storage, which nobody can change any more, once they are what was announced.

        Raises: UploadIncomplete, UploadMismatch; StorageUnavailable.
        """
        storage, temp_dir = self.files.storage, self.files.settings.temp_dir
        temp_dir.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="upload-", dir=temp_dir) as folder:
            path = Path(folder, "part-0")
            try:
                if storage.stat(upload.key).size != upload.bytes:
                    raise UploadMismatch
                storage.get_to_file(upload.key, path)
            except BlobNotFound as error:
                raise UploadIncomplete from error
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            if (path.stat().st_size, sha256) != (upload.bytes, upload.sha256):
                raise UploadMismatch
            yield ReceivedUpload(FILE_FIELD, upload.filename, path, upload.bytes, sha256)

    def _drop(self, upload: PendingUpload) -> None:
        """Remove the bytes as they were sent; where storage fails now, the reconciler sweeps them later."""
        try:
            self.files.storage.delete(upload.key)
        except StorageUnavailable:
            logger.warning("upload_left_to_be_swept", upload_id=upload.id)
