"""Who sends a request, as far as it is known."""

from __future__ import annotations

from dataclasses import dataclass

from workers.access import DEFAULT_TENANT, Actor, Scope
from workers.jobs import NO_ORIGIN, Origin

ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class Principal:
    """The sender of one request: a key of a tenant, or whoever can reach a server that asks for no key."""

    tenant: str = DEFAULT_TENANT
    scopes: frozenset[Scope] = frozenset(Scope)
    key_id: str | None = None
    requests_per_minute: int = 0
    origin: Origin = NO_ORIGIN
    session_expires_at: float | None = None  # of the browser's session that stands in for the key

    @property
    def actor(self) -> Actor:
        """How the audit log calls the sender."""
        return Actor(self.tenant, self.key_id or ANONYMOUS, self.origin.request_id)
