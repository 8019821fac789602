"""Uploads: files that callers send straight to storage, from their announcement until they are files like others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update

from workers.errors import QuotaExceeded, UploadExpired, UploadNotKnown
from workers.file_store import insert_file
from workers.ids import new_id
from workers.quota import locked_tenant
from workers.records import file_of
from workers.tables import FileRow, UploadRow

if TYPE_CHECKING:
    from workers.database import Database
    from workers.jobs import StoredFile

PREFIX = "uploads"
MAX_PENDING = 100
PENDING_RETRY_S = 60.0


@dataclass(frozen=True, slots=True)
class PendingUpload:
    """What a caller announced: `bytes` of that `sha256`, which will be the file `file_id`."""

    id: str
    tenant: str
    file_id: str
    purpose: str
    filename: str
    bytes: int
    sha256: str
    created_at: float = 0.0
    expires_at: float = 0.0
    is_completed: bool = False

    @property
    def key(self) -> str:
        """Where in storage its bytes arrive."""
        return f"{PREFIX}/{self.id}"


class Uploads:
    """The uploads of all tenants. Every method raises StoreUnavailable when the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, announced: PendingUpload, *, life_s: float) -> PendingUpload:
        """Expect a file for `life_s` seconds; ids and times are filled in.

        Raises: QuotaExceeded when the tenant has too many uploads that it did not complete.
        """
        with self._database.write() as transaction:
            locked_tenant(transaction, announced.tenant)  # those who come at once are counted one after the other
            pending = select(func.count()).where(
                UploadRow.tenant == announced.tenant,
                UploadRow.completed_at.is_(None),
                UploadRow.expires_at > transaction.now,
            )
            if (transaction.session.scalar(pending) or 0) >= MAX_PENDING:
                raise QuotaExceeded(
                    "concurrency_limit",
                    f"{MAX_PENDING} uploads wait to be completed: complete them, or let them expire.",
                    retry_after_s=PENDING_RETRY_S,
                    limit=MAX_PENDING,
                )
            upload = replace(
                announced,
                id=new_id("upload"),
                file_id=new_id("file"),
                created_at=transaction.now,
                expires_at=transaction.now + life_s,
            )
            transaction.session.add(
                UploadRow(
                    id=upload.id,
                    tenant=upload.tenant,
                    file_id=upload.file_id,
                    purpose=upload.purpose,
                    filename=upload.filename,
                    bytes=upload.bytes,
                    sha256=upload.sha256,
                    created_at=upload.created_at,
                    expires_at=upload.expires_at,
                )
            )
            return upload

    def get(self, upload_id: str, *, tenant: str) -> PendingUpload:
        """Read one upload of a tenant. Raises: UploadNotKnown, UploadExpired."""
        with self._database.read() as transaction:
            row = transaction.session.get(UploadRow, upload_id)
            if row is None or row.tenant != tenant:
                raise UploadNotKnown
            if row.completed_at is None and row.expires_at <= transaction.now:
                raise UploadExpired
            return _upload_of(row)

    def complete(self, upload: PendingUpload, file: StoredFile, *, keep_s: float) -> tuple[StoredFile, bool]:
        """Make the file of an upload, once, however often it is asked for; says whether that was now.

        Raises: UploadExpired.
        """
        with self._database.write() as transaction:
            first = (
                update(UploadRow)
                .where(
                    UploadRow.id == upload.id, UploadRow.completed_at.is_(None), UploadRow.expires_at > transaction.now
                )
                .values(completed_at=transaction.now)
                .returning(UploadRow.id)
            )
            if transaction.session.scalar(first) is not None:
                return insert_file(transaction, replace(file, id=upload.file_id), keep_s=keep_s), True
            row = transaction.session.get(FileRow, upload.file_id)
            if row is None:
                raise UploadExpired
            return file_of(row), False


def _upload_of(row: UploadRow) -> PendingUpload:
    return PendingUpload(
        id=row.id,
        tenant=row.tenant,
        file_id=row.file_id,
        purpose=row.purpose,
        filename=row.filename,
        bytes=row.bytes,
        sha256=row.sha256,
        created_at=row.created_at,
        expires_at=row.expires_at,
        is_completed=row.completed_at is not None,
    )
