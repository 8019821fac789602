"""Files that callers send ahead, as they are kept in the job database."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from workers.access import OPERATOR
from workers.audit import note
from workers.errors import FileExpired, FileNotKnown
from workers.ids import new_id
from workers.records import file_of
from workers.tables import FileRow

if TYPE_CHECKING:
    from workers.access import Actor
    from workers.database import Database, Transaction
    from workers.jobs import StoredFile


def insert_file(transaction: Transaction, file: StoredFile, *, keep_s: float | None) -> StoredFile:
    """Write the row of a file as part of a transaction; see `FileStore.add_file`."""
    expires_at = None if keep_s is None else transaction.now + keep_s
    kept = replace(file, id=file.id or new_id("file"), created_at=transaction.now, expires_at=expires_at)
    row = FileRow(
        id=kept.id,
        tenant=kept.tenant,
        purpose=kept.purpose,
        filename=kept.filename,
        key=kept.media.get("key"),
        media=dict(kept.media),
        created_at=kept.created_at,
        expires_at=kept.expires_at,
    )
    transaction.session.add(row)
    return kept


class FileStore:
    """The files of all tenants. Every method raises StoreUnavailable when the database does not answer."""

    _database: Database

    def add_file(self, file: StoredFile, *, keep_s: float | None = None) -> StoredFile:
        """Keep a file for later requests, for `keep_s` seconds or until it is deleted; `media["key"]` is its blob.

        Times and a missing id are filled in.
        """
        with self._database.write() as transaction:
            return insert_file(transaction, file, keep_s=keep_s)

    def get_file(self, file_id: str, *, tenant: str) -> StoredFile:
        """Read one file of a tenant.

        Raises: FileNotKnown, FileExpired.
        """
        with self._database.read() as transaction:
            row = transaction.session.get(FileRow, file_id)
            if row is None or row.tenant != tenant:
                raise FileNotKnown
            if row.expires_at is not None and row.expires_at <= transaction.now:
                raise FileExpired
            return file_of(row)

    def delete_file(self, file_id: str, *, tenant: str, actor: Actor = OPERATOR) -> None:
        """Forget a file; its blob is swept once no job needs it.

        Raises: FileNotKnown, FileExpired.
        """
        with self._database.write() as transaction:
            row = transaction.session.get(FileRow, file_id, with_for_update=True)
            if row is None or row.tenant != tenant:
                raise FileNotKnown
            if row.expires_at is not None and row.expires_at <= transaction.now:
                raise FileExpired
            transaction.session.delete(row)
            note(transaction, actor, "file.delete", file_id)
