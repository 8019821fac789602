"""How many uploads a tenant may have begun, on every database."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from workers import uploads
from workers.errors import QuotaExceeded
from workers.quota import locked_tenant
from workers.tables import UploadRow
from workers.uploads import PendingUpload, Uploads

if TYPE_CHECKING:
    import pytest

    from workers.database import Database

TENANT = "acme"
ANNOUNCED = PendingUpload("", TENANT, "", "image", "cat.jpg", 10, "0" * 64)


def test_upload_is_counted_behind_one_that_begins(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Announcements at the same moment cannot pass the bound together."""
    monkeypatch.setattr(uploads, "MAX_PENDING", 2)
    store = Uploads(database)
    store.begin(ANNOUNCED, life_s=60)
    refusals: list[QuotaExceeded] = []

    def begin() -> None:
        try:
            store.begin(ANNOUNCED, life_s=60)
        except QuotaExceeded as error:
            refusals.append(error)

    asking = threading.Thread(target=begin)
    with database.write() as transaction:
        locked_tenant(transaction, TENANT)
        asking.start()
        asking.join(0.3)
        transaction.session.add(
            UploadRow(
                id="upload_1",
                tenant=TENANT,
                file_id="file_1",
                purpose="image",
                filename="cat.jpg",
                bytes=10,
                sha256="0" * 64,
                created_at=transaction.now,
                expires_at=transaction.now + 60,
            )
        )
    asking.join()

    assert len(refusals) == 1
