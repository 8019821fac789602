"""Who may do what: tenants with their limits, API keys with their scopes, and entries of the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_TENANT = "default"  # everything that came without a key belongs to it; it has no limits until it is given some


class Scope(StrEnum):
    """What a key may be used for."""

    VIDEOS_READ = "videos:read"
    VIDEOS_WRITE = "videos:write"
    VIDEOS_PRIORITY = "videos:priority"  # ask for `high`, which goes before the tenant's other videos
    FILES = "files"
    WEBHOOKS = "webhooks"
    METRICS = "metrics"  # scrape /metrics
    ADMIN = "admin"


USUAL_SCOPES = (Scope.VIDEOS_READ, Scope.VIDEOS_WRITE, Scope.FILES, Scope.WEBHOOKS)


MOST_OF_A_LIMIT = 1_000_000_000  # a column of 32 bits holds more; who needs more than this needs no limit


@dataclass(frozen=True, slots=True)
class Limits:
    """What a tenant may use; 0 means no limit. `max_running` delays, the others refuse."""

    requests_per_minute: int = 0
    creates_per_minute: int = 0
    max_running: int = 0
    max_queued: int = 0
    compute_seconds_per_day: float = 0.0


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant; `weight` is its share of the workers' time where several wait."""

    id: str
    weight: float
    limits: Limits
    created_at: float


@dataclass(frozen=True, slots=True)
class Usage:
    """What a tenant holds and has used: jobs by state, and seconds of runners on the present day (UTC)."""

    limits: Limits
    running: int
    queued: int
    compute_seconds_today: float
    seconds_left_today: float


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One API key without its secret: `prefix` and `last4` are the parts that may be shown. Times are unix seconds."""

    id: str
    tenant: str
    name: str
    prefix: str
    last4: str
    scopes: frozenset[Scope]
    created_at: float
    requests_per_minute: int | None = None
    expires_at: float | None = None
    revoked_at: float | None = None
    used_at: float | None = None
    replaced_by: str | None = None

    def is_active(self, now: float) -> bool:
        """Whether the key opens anything at a time."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something: a tenant and the id of its key, or `operator` at the command line, or `anonymous`."""

    tenant: str
    name: str
    request_id: str | None = None


OPERATOR = Actor(DEFAULT_TENANT, "operator")


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One entry of the audit log; `row` orders them."""

    row: int
    at: float
    actor: Actor
    action: str
    target: str
    detail: Mapping[str, Any]
