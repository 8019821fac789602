"""What every job database must do for API keys."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from workers.access import USUAL_SCOPES, Actor, Limits, Scope
from workers.audit import AuditLog
from workers.errors import IllegalTransition, KeyNotKnown
from workers.key_store import KeyStore
from workers.tables import ApiKeyRow, AuditRow, TenantRow

if TYPE_CHECKING:
    from workers.access import ApiKey
    from workers.database import Database

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
