"""The backends that each contract suite runs against: embedded ones always, servers when their address is set."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from workers.database import Database, upgrade
from workers.job_store import JobStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_ATTEMPTS = 2
RETENTION_S = 1000.0


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty job database of this version."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/keyvid.db"
        upgrade(url)
        database = Database(url)
        yield database
        database.close()
        return
    server = os.environ.get("KEYVID_TEST_POSTGRES_URL")
    if not server:
        pytest.skip("KEYVID_TEST_POSTGRES_URL names no PostgreSQL server")
    name = f"keyvid_{uuid.uuid4().hex}"
    admin = create_engine(make_url(server).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    url = make_url(server).set(database=name).render_as_string(hide_password=False)
    upgrade(url)
    database = Database(url)
    yield database
    database.close()
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def store(database: Database) -> JobStore:
    """A job store on an empty database: two attempts, blobs kept for 1000 s."""
    return JobStore(database, max_attempts=MAX_ATTEMPTS, retention_s=RETENTION_S)
