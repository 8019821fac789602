"""What the suites of webhooks do again and again."""

from __future__ import annotations

from concurrent.futures import wait
from typing import TYPE_CHECKING

from contract_requests import video_request

from workers.access import Actor
from workers.jobs import Failure
from workers.webhooks.messages import WEBHOOK_EVENTS, Delivery

if TYPE_CHECKING:
    from workers.job_store import JobStore
    from workers.jobs import EventType, Job, Lease
    from workers.webhooks.dispatcher import Dispatcher
    from workers.webhooks.messages import Endpoint
    from workers.webhooks.store import WebhookStore

TENANT = "default"
ACTOR = Actor(TENANT, "key_1", None)
URL = "https://hooks.example/"
FAILURE = Failure("internal", "It broke.")


def new_endpoint(webhooks: WebhookStore, url: str = URL, events: tuple[EventType, ...] = WEBHOOK_EVENTS) -> Endpoint:
    """An endpoint of the tenant, for all events."""
    return webhooks.create(url=url, events=events, description="", actor=ACTOR)[0]


def new_job(store: JobStore, *, tenant: str = TENANT) -> Job:
    """A job that waits."""
    return store.create(video_request(), tenant=tenant, metadata={})


def claim(store: JobStore, *, lease_s: float = 30.0) -> Lease:
    """Have a worker take the next job."""
    claimed = store.claim("worker", model="keyvid-mini", lease_s=lease_s)
    assert claimed is not None
    return claimed[1]


def deliveries(webhooks: WebhookStore) -> list[Delivery]:
    """The tenant's deliveries, newest first."""
    return list(webhooks.deliveries(tenant=TENANT, after=None, limit=100))


def dispatch_all(dispatcher: Dispatcher) -> int:
    """Try everything that is due; answers how much that was."""
    tried = 0
    while futures := dispatcher.dispatch():
        wait(futures)
        tried += len(futures)
    return tried
