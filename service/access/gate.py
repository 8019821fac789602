"""The gate: finds out who sends a request, by the API key that comes with it.

A verified key is believed for two seconds, so that polling costs no database; a revoked one is out within that time.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool

from service.access.binding import is_loopback
from service.access.principal import Principal
from service.access.rate import RateLimiter
from service.errors import Unauthorized
from service.shared_look import SharedLook
from workers.access import Scope
from workers.key_store import MARK

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.settings import ServiceSettings
    from workers.browser_sessions import BrowserSessions
    from workers.key_store import Grant, KeyStore

BELIEVED_S = 2.0
MAX_BELIEVED = 10_000
UNPRIVILEGED = frozenset(Scope) - {Scope.ADMIN, Scope.METRICS}


@dataclass(frozen=True, slots=True)
class _Finding:
    grant: Grant | None
    until: float


class Gate:
    """Lets requests in, or not. Lives on the event loop."""

    def __init__(self, keys: KeyStore, sessions: BrowserSessions, settings: ServiceSettings) -> None:
        self.rates = RateLimiter()
        self.sessions = sessions
        self._keys = keys
        self._mode = settings.auth
        self._is_local = is_loopback(settings.host)
        self._own_hosts = {"localhost", "127.0.0.1", "::1"}
        if settings.public_url:
            self._own_hosts.add(urlsplit(settings.public_url).hostname or "")
        self._has_keys = False
        self._key_look = SharedLook[bool](fresh_s=BELIEVED_S)
        self._findings: OrderedDict[bytes, _Finding] = OrderedDict()
        self._lookups: dict[bytes, asyncio.Task[Grant | None]] = {}

    async def admit(self, *, authorization: str | None, host: str | None, session: str | None = None) -> Principal:
        """Who sends a request with these header fields; `session` is the secret in a browser's cookie.

        Raises: Unauthorized; StoreUnavailable.
        """
        scheme, _, token = (authorization or "").partition(" ")
        is_bearer = scheme.lower() == "bearer"
        if self._mode == "gateway":
            is_bearer = is_bearer and token.strip().startswith(MARK)  # the gateway's own are not ours to read
            if not is_bearer and session is None:
                return Principal(scopes=UNPRIVILEGED)
        elif await self._is_open():
            return Principal() if self._is_own(host) else Principal(scopes=UNPRIVILEGED)
        grant = await self.grant(token.strip()) if is_bearer else await self._grant_of_session(session)
        return Principal(
            tenant=grant.key.tenant,
            scopes=grant.key.scopes,
            key_id=grant.key.id,
            requests_per_minute=grant.requests_per_minute,
            session_expires_at=grant.session_expires_at,
        )

    async def grant(self, token: str) -> Grant:
        """The active key that a secret belongs to. Raises: Unauthorized; StoreUnavailable."""
        grant = await self._find(token, self._keys.verify)
        if grant is None or not grant.key.is_active(time.time()):
            raise Unauthorized
        return grant

    def forget(self, secret: str) -> None:
        """Believe a secret no longer, for one that has just ended."""
        self._findings.pop(_name_of(secret), None)

    async def _grant_of_session(self, secret: str | None) -> Grant:
        if secret is None:
            raise Unauthorized("Send an API key: `Authorization: Bearer kv_live_...`.")
        grant = await self._find(secret, self.sessions.verify)
        if grant is None or (grant.session_expires_at or 0.0) <= time.time():
            raise Unauthorized("The session has ended: sign in again.")
        return grant

    async def _is_open(self) -> bool:
        """Whether no key is needed: on a loopback address, until the first key is made.

        Raises: StoreUnavailable; a question without an answer opens nothing.
        """
        if self._mode == "required" or not self._is_local or self._has_keys:
            return False
        self._has_keys = await self._key_look.found(self._keys.has_keys)
        return not self._has_keys

    def _is_own(self, host: str | None) -> bool:
        """Whether the request names this server as its owner does; a page that rebinds its own name does not."""
        try:
            return urlsplit(f"//{host or ''}").hostname in self._own_hosts
        except ValueError:  # no host at all
            return False

    async def _find(self, secret: str, verify: Callable[[str], Grant | None]) -> Grant | None:
        name = _name_of(secret)
        now = time.monotonic()
        known = self._findings.get(name)
        if known is not None and known.until > now:
            return known.grant
        lookup = self._lookups.get(name)
        if lookup is None:  # requests that come meanwhile wait for the same answer
            lookup = self._lookups[name] = asyncio.create_task(run_in_threadpool(verify, secret))
            lookup.add_done_callback(lambda _: self._lookups.pop(name, None))
        grant = await asyncio.shield(lookup)
        self._findings[name] = _Finding(grant, now + BELIEVED_S)
        self._findings.move_to_end(name)
        if len(self._findings) > MAX_BELIEVED:
            self._findings.popitem(last=False)
        return grant


def _name_of(secret: str) -> bytes:
    """What a secret is remembered by: it is not kept in memory itself longer than a request."""
    return hashlib.sha256(secret.encode()).digest()
