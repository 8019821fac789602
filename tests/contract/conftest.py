"""The backends that each contract suite runs against: the embedded ones, and real servers."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from tests.clocks import FakeClock
from tests.receivers import Receiver, receiving
from workers.database import Database, upgrade
from workers.job_store import JobStore
from workers.settings import Settings
from workers.storage import open_storage
from workers.webhooks.dispatcher import Dispatcher
from workers.webhooks.due import DueDeliveries
from workers.webhooks.store import WebhookStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers import S3Server
    from workers.storage import BlobStore

MAX_ATTEMPTS = 2
RETENTION_S = 1000.0


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty job database of this version."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/keyvid.db"
        upgrade(url)
        return url
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An empty job database of this version."""
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still unless it is moved."""
    return FakeClock()


@pytest.fixture
def timed_database(database_url: str, clock: FakeClock) -> Iterator[Database]:
    """An empty job database that goes by the fake clock."""
    database = Database(database_url, clock=clock)
    yield database
    database.close()


@pytest.fixture
def store(database: Database) -> JobStore:
    """A job store on an empty database: two attempts, blobs kept for 1000 s."""
    return JobStore(database, max_attempts=MAX_ATTEMPTS, retention_s=RETENTION_S)


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    """Empty blob storage: a folder, or a bucket of a server that checks signatures."""
    if request.param == "local":
        return open_storage(Settings(data_dir=tmp_path))
    server: S3Server = request.getfixturevalue("s3_server")
    return open_storage(Settings(data_dir=tmp_path, **server.new_bucket(f"contract-{secrets.token_hex(8)}")))


@pytest.fixture
def timed_store(timed_database: Database) -> JobStore:
    """A job store that goes by the fake clock."""
    return JobStore(timed_database, max_attempts=2, retention_s=1e6)


@pytest.fixture
def webhooks(timed_database: Database) -> WebhookStore:
    """The webhooks of the same database."""
    return WebhookStore(timed_database)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that says 204."""
    with receiving() as running:
        yield running


@pytest.fixture
def dispatcher(timed_database: Database, tmp_path: Path) -> Dispatcher:
    """A dispatcher without chance, which may reach this machine."""
    settings = Settings(data_dir=tmp_path, webhook_private_hosts=("127.0.0.1",), webhook_timeout_seconds=5)
    return Dispatcher(settings, DueDeliveries(timed_database), jitter=lambda: 1.0)
