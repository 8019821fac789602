"""Sessions of browsers: a short-lived secret that stands in for an API key, and ends with it."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete

from workers.tables import BrowserSessionRow

if TYPE_CHECKING:
    from workers.access import ApiKey
    from workers.database import Database
    from workers.key_store import Grant, KeyStore

SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """One session as its holder gets it; the database has only a hash of the secret."""

    secret: str
    expires_at: float


class BrowserSessions:
    """The sessions of all tenants. Every method raises StoreUnavailable when the database does not answer."""

    def __init__(self, database: Database, keys: KeyStore) -> None:
        self._database = database
        self._keys = keys

    def open(self, key: ApiKey, *, life_s: float) -> BrowserSession:
        """Begin a session of an active key: for `life_s` seconds, or until the key expires."""
        secret = secrets.token_urlsafe(SECRET_BYTES)
        with self._database.write() as transaction:
            expires_at = min(transaction.now + life_s, key.expires_at or float("inf"))
            transaction.session.add(
                BrowserSessionRow(
                    secret_sha256=_digest(secret), key_id=key.id, created_at=transaction.now, expires_at=expires_at
                )
            )
            return BrowserSession(secret, expires_at)

    def verify(self, secret: str) -> Grant | None:
        """The key that a session stands in for, while both are active."""
        with self._database.read() as transaction:
            row = transaction.session.get(BrowserSessionRow, _digest(secret))
            if row is None or row.expires_at <= transaction.now:
                return None
            key_id, expires_at = row.key_id, row.expires_at
        return self._keys.grant_of(key_id, session_expires_at=expires_at)

    def close(self, secret: str) -> None:
        """End a session; one that has ended is no error."""
        with self._database.write() as transaction:
            ended = delete(BrowserSessionRow).where(BrowserSessionRow.secret_sha256 == _digest(secret))
            transaction.session.execute(ended)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
