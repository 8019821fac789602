"""The backends that each contract suite runs against: the embedded ones, and real servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
import pytest
from moto.server import ThreadedMotoServer
from sqlalchemy import text

from tests.clocks import FakeClock
from workers.database import Database, upgrade
from workers.job_store import JobStore
from workers.settings import Settings
from workers.storage import open_storage
from workers.tables import Base

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from workers.storage import BlobStore

MAX_ATTEMPTS = 2
RETENTION_S = 1000.0
BUCKET = "keyvid"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty job database of this version."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/keyvid.db"
        upgrade(url)
        return url
    url = str(request.getfixturevalue("postgres_url"))
    upgrade(url)
    database = Database(url)  # one for the whole session: emptying it is faster than making it
    with database.engine.begin() as connection:
        connection.execute(text(f"TRUNCATE {', '.join(Base.metadata.tables)} RESTART IDENTITY"))
    database.close()
    return url


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


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The address of an S3 server that keeps everything in memory and checks no signatures."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    """Empty blob storage."""
    if request.param == "local":
        return open_storage(Settings(data_dir=tmp_path))
    endpoint = request.getfixturevalue("s3_endpoint")
    bucket = f"{BUCKET}-{tmp_path.name.replace('_', '-').lower()[-40:]}".strip("-")
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="id", aws_secret_access_key="secret"
    )
    client.create_bucket(Bucket=bucket)
    return open_storage(
        Settings(
            data_dir=tmp_path,
            storage="s3",
            s3_bucket=bucket,
            s3_endpoint_url=endpoint,
            s3_access_key_id="id",
            s3_secret_access_key="secret",
        )
    )
