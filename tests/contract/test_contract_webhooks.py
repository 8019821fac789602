"""Which webhooks are owed, from the change that owes them until they are forgotten, on every database."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from contract_requests import OUTPUT
from contract_webhooks import ACTOR, FAILURE, TENANT, URL, claim, deliveries, dispatch_all, new_endpoint, new_job
from sqlalchemy import delete

from workers.access import Actor
from workers.errors import IllegalTransition
from workers.jobs import EventType, JobStatus
from workers.tables import WebhookDeliveryRow, WebhookEndpointRow
from workers.upkeep import Upkeep
from workers.webhooks.due import DueDeliveries
from workers.webhooks.messages import DeliveryStatus
from workers.webhooks.store import (
    MAX_ENDPOINTS,
    DeliveryNotKnown,
    EndpointNotKnown,
    TooManyEndpoints,
    WebhookStore,
    disable,
    locked_endpoint,
)

if TYPE_CHECKING:
    from tests.clocks import FakeClock
    from tests.receivers import Receiver
    from workers.database import Database
    from workers.job_store import JobStore
    from workers.webhooks.dispatcher import Dispatcher


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
def test_each_change_is_owed_with_the_change(timed_store: JobStore, webhooks: WebhookStore, end: str) -> None:
    """Start and end of a video are owed once, with the number of their event, and nothing else is."""
    new_endpoint(webhooks)
    job = new_job(timed_store)
    lease = claim(timed_store)
    timed_store.release(lease, refund=True)
    lease = claim(timed_store)
    if end == "completed":
        timed_store.complete(lease, OUTPUT, usage={}, engine={})
    elif end == "failed":
        timed_store.fail(lease, FAILURE)
    else:
        timed_store.request_cancel(job.id, tenant=TENANT)
        timed_store.cancelled(lease)

    owed = deliveries(webhooks)[::-1]

    assert [delivery.type for delivery in owed] == ["video.started", f"video.{end}"]
    assert {delivery.job_id for delivery in owed} == {job.id}
    assert len({delivery.id for delivery in owed}) == 2


def test_change_by_the_reconciler_is_owed_too(timed_store: JobStore, webhooks: WebhookStore, clock: FakeClock) -> None:
    """A job that fails because its workers died is told like any other."""
    new_endpoint(webhooks, events=(EventType.FAILED,))
    new_job(timed_store)
    for _ in range(2):
        claim(timed_store, lease_s=1)
        clock.advance(2)
        Upkeep(timed_store.database, retention_s=1e6).end_expired_leases()

    assert [delivery.type for delivery in deliveries(webhooks)] == ["video.failed"]


def test_change_that_is_refused_owes_nothing(timed_store: JobStore, webhooks: WebhookStore) -> None:
    """What the database rolls back was never news."""
    new_endpoint(webhooks)
    job = new_job(timed_store)
    stale = claim(timed_store)
    timed_store.release(stale, refund=True)
    before = deliveries(webhooks)

    with pytest.raises(Exception, match="belongs to another"):
        timed_store.complete(stale, OUTPUT, usage={}, engine={})

    assert deliveries(webhooks) == before
    assert timed_store.get(job.id, tenant=TENANT).status is JobStatus.QUEUED


def test_endpoints_hear_of_their_own_tenant_and_events(timed_store: JobStore, webhooks: WebhookStore) -> None:
    """Another tenant's videos, unwanted kinds and disabled endpoints are left out."""
    wants_ends = new_endpoint(webhooks, events=(EventType.CANCELLED,))
    new_endpoint(webhooks, events=(EventType.COMPLETED,))
    disabled = new_endpoint(webhooks)
    webhooks.update(disabled.id, actor=ACTOR, is_enabled=False)
    other = new_job(timed_store, tenant="other")
    timed_store.request_cancel(other.id, tenant="other")
    timed_store.request_cancel(new_job(timed_store).id, tenant=TENANT)

    assert [delivery.endpoint_id for delivery in deliveries(webhooks)] == [wants_ends.id]


def test_endpoints_and_deliveries_belong_to_a_tenant(timed_store: JobStore, webhooks: WebhookStore) -> None:
    """Nobody else can see, change, test, rotate or delete them, or have them again."""
    endpoint = new_endpoint(webhooks, events=(EventType.CANCELLED,))
    timed_store.request_cancel(new_job(timed_store).id, tenant=TENANT)
    (delivery,) = deliveries(webhooks)
    other = Actor("other", "key_2", None)

    for call in (
        lambda: webhooks.get(endpoint.id, tenant="other"),
        lambda: webhooks.update(endpoint.id, actor=other, url=URL),
        lambda: webhooks.delete(endpoint.id, actor=other),
        lambda: webhooks.rotate_secret(endpoint.id, actor=other),
        lambda: webhooks.send_test(endpoint.id, tenant="other"),
    ):
        with pytest.raises(EndpointNotKnown):
            call()
    with pytest.raises(DeliveryNotKnown):
        webhooks.redeliver(delivery.id, tenant="other")
    assert webhooks.list(tenant="other") == []
    assert webhooks.deliveries(tenant="other", after=None, limit=9) == []


def test_deleted_endpoint_takes_its_deliveries_along(timed_store: JobStore, webhooks: WebhookStore) -> None:
    """Nothing is sent to it any more, and later changes owe it nothing."""
    endpoint = new_endpoint(webhooks)
    job = new_job(timed_store)
    timed_store.request_cancel(job.id, tenant=TENANT)

    webhooks.delete(endpoint.id, actor=ACTOR)
    timed_store.request_cancel(new_job(timed_store).id, tenant=TENANT)

    assert deliveries(webhooks) == []
    assert webhooks.list(tenant=TENANT) == []


def test_endpoint_that_is_deleted_while_a_job_ends_does_not_break_the_job(
    timed_store: JobStore, webhooks: WebhookStore, timed_database: Database
) -> None:
    """The job's own change waits for the deletion, and then owes nothing."""
    new_endpoint(webhooks, events=(EventType.COMPLETED,))
    job = new_job(timed_store)
    lease = claim(timed_store)
    ending = threading.Thread(target=lambda: timed_store.complete(lease, OUTPUT, usage={}, engine={}))

    with timed_database.write() as transaction:
        transaction.session.execute(delete(WebhookEndpointRow))
        ending.start()
        ending.join(0.3)
        assert ending.is_alive()
    ending.join()

    assert timed_store.get(job.id, tenant=TENANT).status is JobStatus.COMPLETED
    assert deliveries(webhooks) == []


def test_number_of_endpoints_is_bounded(webhooks: WebhookStore) -> None:
    """One tenant cannot multiply every change without end."""
    for _ in range(MAX_ENDPOINTS):
        new_endpoint(webhooks)

    with pytest.raises(TooManyEndpoints):
        new_endpoint(webhooks)


def test_parallel_endpoints_keep_the_bound(webhooks: WebhookStore) -> None:
    """Requests at the same moment cannot pass the bound together."""
    for _ in range(MAX_ENDPOINTS - 1):
        new_endpoint(webhooks)
    refusals: list[TooManyEndpoints] = []
    together = threading.Barrier(6)

    def create() -> None:
        together.wait(10)
        try:
            new_endpoint(webhooks)
        except TooManyEndpoints as error:
            refusals.append(error)

    threads = [threading.Thread(target=create) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(refusals) == 5
    assert len(webhooks.list(tenant=TENANT)) == MAX_ENDPOINTS


def test_redelivery_waits_for_an_endpoint_that_is_being_disabled(
    timed_store: JobStore, webhooks: WebhookStore, timed_database: Database
) -> None:
    """What its caller disables at the same moment is sent nothing more."""
    endpoint = new_endpoint(webhooks)
    new_job(timed_store)
    claim(timed_store)
    (owed,) = deliveries(webhooks)
    with timed_database.write() as transaction:
        transaction.session.get_one(WebhookDeliveryRow, owed.id).status = DeliveryStatus.FAILED
    refusals: list[IllegalTransition] = []

    def redeliver() -> None:
        try:
            webhooks.redeliver(owed.id, tenant=TENANT)
        except IllegalTransition as error:
            refusals.append(error)

    asking = threading.Thread(target=redeliver)
    with timed_database.write() as transaction:
        row = locked_endpoint(transaction, WebhookEndpointRow.id == endpoint.id)
        assert row is not None
        disable(transaction, row, "caller")
        transaction.session.flush()
        asking.start()
        asking.join(0.3)
        assert asking.is_alive()
    asking.join()

    assert len(refusals) == 1
    assert [delivery.status for delivery in deliveries(webhooks)] == [DeliveryStatus.FAILED]


def test_settled_deliveries_are_forgotten_in_time(
    timed_store: JobStore, webhooks: WebhookStore, receiver: Receiver, clock: FakeClock, dispatcher: Dispatcher
) -> None:
    """Pages of deliveries join without gap, and old ones go while what is owed stays."""
    new_endpoint(webhooks, receiver.url, (EventType.CANCELLED,))
    for _ in range(3):
        timed_store.request_cancel(new_job(timed_store).id, tenant=TENANT)
    dispatch_all(dispatcher)
    receiver.statuses(500)
    clock.advance(60)
    timed_store.request_cancel(new_job(timed_store).id, tenant=TENANT)
    dispatch_all(dispatcher)
    first = webhooks.deliveries(tenant=TENANT, after=None, limit=2)
    rest = webhooks.deliveries(tenant=TENANT, after=first[-1].id, limit=9)
    assert [*first, *rest] == deliveries(webhooks)

    DueDeliveries(timed_store.database).forget_settled(after_s=60)

    assert [delivery.status for delivery in deliveries(webhooks)] == [DeliveryStatus.PENDING]
