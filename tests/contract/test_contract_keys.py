"""What every job database must do for API keys, and for what was in it before there were any."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from alembic import command
from alembic.config import Config
from contract_requests import video_request
from sqlalchemy import MetaData, create_engine, select, text
from sqlalchemy.engine import make_url

from workers.access import USUAL_SCOPES, Actor, Limits, Scope
from workers.audit import AuditLog
from workers.database import Database, open_engine, upgrade
from workers.errors import IllegalTransition, KeyNotKnown
from workers.job_store import JobStore
from workers.jobs import JobStatus, Priority
from workers.key_store import KeyStore
from workers.tables import ApiKeyRow, AuditRow, TenantRow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from workers.access import ApiKey

ADMIN = Actor("default", "operator")


@pytest.fixture
def keys(database: Database) -> KeyStore:
    """A key store without keys; tenants may send 100 requests a minute."""
    return KeyStore(database, default_limits=Limits(requests_per_minute=100))


def _make(keys: KeyStore, **options: object) -> tuple[ApiKey, str]:
    made = {"tenant": "acme", "name": "site", "scopes": USUAL_SCOPES, "actor": ADMIN, **options}
    return keys.create(**made)  # type: ignore[arg-type]


def test_new_key_opens_for_its_tenant_and_scopes(keys: KeyStore) -> None:
    """The secret that is shown once is what opens."""
    key, secret = _make(keys, scopes=[Scope.FILES])

    grant = keys.verify(secret)

    assert grant is not None
    assert (grant.key.id, grant.key.tenant, grant.key.scopes) == (key.id, "acme", {Scope.FILES})
    assert (secret.startswith(key.prefix), secret.endswith(key.last4)) == (True, True)
    assert len(secret.removeprefix(key.prefix + "_")) * 5 >= 256
    assert grant.requests_per_minute == 100


def test_secret_is_stored_nowhere(database: Database, keys: KeyStore) -> None:
    """Whoever reads the database cannot use a key."""
    key, secret = _make(keys)
    hidden = secret.removeprefix(key.prefix + "_")[:-4]

    with database.engine.connect() as connection:
        for table in (ApiKeyRow, AuditRow, TenantRow):
            assert hidden not in str(connection.execute(select(table.__table__)).all())


@pytest.mark.parametrize("damage", ["", "none", "last", "other", "cut", "case", "space"])
def test_anything_but_the_secret_is_refused(keys: KeyStore, damage: str) -> None:
    """A wrong ending, another key's secret, and malformed text open nothing."""
    _, secret = _make(keys)
    other, _ = _make(keys)
    wrong = {
        "": "",
        "none": "kv_live_" + "a" * 8 + "_" + "a" * 52,
        "last": secret[:-1] + ("a" if secret[-1] != "a" else "b"),
        "other": other.prefix + secret[len(other.prefix) :],
        "cut": secret[:-1],
        "case": secret.upper(),
        "space": secret + " ",
    }

    assert keys.verify(wrong[damage]) is None


def test_key_ends_when_it_expires_or_is_revoked(keys: KeyStore) -> None:
    """Neither an ended nor a revoked key opens, and revoking twice is harmless."""
    _, expired = _make(keys, expires_in_s=-1.0)
    key, secret = _make(keys, expires_in_s=60.0)
    assert keys.verify(expired) is None
    assert keys.verify(secret) is not None

    revoked = keys.revoke(key.id, actor=ADMIN)

    assert keys.verify(secret) is None
    assert keys.revoke(key.id, actor=ADMIN) == revoked
    assert keys.has_keys()


def test_rotation_overlaps(keys: KeyStore) -> None:
    """Both secrets open during the overlap; the new key has everything of the old one."""
    old, old_secret = _make(keys, requests_per_minute=7, expires_in_s=1000.0)

    new, new_secret = keys.rotate(old.id, overlap_s=60.0, actor=ADMIN)

    assert keys.verify(old_secret) is not None
    grant = keys.verify(new_secret)
    assert grant is not None
    assert (grant.key.tenant, grant.key.name, grant.key.scopes) == (old.tenant, old.name, old.scopes)
    assert grant.requests_per_minute == 7
    assert new.expires_at == pytest.approx(new.created_at + 1000.0, abs=1)
    replaced = next(key for key in keys.all_keys() if key.id == old.id)
    assert replaced.expires_at == pytest.approx(time.time() + 60.0, abs=5)
    assert replaced.replaced_by == new.id


def test_rotation_without_overlap_ends_the_old_key(keys: KeyStore) -> None:
    """A leaked key can be replaced at once, and only once."""
    old, old_secret = _make(keys)

    _, new_secret = keys.rotate(old.id, overlap_s=0.0, actor=ADMIN)

    assert keys.verify(old_secret) is None
    assert keys.verify(new_secret) is not None
    with pytest.raises(IllegalTransition):
        keys.rotate(old.id, overlap_s=60.0, actor=ADMIN)


def test_unknown_key_is_an_error(keys: KeyStore) -> None:
    """Nothing is rotated or revoked by a wrong name."""
    with pytest.raises(KeyNotKnown):
        keys.revoke("key_none", actor=ADMIN)
    with pytest.raises(KeyNotKnown):
        keys.rotate("key_none", overlap_s=0.0, actor=ADMIN)


def test_every_deed_is_audited(database: Database, keys: KeyStore) -> None:
    """Making, rotating and revoking stand in the log with who did it."""
    key, _ = _make(keys)
    new, _ = keys.rotate(key.id, overlap_s=0.0, actor=Actor("acme", "key_7", "r1"))
    keys.revoke(new.id, actor=ADMIN)
    keys.set_limits("acme", {"max_queued": 5}, actor=ADMIN)

    log = AuditLog(database).entries(before=None, limit=9)[::-1]

    assert [(entry.action, entry.target, entry.actor.name) for entry in log] == [
        ("key.create", key.id, "operator"),
        ("key.rotate", key.id, "key_7"),
        ("key.revoke", new.id, "operator"),
        ("tenant.limit", "acme", "operator"),
    ]


def test_use_is_noted(keys: KeyStore) -> None:
    """An operator sees which keys are in use."""
    key, secret = _make(keys)
    assert key.used_at is None

    keys.verify(secret)

    (used,) = keys.all_keys()
    assert used.used_at == pytest.approx(time.time(), abs=60)


def test_scope_of_a_newer_version_is_passed_over(database: Database, keys: KeyStore) -> None:
    """A key that a newer version made still opens what this one knows."""
    key, secret = _make(keys)
    with database.write() as transaction:
        transaction.session.get_one(ApiKeyRow, key.id).scopes = ["files", "teleport"]

    grant = keys.verify(secret)

    assert grant is not None
    assert grant.key.scopes == {Scope.FILES}


def test_limits_of_a_tenant_change_and_go_back(keys: KeyStore) -> None:
    """A tenant's own limit wins; None is the default again; the weight stays unless named."""
    keys.set_limits("acme", {"requests_per_minute": 5}, actor=ADMIN, weight=2.0)
    own = keys.set_limits("acme", {"max_running": 3}, actor=ADMIN)
    back = keys.set_limits("acme", {"requests_per_minute": None}, actor=ADMIN)

    assert (own.limits.requests_per_minute, own.limits.max_running, own.weight) == (5, 3, 2.0)
    assert back.limits.requests_per_minute == 100
    assert "acme" in [tenant.id for tenant in keys.tenants()]


@contextmanager
def _old_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database whose tables are the first ones."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/old.db"
    else:
        server = request.getfixturevalue("postgres_url")
        url = make_url(server).set(database="old_keyvid").render_as_string(hide_password=False)
        _administer(server, "CREATE DATABASE old_keyvid")
    config = Config()
    config.set_main_option("script_location", "workers/migrations")
    engine = open_engine(url)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    yield url
    if request.param != "sqlite":
        _administer(server, "DROP DATABASE old_keyvid WITH (FORCE)")


def _administer(url: str, statement: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


def _old_job(number: int, status: JobStatus) -> dict[str, object]:
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


@pytest.fixture(params=["sqlite", "postgresql"])
def old_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of the first version with one job in every state, and one file."""
    with _old_database(request, tmp_path) as url:
        engine = open_engine(url)
        with engine.begin() as connection:
            tables = MetaData()
            tables.reflect(connection)
            rows = [_old_job(number, status) for number, status in enumerate(JobStatus)]
            connection.execute(tables.tables["jobs"].insert(), rows)
            file = {"id": "file_1", "tenant": "default", "purpose": "audio", "filename": "a.wav", "media": {}}
            connection.execute(tables.tables["files"].insert(), [{**file, "created_at": 1.0}])
        engine.dispose()
        yield url


def test_jobs_of_the_first_version_go_on(old_url: str) -> None:
    """After the migration every job is the default tenant's, in its state, and the waiting one can be claimed."""
    upgrade(old_url)
    upgrade(old_url)
    database = Database(old_url)
    store = JobStore(database, max_attempts=3, retention_s=60.0, default_limits=Limits(max_queued=1, max_running=1))

    jobs = store.list(tenant="default", after=None, limit=9, order="asc", status=None)
    claimed = store.claim("worker-a", model="keyvid-mini", lease_s=30.0)

    assert [job.status for job in jobs] == list(JobStatus)
    assert {job.priority for job in jobs} == {Priority.NORMAL}
    assert claimed is not None
    assert claimed[0].id == "video_0"
    assert store.get_file("file_1", tenant="default").filename == "a.wav"
    assert store.usage(tenant="default").limits == Limits()  # nobody was limited before
    database.close()
