"""Fixtures that every suite may use: the real servers, started once a session."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from tests.servers import (
    keeps_attributes,
    postgres_folder,
    postgres_server,
    redis_binary,
    redis_server,
    swift_server,
)
from workers.database import Database, upgrade
from workers.tables import Base

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import S3Server

# Read when torch is loaded. Threads of torch that spin while idle starve the servers and workers that tests start.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

MISSING_SERVER_FAILS = os.environ.get("CI") == "true"


def missing(server: str) -> None:
    """Skip the test for want of a server; where CI runs, where every server must be, fail it."""
    reason = f"{server} is not there: tests/install-servers installs servers on Debian and Ubuntu"
    if MISSING_SERVER_FAILS:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real Redis."""
    if redis_binary() is None:
        missing("Redis")
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The SQLAlchemy URL of a job database of this version on a real PostgreSQL, in which tests leave things."""
    if postgres_folder() is None:
        missing("PostgreSQL")
    with postgres_server(tmp_path_factory.mktemp("postgres")) as url:
        upgrade(url)
        yield url


@pytest.fixture
def postgres_url(postgres_database: str) -> str:
    """The SQLAlchemy URL of an empty job database of this version on a real PostgreSQL."""
    database = Database(postgres_database)  # one for the whole session: emptying it is faster than making it
    with database.engine.begin() as connection:
        connection.execute(text(f"TRUNCATE {', '.join(Base.metadata.tables)} RESTART IDENTITY"))
    database.close()
    return postgres_database


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server that checks signatures: OpenStack Swift."""
    folder = tmp_path_factory.mktemp("swift")
    if not keeps_attributes(folder):
        missing("a file system with user extended attributes for pytest's temporary files")
    with swift_server(folder) as server:
        yield server
