"""Who stands still in the middle of a transaction holds up others for seconds at most, on PostgreSQL."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from workers.database import Database, upgrade
from workers.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

IDLE_MS = 300


@pytest.fixture
def impatient(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A database on PostgreSQL that waits a third of a second for whoever stands still."""
    monkeypatch.setattr("workers.database.IDLE_TIMEOUT_MS", IDLE_MS)
    database = Database(postgres_url)
    yield database
    database.close()


def _stand_still(database: Database) -> None:
    """Take the lock under which all events are written, and be away with it while another process wants it."""
    with database.write() as frozen:
        frozen.lock_events()
        with database.write() as other:  # waits until PostgreSQL takes the lock back
            other.lock_events()
        frozen.session.execute(text("SELECT 1"))


def test_locks_of_a_frozen_process_are_taken_back(impatient: Database) -> None:
    """The other one goes on, the late write is refused, and the next transaction of the frozen one works."""
    with pytest.raises(StoreUnavailable):
        _stand_still(impatient)

    with impatient.write() as transaction:
        transaction.lock_events()


def test_a_long_migration_keeps_its_lock(
    impatient: Database, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one process migrates for longer than that, its lock and its transaction stand."""

    def migrate_slowly(_connection: object) -> str:
        time.sleep(3 * IDLE_MS / 1000)
        with impatient.read() as transaction:
            locked.append(bool(transaction.session.scalar(held)))
        return "migrated"

    held = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
    locked: list[bool] = []
    monkeypatch.setattr("workers.database.migrate", migrate_slowly)

    assert upgrade(postgres_url) == "migrated"
    assert locked == [True]
