"""What every job database must do when versions change: jobs of before go on, and processes of before go on with them.

Old processes stand in as what they know: the tables of their revision, and the requests that they understand.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from contract_requests import MODEL, OUTPUT, TENANT, claim_job, create_job, video_request
from sqlalchemy import Engine, MetaData, create_engine, inspect, text
from sqlalchemy.engine import make_url

from workers.access import Limits
from workers.contract import PAYLOAD_VERSION, VideoRequest
from workers.database import Database, open_engine, upgrade
from workers.errors import IllegalTransition
from workers.job_store import JobStore
from workers.jobs import JobStatus, Priority
from workers.schema import _config, _known
from workers.tables import Base

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from workers.jobs import Job

REVISIONS = tuple(reversed(_known()))
FIRST_FIELDS = "version model prompt image audio image_fit audio_start width height seed"


@contextmanager
def _empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/old.db"
        return
    server = request.getfixturevalue("postgres_url")
    _administer(server, "CREATE DATABASE old_keyvid")
    try:
        yield make_url(server).set(database="old_keyvid").render_as_string(hide_password=False)
    finally:
        _administer(server, "DROP DATABASE old_keyvid WITH (FORCE)")


def _administer(url: str, statement: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database without tables."""
    with _empty_database(request, tmp_path) as url:
        engine = open_engine(url)
        yield engine
        engine.dispose()


def _url(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def _move_to(engine: Engine, revision: str) -> MetaData:
    """Bring a database to a revision, and read its tables as a process of that version knows them."""
    config, known = _config(), MetaData()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        known.reflect(connection)
    return known


def _old_job(number: int, status: JobStatus) -> dict[str, Any]:
    request = video_request()
    counts = {"progress": 0, "seq": 1, "attempt": 1, "max_attempts": 3, "fence": 1, "not_before": 0.0}
    documents = {"caller_metadata": {}, "stages": [], "engine": {}, "usage": {}}
    return {
        **counts,
        **documents,
        "id": f"video_{number}",
        "tenant": "default",
        "status": status.value,
        "stage": "queued",
        "request": request.model_dump(mode="json"),
        "model": request.model,
        "image_key": request.image.key,
        "audio_key": request.audio.key,
        "created_at": float(number),
    }


def _fill(engine: Engine, known: MetaData) -> None:
    """One job in every state and one file, written by a process that knows only these tables."""
    file = {
        "id": "file_1",
        "tenant": "default",
        "purpose": "audio",
        "filename": "a.wav",
        "media": {},
        "created_at": 1.0,
    }
    with engine.begin() as connection:
        rows = [_old_job(number, status) for number, status in enumerate(JobStatus)]
        connection.execute(known.tables["jobs"].insert(), rows)
        connection.execute(known.tables["files"].insert(), [file])


@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_jobs_of_every_version_go_on(old: Engine, revision: str) -> None:
    """After the migration every job is the default tenant's, in its state, and the waiting one can be made."""
    _fill(old, _move_to(old, revision))

    upgrade(_url(old))
    upgrade(_url(old))

    database = Database(_url(old))
    store = JobStore(database, max_attempts=3, retention_s=60.0, default_limits=Limits(max_queued=1, max_running=1))
    jobs = store.list(tenant="default", after=None, limit=9, order="asc", status=None)
    assert [job.status for job in jobs] == list(JobStatus)
    assert {job.priority for job in jobs} == {Priority.NORMAL}
    assert store.get_file("file_1", tenant="default").filename == "a.wav"
    assert store.usage(tenant="default").limits == Limits()  # nobody was limited before
    lease = claim_job(store)
    assert lease.job_id == "video_0"
    assert store.complete(lease, OUTPUT, usage={}, engine={}) is JobStatus.COMPLETED
    database.close()


@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_processes_of_every_version_go_on(old: Engine, revision: str) -> None:
    """What a process writes that knows only its own version's columns is as good after the migration as before."""
    known = _move_to(old, revision)
    upgrade(_url(old))

    _fill(old, known)
    with old.begin() as connection:
        jobs = known.tables["jobs"]
        connection.execute(jobs.update().where(jobs.c.id == "video_1").values(progress=7, seq=2))
        read = connection.execute(jobs.select().where(jobs.c.id == "video_1")).one()

    assert read.progress == 7
    database = Database(_url(old))
    store = JobStore(database, max_attempts=3, retention_s=60.0)
    assert len(store.list(tenant="default", after=None, limit=9, order="asc", status=None)) == len(JobStatus)
    assert claim_job(store).job_id == "video_0"
    database.close()


def test_migrations_only_add(old: Engine) -> None:
    """No table, column or index of any version goes or narrows, and none comes that older processes could break on."""
    before: dict[str, dict[str, Any]] = {}
    for revision in REVISIONS:
        _move_to(old, revision)
        after = _shape(old)
        for table, parts in before.items():
            assert table in after, revision
            assert parts["unique"] == after[table]["unique"], f"{revision} lets fewer rows into {table}"
            for name, column in parts["columns"].items():
                assert after[table]["columns"].get(name) == column, f"{revision} changes {table}.{name}"
            for name in after[table]["columns"].keys() - parts["columns"].keys():
                column = after[table]["columns"][name]
                assert column["nullable"] or column["default"], f"{revision}: old rows have no {table}.{name}"
        before = after


def _shape(engine: Engine) -> dict[str, dict[str, Any]]:
    """The tables: their columns with type, and what must be unique."""
    found = inspect(engine)
    return {
        table: {
            "columns": {
                column["name"]: {
                    "type": str(column["type"]),
                    "nullable": column["nullable"],
                    "default": column["default"] is not None or bool(column.get("autoincrement") is True),
                }
                for column in found.get_columns(table)
            },
            "unique": sorted(
                [tuple(index["column_names"]) for index in found.get_indexes(table) if index["unique"]]
                + [tuple(constraint["column_names"]) for constraint in found.get_unique_constraints(table)]
            ),
        }
        for table in found.get_table_names()
    }


def test_migrations_make_the_tables_of_the_code(old: Engine) -> None:
    """A column that the code has and no migration makes would be missed only in production."""
    upgrade(_url(old))

    with old.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Base.metadata)

    assert [item for item in differences if "server_default" not in str(item)] == []


def _bring_forward(database: Database) -> None:
    """Do what a future version's migration may do."""
    with database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE jobs ADD COLUMN mood VARCHAR(9) DEFAULT 'calm' NOT NULL"))
        connection.execute(text("CREATE TABLE moods (id VARCHAR(9) PRIMARY KEY)"))
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))


def test_database_of_a_newer_version_is_used_as_it_is(database_url: str) -> None:
    """A process of this version starts on it, changes nothing, and makes a job there; it is ready to serve."""
    database = Database(database_url)
    try:
        _bring_forward(database)

        upgrade(database_url)

        assert (database.schema().found, database.schema().is_ahead, database.schema().is_behind) == (
            "9999",
            True,
            False,
        )
        store = JobStore(database, max_attempts=2, retention_s=60.0)
        create_job(store)
        assert store.complete(claim_job(store), OUTPUT, usage={}, engine={}) is JobStatus.COMPLETED
    finally:
        with database.engine.begin() as connection:  # PostgreSQL's is the whole session's
            connection.execute(text("ALTER TABLE jobs DROP COLUMN mood"))
            connection.execute(text("DROP TABLE moods"))
            connection.execute(text("UPDATE alembic_version SET version_num = :known"), {"known": REVISIONS[-1]})
        database.close()


def _newer(store: JobStore, job: Job) -> None:
    """Let a job's request be one that a newer version wrote."""
    with store.database.engine.begin() as connection:
        jobs = Base.metadata.tables["jobs"]
        said = {**job.request.model_dump(mode="json"), "version": PAYLOAD_VERSION + 1, "mood": "calm"}
        connection.execute(jobs.update().where(jobs.c.id == job.id).values(request=said))


def test_requests_of_a_newer_version_wait_for_its_workers(store: JobStore) -> None:
    """This version's worker passes over what it would make wrongly, takes the rest, and the API can show both."""
    newer, known = create_job(store), create_job(store, seed=2)
    _newer(store, newer)

    assert claim_job(store).job_id == known.id
    assert store.claim("worker-b", model=MODEL, lease_s=30.0) is None
    assert store.get(newer.id, tenant=TENANT).status is JobStatus.QUEUED
    assert {job.id for job in store.list(tenant=TENANT, after=None, limit=9, order="asc", status=None)} == {
        newer.id,
        known.id,
    }
    store.request_cancel(newer.id, tenant=TENANT)
    with pytest.raises(IllegalTransition):
        store.create_again(newer.id, tenant=TENANT)


def test_requests_of_every_version_can_be_read() -> None:
    """No field that a stored request may have goes, and one that came later has a value where it is not there."""
    fields = VideoRequest.model_fields

    assert set(FIRST_FIELDS.split()) <= fields.keys()
    assert [name for name in fields.keys() - set(FIRST_FIELDS.split()) if fields[name].is_required()] == []
