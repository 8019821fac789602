"""Webhooks from the change that owes them to their last try, on every database and under a fake clock."""

from __future__ import annotations

import json
import threading
from concurrent.futures import wait
from typing import TYPE_CHECKING

import pytest
from contract_requests import OUTPUT, video_request
from sqlalchemy import delete
from standardwebhooks.webhooks import Webhook

from tests.receivers import Receiver, receiving
from workers.access import Actor
from workers.errors import IllegalTransition
from workers.job_store import JobStore
from workers.jobs import EventType, Failure, JobStatus
from workers.settings import Settings
from workers.tables import WebhookEndpointRow
from workers.upkeep import Upkeep
from workers.webhooks.dispatcher import Dispatcher
from workers.webhooks.due import DISABLE_AFTER_S, HOLD_S, TRY_DELAYS_S, DueDeliveries
from workers.webhooks.messages import WEBHOOK_EVENTS, Delivery, DeliveryStatus
from workers.webhooks.store import (
    MAX_ENDPOINTS,
    ROTATION_OVERLAP_S,
    DeliveryNotKnown,
    EndpointNotKnown,
    TooManyEndpoints,
    WebhookStore,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.clocks import FakeClock
    from workers.database import Database
    from workers.jobs import Job, Lease
    from workers.webhooks.messages import Endpoint

TENANT = "default"
ACTOR = Actor(TENANT, "key_1", None)
URL = "https://hooks.example/"
FAILURE = Failure("internal", "It broke.")


@pytest.fixture
def store(timed_database: Database) -> JobStore:
    """A job store that goes by the fake clock."""
    return JobStore(timed_database, max_attempts=2, retention_s=1e6)


@pytest.fixture
def webhooks(timed_database: Database) -> WebhookStore:
    """The webhooks of the same database."""
    return WebhookStore(timed_database)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that says 204."""
    with receiving() as running:
        yield running


@pytest.fixture
def dispatcher(timed_database: Database, tmp_path: Path) -> Dispatcher:
    """A dispatcher without chance, which may reach this machine."""
    settings = Settings(data_dir=tmp_path, webhook_private_hosts=("127.0.0.1",), webhook_timeout_seconds=5)
    return Dispatcher(settings, DueDeliveries(timed_database), jitter=lambda: 1.0)


def _endpoint(webhooks: WebhookStore, url: str = URL, events: tuple[EventType, ...] = WEBHOOK_EVENTS) -> Endpoint:
    return webhooks.create(url=url, events=events, description="", actor=ACTOR)[0]


def _create(store: JobStore, *, tenant: str = TENANT) -> Job:
    return store.create(video_request(), tenant=tenant, metadata={})


def _claim(store: JobStore, *, lease_s: float = 30.0) -> Lease:
    claimed = store.claim("worker", model="keyvid-mini", lease_s=lease_s)
    assert claimed is not None
    return claimed[1]


def _deliveries(webhooks: WebhookStore) -> list[Delivery]:
    return list(webhooks.deliveries(tenant=TENANT, after=None, limit=100))


def _dispatch(dispatcher: Dispatcher) -> int:
    """Try everything that is due; answers how much that was."""
    tried = 0
    while futures := dispatcher.dispatch():
        wait(futures)
        tried += len(futures)
    return tried


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
def test_each_change_is_owed_with_the_change(store: JobStore, webhooks: WebhookStore, end: str) -> None:
    """Start and end of a video are owed once, with the number of their event, and nothing else is."""
    _endpoint(webhooks)
    job = _create(store)
    lease = _claim(store)
    store.release(lease, refund=True)
    lease = _claim(store)
    if end == "completed":
        store.complete(lease, OUTPUT, usage={}, engine={})
    elif end == "failed":
        store.fail(lease, FAILURE)
    else:
        store.request_cancel(job.id, tenant=TENANT)
        store.cancelled(lease)

    owed = _deliveries(webhooks)[::-1]

    assert [delivery.type for delivery in owed] == ["video.started", f"video.{end}"]
    assert {delivery.job_id for delivery in owed} == {job.id}
    assert len({delivery.id for delivery in owed}) == 2


def test_change_by_the_reconciler_is_owed_too(store: JobStore, webhooks: WebhookStore, clock: FakeClock) -> None:
    """A job that fails because its workers died is told like any other."""
    _endpoint(webhooks, events=(EventType.FAILED,))
    _create(store)
    for _ in range(2):
        _claim(store, lease_s=1)
        clock.advance(2)
        Upkeep(store.database, retention_s=1e6).end_expired_leases()

    assert [delivery.type for delivery in _deliveries(webhooks)] == ["video.failed"]


def test_change_that_is_refused_owes_nothing(store: JobStore, webhooks: WebhookStore) -> None:
    """What the database rolls back was never news."""
    _endpoint(webhooks)
    job = _create(store)
    stale = _claim(store)
    store.release(stale, refund=True)
    before = _deliveries(webhooks)

    with pytest.raises(Exception, match="belongs to another"):
        store.complete(stale, OUTPUT, usage={}, engine={})

    assert _deliveries(webhooks) == before
    assert store.get(job.id, tenant=TENANT).status is JobStatus.QUEUED


def test_endpoints_hear_of_their_own_tenant_and_events(store: JobStore, webhooks: WebhookStore) -> None:
    """Another tenant's videos, unwanted kinds and disabled endpoints are left out."""
    wants_ends = _endpoint(webhooks, events=(EventType.CANCELLED,))
    _endpoint(webhooks, events=(EventType.COMPLETED,))
    disabled = _endpoint(webhooks)
    webhooks.update(disabled.id, actor=ACTOR, is_enabled=False)
    other = _create(store, tenant="other")
    store.request_cancel(other.id, tenant="other")
    store.request_cancel(_create(store).id, tenant=TENANT)

    assert [delivery.endpoint_id for delivery in _deliveries(webhooks)] == [wants_ends.id]


def test_delivery_carries_what_happened_and_verifies(
    store: JobStore, webhooks: WebhookStore, receiver: Receiver, timed_database: Database, tmp_path: Path
) -> None:
    """The receiver gets one signed body under the delivery's id; the published library accepts it."""
    timed_database._given_clock = None  # the library refuses a time that is not now
    _, secret = webhooks.create(url=receiver.url, events=(EventType.FAILED,), description="", actor=ACTOR)
    job = _create(store)
    store.fail(_claim(store), FAILURE)
    settings = Settings(data_dir=tmp_path, webhook_private_hosts=("127.0.0.1",))

    _dispatch(Dispatcher(settings, DueDeliveries(timed_database)))

    (got,) = receiver.received
    headers = {name.lower(): value for name, value in got.headers.items()}
    event = Webhook(secret).verify(got.body, headers)
    failed = store.get(job.id, tenant=TENANT)
    assert event["type"] == "video.failed"
    assert event["data"] == {
        "id": job.id,
        "status": "failed",
        "seq": failed.seq,
        "error": {"code": "internal", "message": "It broke."},
    }
    (delivery,) = _deliveries(webhooks)
    assert (headers["webhook-id"], headers["content-type"]) == (delivery.id, "application/json")
    assert (delivery.status, delivery.tries, delivery.reply_status) == (DeliveryStatus.DELIVERED, 1, 204)
    assert len(got.body) < 4096


def test_tries_go_on_for_three_days_and_end(
    store: JobStore, webhooks: WebhookStore, receiver: Receiver, clock: FakeClock, dispatcher: Dispatcher
) -> None:
    """A receiver that always fails is tried exactly at the ten moments of the schedule, each time with the same id."""
    endpoint = _endpoint(webhooks, receiver.url, (EventType.CANCELLED,))
    receiver.statuses(500)
    store.request_cancel(_create(store).id, tenant=TENANT)
    assert _dispatch(dispatcher) == 1
    for tries, delay_s in enumerate(TRY_DELAYS_S, start=1):
        clock.advance(delay_s - 1)
        assert _dispatch(dispatcher) == 0
        assert (_deliveries(webhooks)[0].status, _deliveries(webhooks)[0].tries) == (DeliveryStatus.PENDING, tries)
        clock.advance(1)
        assert _dispatch(dispatcher) == 1

    clock.advance(1e6)

    assert _dispatch(dispatcher) == 0
    (delivery,) = _deliveries(webhooks)
    assert (delivery.status, delivery.tries, delivery.error) == (DeliveryStatus.FAILED, 10, "bad_status")
    assert 3 <= sum(TRY_DELAYS_S) / 86_400 < 3.5
    assert len({got.headers["webhook-id"] for got in receiver.received}) == 1
    assert len({got.body for got in receiver.received}) == 1
    assert len({got.headers["webhook-timestamp"] for got in receiver.received}) == 10
    assert webhooks.get(endpoint.id, tenant=TENANT).disabled_reason == "failing"


def test_receiver_that_recovers_gets_everything_once(
    store: JobStore, webhooks: WebhookStore, receiver: Receiver, clock: FakeClock, dispatcher: Dispatcher
) -> None:
    """After an outage each webhook is delivered, and the endpoint counts as healthy."""
    endpoint = _endpoint(webhooks, receiver.url, (EventType.CANCELLED,))
    receiver.statuses(503)
    for _ in range(5):
        store.request_cancel(_create(store).id, tenant=TENANT)
    _dispatch(dispatcher)
    failing = webhooks.get(endpoint.id, tenant=TENANT).failing_since
    receiver.statuses(200)
    receiver.received.clear()

    clock.advance(TRY_DELAYS_S[0])
    _dispatch(dispatcher)
    _dispatch(dispatcher)

    assert failing == clock.now - TRY_DELAYS_S[0]
    assert len(receiver.received) == 5
    assert {delivery.status for delivery in _deliveries(webhooks)} == {DeliveryStatus.DELIVERED}
    assert webhooks.get(endpoint.id, tenant=TENANT).failing_since is None


def test_receiver_decides_how_long_it_is_left_alone(
    store: JobStore, webhooks: WebhookStore, receiver: Receiver, clock: FakeClock, dispatcher: Dispatcher
) -> None:
    """A Retry-After that is longer than the schedule's wait is kept."""
    _endpoint(webhooks, receiver.url, (EventType.CANCELLED,))
    receiver.answer = lambda: (503, {"Retry-After": "600"}, b"")
    store.request_cancel(_create(store).id, tenant=TENANT)

    _dispatch(dispatcher)

    assert _deliveries(webhooks)[0].next_at == clock.now + 600


def test_gone_receiver_is_disabled_at_once(
    store: JobStore, webhooks: WebhookStore, receiver: Receiver, dispatcher: Dispatcher
) -> None:
    """410 ends it: what else is owed is given up, and nothing new is owed."""
    endpoint = _endpoint(webhooks, receiver.url, (EventType.CANCELLED,))
    receiver.statuses(410)
    store.request_cancel(_create(store).id, tenant=TENANT)

    _dispatch(dispatcher)
    store.request_cancel(_create(store).id, tenant=TENANT)

    assert webhooks.get(endpoint.id, tenant=TENANT).disabled_reason == "gone"
    (delivery,) = _deliveries(webhooks)
    assert delivery.status is DeliveryStatus.FAILED
    with pytest.raises(IllegalTransition):
        webhooks.redeliver(delivery.id, tenant=TENANT)


def test_three_days_of_failures_disable_an_endpoint_and_a_success_prevents_it(
    store: JobStore, webhooks: WebhookStore, receiver: Receiver, clock: FakeClock, dispatcher: Dispatcher
) -> None:
    """Only a failure three days after the first one since a success is too much."""
    endpoint = _endpoint(webhooks, receiver.url, (EventType.CANCELLED,))
    for statuses in ((500,), (200,), (500,)):
        receiver.statuses(*statuses)
        store.request_cancel(_create(store).id, tenant=TENANT)
        _dispatch(dispatcher)
        clock.advance(DISABLE_AFTER_S / 2)
    assert webhooks.get(endpoint.id, tenant=TENANT).disabled_reason is None

    clock.advance(DISABLE_AFTER_S / 2)
    _dispatch(dispatcher)

    assert webhooks.get(endpoint.id, tenant=TENANT).disabled_reason == "failing"
    enabled = webhooks.update(endpoint.id, actor=ACTOR, is_enabled=True)
    assert (enabled.disabled_reason, enabled.failing_since) == (None, None)


def test_redelivery_starts_over_under_the_same_id(
    store: JobStore, webhooks: WebhookStore, receiver: Receiver, dispatcher: Dispatcher
) -> None:
    """A webhook can be had again, delivered or not; receivers recognise it by its id."""
    _endpoint(webhooks, receiver.url, (EventType.CANCELLED,))
    store.request_cancel(_create(store).id, tenant=TENANT)
    _dispatch(dispatcher)
    (delivery,) = _deliveries(webhooks)

    again = webhooks.redeliver(delivery.id, tenant=TENANT)
    _dispatch(dispatcher)

    assert (again.status, again.tries) == (DeliveryStatus.PENDING, 0)
    assert [got.headers["webhook-id"] for got in receiver.received] == [delivery.id] * 2
    assert _deliveries(webhooks)[0].status is DeliveryStatus.DELIVERED


def test_rotation_signs_with_both_secrets_for_a_day(
    webhooks: WebhookStore, receiver: Receiver, clock: FakeClock, dispatcher: Dispatcher
) -> None:
    """Two signatures during the overlap, one after it."""
    endpoint, old = webhooks.create(url=receiver.url, events=(), description="", actor=ACTOR)
    _, new = webhooks.rotate_secret(endpoint.id, actor=ACTOR)
    counts = []
    for _ in range(2):
        webhooks.send_test(endpoint.id, tenant=TENANT)
        _dispatch(dispatcher)
        counts.append(len(receiver.received[-1].headers["webhook-signature"].split()))
        clock.advance(ROTATION_OVERLAP_S)

    assert old != new
    assert counts == [2, 1]
    assert json.loads(receiver.received[0].body)["type"] == "webhook.test"


def test_many_dispatchers_never_try_at_the_same_time(
    store: JobStore, webhooks: WebhookStore, receiver: Receiver, timed_database: Database, tmp_path: Path
) -> None:
    """What one has taken is not due for the others."""
    _endpoint(webhooks, receiver.url, (EventType.CANCELLED,))
    for _ in range(8):
        store.request_cancel(_create(store).id, tenant=TENANT)
    settings = Settings(data_dir=tmp_path, webhook_private_hosts=("127.0.0.1",))
    dispatchers = [Dispatcher(settings, DueDeliveries(timed_database)) for _ in range(3)]

    threads = [threading.Thread(target=_dispatch, args=(dispatcher,)) for dispatcher in dispatchers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _dispatch(dispatchers[0])

    ids = [got.headers["webhook-id"] for got in receiver.received]
    assert (len(ids), len(set(ids))) == (8, 8)


def test_dead_dispatchers_deliveries_are_tried_by_another(
    store: JobStore, webhooks: WebhookStore, timed_database: Database, clock: FakeClock
) -> None:
    """What was taken and never settled is due again after its hold; the dead one's late word does not count."""
    _endpoint(webhooks, events=(EventType.CANCELLED,))
    store.request_cancel(_create(store).id, tenant=TENANT)
    due = DueDeliveries(timed_database)

    (first,) = due.take(limit=9, busy={})
    assert due.take(limit=9, busy={}) == []
    clock.advance(HOLD_S)
    (second,) = due.take(limit=9, busy={})
    due.settle(first, reply=None, error="timeout", jitter=1.0)

    assert (second.id, second.try_number) == (first.id, 2)
    (delivery,) = _deliveries(webhooks)
    assert (delivery.status, delivery.error) == (DeliveryStatus.PENDING, None)


def test_slow_endpoint_takes_only_its_share(store: JobStore, webhooks: WebhookStore, timed_database: Database) -> None:
    """However much is owed to one endpoint, another one's webhooks come through."""
    slow = _endpoint(webhooks, events=(EventType.CANCELLED,))
    for _ in range(20):
        store.request_cancel(_create(store).id, tenant=TENANT)
    quick = _endpoint(webhooks, events=(EventType.STARTED,))
    _create(store)
    _claim(store)
    due = DueDeliveries(timed_database)

    taken = [delivery.endpoint_id for delivery in due.take(limit=9, busy={})]
    more = due.take(limit=9, busy={slow.id: 2, quick.id: 1})

    assert sorted(taken) == sorted([slow.id, slow.id, quick.id])
    assert more == []


def test_endpoints_and_deliveries_belong_to_a_tenant(store: JobStore, webhooks: WebhookStore) -> None:
    """Nobody else can see, change, test, rotate or delete them, or have them again."""
    endpoint = _endpoint(webhooks, events=(EventType.CANCELLED,))
    store.request_cancel(_create(store).id, tenant=TENANT)
    (delivery,) = _deliveries(webhooks)
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


def test_deleted_endpoint_takes_its_deliveries_along(store: JobStore, webhooks: WebhookStore) -> None:
    """Nothing is sent to it any more, and later changes owe it nothing."""
    endpoint = _endpoint(webhooks)
    job = _create(store)
    store.request_cancel(job.id, tenant=TENANT)

    webhooks.delete(endpoint.id, actor=ACTOR)
    store.request_cancel(_create(store).id, tenant=TENANT)

    assert _deliveries(webhooks) == []
    assert webhooks.list(tenant=TENANT) == []


def test_endpoint_that_is_deleted_while_a_job_ends_does_not_break_the_job(
    store: JobStore, webhooks: WebhookStore, timed_database: Database
) -> None:
    """The job's own change waits for the deletion, and then owes nothing."""
    _endpoint(webhooks, events=(EventType.COMPLETED,))
    job = _create(store)
    lease = _claim(store)
    ending = threading.Thread(target=lambda: store.complete(lease, OUTPUT, usage={}, engine={}))

    with timed_database.write() as transaction:
        transaction.session.execute(delete(WebhookEndpointRow))
        ending.start()
        ending.join(0.3)
        assert ending.is_alive()
    ending.join()

    assert store.get(job.id, tenant=TENANT).status is JobStatus.COMPLETED
    assert _deliveries(webhooks) == []


def test_number_of_endpoints_is_bounded(webhooks: WebhookStore) -> None:
    """One tenant cannot multiply every change without end."""
    for _ in range(MAX_ENDPOINTS):
        _endpoint(webhooks)

    with pytest.raises(TooManyEndpoints):
        _endpoint(webhooks)


def test_settled_deliveries_are_forgotten_in_time(
    store: JobStore, webhooks: WebhookStore, receiver: Receiver, clock: FakeClock, dispatcher: Dispatcher
) -> None:
    """Pages of deliveries join without gap, and old ones go while what is owed stays."""
    _endpoint(webhooks, receiver.url, (EventType.CANCELLED,))
    for _ in range(3):
        store.request_cancel(_create(store).id, tenant=TENANT)
    _dispatch(dispatcher)
    receiver.statuses(500)
    clock.advance(60)
    store.request_cancel(_create(store).id, tenant=TENANT)
    _dispatch(dispatcher)
    first = webhooks.deliveries(tenant=TENANT, after=None, limit=2)
    rest = webhooks.deliveries(tenant=TENANT, after=first[-1].id, limit=9)
    assert [*first, *rest] == _deliveries(webhooks)

    DueDeliveries(store.database).forget_settled(after_s=60)

    assert [delivery.status for delivery in _deliveries(webhooks)] == [DeliveryStatus.PENDING]
