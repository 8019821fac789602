"""API keys and tenants in the database.

A key is `kv_live_`, eight characters that name it, and 256 random bits. Only the SHA-256 of the whole is kept: a
random secret of that length needs no slow hash. Every change is audited in its own transaction.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import select

from workers.access import ApiKey, Limits, Scope, Tenant
from workers.audit import note
from workers.errors import IllegalTransition, KeyNotKnown
from workers.ids import new_id
from workers.quota import ensure_tenant, limits_of, locked_tenant
from workers.tables import ApiKeyRow, TenantRow

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from workers.access import Actor
    from workers.database import Database, Transaction

MARK = "kv_live_"
NAME_BYTES = 5  # eight characters
SECRET_BYTES = 32
USED_PRECISION_S = 300.0  # `used_at` is not written more often than this
KNOWN_SCOPES = frozenset(scope.value for scope in Scope)  # a newer version may have given others
NO_HASH = "0" * 64
_TOKEN = re.compile(rf"({MARK}[a-z2-7]{{8}})_([a-z2-7]{{52}})")


@dataclass(frozen=True, slots=True)
class Grant:
    """A key that was verified, and how many requests a minute it may send (0 is no limit).

    `session_expires_at` is when the session ends that stands in for the key; None for the key itself.
    """

    key: ApiKey
    requests_per_minute: int
    session_expires_at: float | None = None


class KeyStore:
    """The `api_keys` and `tenants` tables. Every method raises StoreUnavailable when the database does not answer."""

    def __init__(self, database: Database, *, default_limits: Limits) -> None:
        self._database = database
        self._default_limits = default_limits

    def create(
        self,
        *,
        tenant: str,
        name: str,
        scopes: Collection[Scope],
        actor: Actor,
        expires_in_s: float | None = None,
        requests_per_minute: int | None = None,
    ) -> tuple[ApiKey, str]:
        """Make a key, and its tenant if there is none; the secret is returned here and never again."""
        with self._database.write() as transaction:
            ensure_tenant(transaction, tenant)
            row, token = _new_key(transaction, tenant=tenant, name=name, scopes=scopes)
            row.expires_at = None if expires_in_s is None else transaction.now + expires_in_s
            row.requests_per_minute = requests_per_minute
            note(transaction, actor, "key.create", row.id, tenant=tenant, scopes=row.scopes, prefix=row.prefix)
            return _key_of(row), token

    def rotate(self, key_id: str, *, overlap_s: float, actor: Actor) -> tuple[ApiKey, str]:
        """Make a key that replaces another, which goes on for `overlap_s`; returns the new one and its secret.

        Raises: KeyNotKnown; IllegalTransition when the key has ended or was replaced before.
        """
        with self._database.write() as transaction:
            old = _row(transaction, key_id)
            if not _key_of(old).is_active(transaction.now) or old.replaced_by is not None:
                raise IllegalTransition("This key has ended or was replaced before.")
            row, token = _new_key(
                transaction, tenant=old.tenant, name=old.name, scopes=[Scope(scope) for scope in old.scopes]
            )
            row.requests_per_minute = old.requests_per_minute
            if old.expires_at is not None:  # the new key lives as long as the old one was to
                row.expires_at = transaction.now + old.expires_at - old.created_at
            ends_at = transaction.now + overlap_s
            old.expires_at = ends_at if old.expires_at is None else min(old.expires_at, ends_at)
            old.replaced_by = row.id
            note(transaction, actor, "key.rotate", key_id, replaced_by=row.id, overlap_s=overlap_s)
            return _key_of(row), token

    def revoke(self, key_id: str, *, actor: Actor) -> ApiKey:
        """End a key now; one that is revoked stays as it is.

        Raises: KeyNotKnown.
        """
        with self._database.write() as transaction:
            row = _row(transaction, key_id)
            if row.revoked_at is None:
                row.revoked_at = transaction.now
                note(transaction, actor, "key.revoke", key_id)
            return _key_of(row)

    def all_keys(self) -> Sequence[ApiKey]:
        """Every key that was ever made, by tenant and age."""
        query = select(ApiKeyRow).order_by(ApiKeyRow.tenant, ApiKeyRow.created_at, ApiKeyRow.id)
        with self._database.read() as transaction:
            return [_key_of(row) for row in transaction.session.scalars(query)]

    def has_keys(self) -> bool:
        """Whether any key was ever made, ended ones included: ending the last one must not open the door."""
        with self._database.read() as transaction:
            return transaction.session.scalar(select(ApiKeyRow.id).limit(1)) is not None

    def verify(self, token: str) -> Grant | None:
        """The key that a secret belongs to, while it is active."""
        match = _TOKEN.fullmatch(token)
        if match is None:
            return None
        with self._database.read() as transaction:
            found = transaction.session.execute(
                select(ApiKeyRow, TenantRow)
                .join(TenantRow, TenantRow.id == ApiKeyRow.tenant)
                .where(ApiKeyRow.prefix == match[1])
            ).first()
            now = transaction.now
        expected = found[0].secret_sha256 if found else NO_HASH
        is_right = hmac.compare_digest(hashlib.sha256(token.encode()).hexdigest(), expected)
        if found is None or not is_right:
            return None
        return self._grant(found[0], found[1], now)

    def grant_of(self, key_id: str, *, session_expires_at: float) -> Grant | None:
        """What a session of a key may do, while the key is active."""
        with self._database.read() as transaction:
            row = transaction.session.get(ApiKeyRow, key_id)
            tenant = transaction.session.get(TenantRow, row.tenant) if row is not None else None
            now = transaction.now
        grant = self._grant(row, tenant, now) if row is not None and tenant is not None else None
        return None if grant is None else replace(grant, session_expires_at=session_expires_at)

    def tenants(self) -> Sequence[Tenant]:
        """Every tenant, with its limits in force."""
        with self._database.read() as transaction:
            rows = transaction.session.scalars(select(TenantRow).order_by(TenantRow.id))
            return [self._tenant_of(row) for row in rows]

    def set_limits(
        self, tenant: str, changes: Mapping[str, float | None], *, actor: Actor, weight: float | None = None
    ) -> Tenant:
        """Change limits of a tenant by the names of `Limits`, or its weight; None goes back to the default."""
        with self._database.write() as transaction:
            row = locked_tenant(transaction, tenant)
            for name, value in changes.items():
                setattr(row, name, value)
            if weight is not None:
                row.weight = weight
            note(transaction, actor, "tenant.limit", tenant, **changes, weight=row.weight)
            return self._tenant_of(row)

    def _tenant_of(self, row: TenantRow) -> Tenant:
        return Tenant(row.id, row.weight, limits_of(row, self._default_limits), row.created_at)

    def _grant(self, row: ApiKeyRow, tenant: TenantRow, now: float) -> Grant | None:
        key = _key_of(row)
        if not key.is_active(now):
            return None
        if key.used_at is None or now - key.used_at > USED_PRECISION_S:
            self._note_use(key.id)
        per_minute = key.requests_per_minute
        if per_minute is None:
            per_minute = limits_of(tenant, self._default_limits).requests_per_minute
        return Grant(key, per_minute)

    def _note_use(self, key_id: str) -> None:
        with self._database.write() as transaction:
            _row(transaction, key_id).used_at = transaction.now


def _new_key(transaction: Transaction, *, tenant: str, name: str, scopes: Collection[Scope]) -> tuple[ApiKeyRow, str]:
    prefix = MARK + _letters(NAME_BYTES)
    token = f"{prefix}_{_letters(SECRET_BYTES)}"
    row = ApiKeyRow(
        id=new_id("key"),
        tenant=tenant,
        name=name,
        prefix=prefix,
        last4=token[-4:],
        secret_sha256=hashlib.sha256(token.encode()).hexdigest(),
        scopes=sorted(scopes),
        created_at=transaction.now,
    )
    transaction.session.add(row)
    return row, token


def _letters(num_bytes: int) -> str:
    return base64.b32encode(secrets.token_bytes(num_bytes)).decode().rstrip("=").lower()


def _row(transaction: Transaction, key_id: str) -> ApiKeyRow:
    row = transaction.session.get(ApiKeyRow, key_id, with_for_update=True)
    if row is None:
        raise KeyNotKnown
    return row


def _key_of(row: ApiKeyRow) -> ApiKey:
    return ApiKey(
        id=row.id,
        tenant=row.tenant,
        name=row.name,
        prefix=row.prefix,
        last4=row.last4,
        scopes=frozenset(Scope(scope) for scope in row.scopes if scope in KNOWN_SCOPES),
        created_at=row.created_at,
        requests_per_minute=row.requests_per_minute,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        used_at=row.used_at,
        replaced_by=row.replaced_by,
    )
