"""How deliveries are tried: signed, again for three days, once at a time, under a fake clock on every database."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest
from contract_webhooks import ACTOR, FAILURE, TENANT, claim, deliveries, dispatch_all, new_endpoint, new_job
from standardwebhooks.webhooks import Webhook

from workers.errors import IllegalTransition
from workers.jobs import EventType
from workers.settings import Settings
from workers.tables import WebhookEndpointRow
from workers.webhooks.dispatcher import Dispatcher
from workers.webhooks.due import DISABLE_AFTER_S, HOLD_S, TRY_DELAYS_S, DueDeliveries
from workers.webhooks.messages import DeliveryStatus
from workers.webhooks.store import ROTATION_OVERLAP_S, WebhookStore

if TYPE_CHECKING:
    from pathlib import Path

    from tests.clocks import FakeClock
    from tests.receivers import Receiver
    from workers.database import Database
    from workers.job_store import JobStore


def test_delivery_carries_what_happened_and_verifies(
    timed_store: JobStore, webhooks: WebhookStore, receiver: Receiver, timed_database: Database, tmp_path: Path
) -> None:
    """The receiver gets one signed body under the delivery's id; the published library accepts it."""
    timed_database._given_clock = None  # the library refuses a time that is not now
    _, secret = webhooks.create(url=receiver.url, events=(EventType.FAILED,), description="", actor=ACTOR)
    job = new_job(timed_store)
    timed_store.fail(claim(timed_store), FAILURE)
    settings = Settings(data_dir=tmp_path, webhook_private_hosts=("127.0.0.1",))

    dispatch_all(Dispatcher(settings, DueDeliveries(timed_database)))

    (got,) = receiver.received
    headers = {name.lower(): value for name, value in got.headers.items()}
    event = Webhook(secret).verify(got.body, headers)
    failed = timed_store.get(job.id, tenant=TENANT)
    assert event["type"] == "video.failed"
    assert event["data"] == {
        "id": job.id,
        "status": "failed",
        "seq": failed.seq,
        "error": {"code": "internal", "message": "It broke."},
    }
    (delivery,) = deliveries(webhooks)
    assert (headers["webhook-id"], headers["content-type"]) == (delivery.id, "application/json")
    assert (delivery.status, delivery.tries, delivery.reply_status) == (DeliveryStatus.DELIVERED, 1, 204)
    assert len(got.body) < 4096


def test_tries_go_on_for_three_days_and_end(
    timed_store: JobStore, webhooks: WebhookStore, receiver: Receiver, clock: FakeClock, dispatcher: Dispatcher
) -> None:
    """A receiver that always fails is tried exactly at the ten moments of the schedule, each time with the same id."""
    endpoint = new_endpoint(webhooks, receiver.url, (EventType.CANCELLED,))
    receiver.statuses(500)
    timed_store.request_cancel(new_job(timed_store).id, tenant=TENANT)
    assert dispatch_all(dispatcher) == 1
    for tries, delay_s in enumerate(TRY_DELAYS_S, start=1):
        clock.advance(delay_s - 1)
        assert dispatch_all(dispatcher) == 0
        assert (deliveries(webhooks)[0].status, deliveries(webhooks)[0].tries) == (DeliveryStatus.PENDING, tries)
        clock.advance(1)
        assert dispatch_all(dispatcher) == 1

    clock.advance(1e6)

    assert dispatch_all(dispatcher) == 0
    (delivery,) = deliveries(webhooks)
    assert (delivery.status, delivery.tries, delivery.error) == (DeliveryStatus.FAILED, 10, "bad_status")
    assert 3 <= sum(TRY_DELAYS_S) / 86_400 < 3.5
    assert len({got.headers["webhook-id"] for got in receiver.received}) == 1
    assert len({got.body for got in receiver.received}) == 1
    assert len({got.headers["webhook-timestamp"] for got in receiver.received}) == 10
    assert webhooks.get(endpoint.id, tenant=TENANT).disabled_reason == "failing"


def test_receiver_that_recovers_gets_everything_once(
    timed_store: JobStore, webhooks: WebhookStore, receiver: Receiver, clock: FakeClock, dispatcher: Dispatcher
) -> None:
    """After an outage each webhook is delivered, and the endpoint counts as healthy."""
    endpoint = new_endpoint(webhooks, receiver.url, (EventType.CANCELLED,))
    receiver.statuses(503)
    for _ in range(5):
        timed_store.request_cancel(new_job(timed_store).id, tenant=TENANT)
    dispatch_all(dispatcher)
    failing = webhooks.get(endpoint.id, tenant=TENANT).failing_since
    receiver.statuses(200)
    receiver.received.clear()

    clock.advance(TRY_DELAYS_S[0])
    dispatch_all(dispatcher)
    dispatch_all(dispatcher)

    assert failing == clock.now - TRY_DELAYS_S[0]
    assert len(receiver.received) == 5
    assert {delivery.status for delivery in deliveries(webhooks)} == {DeliveryStatus.DELIVERED}
    assert webhooks.get(endpoint.id, tenant=TENANT).failing_since is None


def test_receiver_decides_how_long_it_is_left_alone(
    timed_store: JobStore, webhooks: WebhookStore, receiver: Receiver, clock: FakeClock, dispatcher: Dispatcher
) -> None:
    """A Retry-After that is longer than the schedule's wait is kept."""
    new_endpoint(webhooks, receiver.url, (EventType.CANCELLED,))
    receiver.answer = lambda: (503, {"Retry-After": "600"}, b"")
    timed_store.request_cancel(new_job(timed_store).id, tenant=TENANT)

    dispatch_all(dispatcher)

    assert deliveries(webhooks)[0].next_at == clock.now + 600


def test_gone_receiver_is_disabled_at_once(
    timed_store: JobStore, webhooks: WebhookStore, receiver: Receiver, dispatcher: Dispatcher
) -> None:
    """410 ends it: what else is owed is given up, and nothing new is owed."""
    endpoint = new_endpoint(webhooks, receiver.url, (EventType.CANCELLED,))
    receiver.statuses(410)
    timed_store.request_cancel(new_job(timed_store).id, tenant=TENANT)

    dispatch_all(dispatcher)
    timed_store.request_cancel(new_job(timed_store).id, tenant=TENANT)

    assert webhooks.get(endpoint.id, tenant=TENANT).disabled_reason == "gone"
    (delivery,) = deliveries(webhooks)
    assert delivery.status is DeliveryStatus.FAILED
    with pytest.raises(IllegalTransition):
        webhooks.redeliver(delivery.id, tenant=TENANT)


def test_delivery_that_was_written_while_its_endpoint_was_disabled_is_given_up(
    timed_store: JobStore,
    webhooks: WebhookStore,
    receiver: Receiver,
    timed_database: Database,
    dispatcher: Dispatcher,
) -> None:
    """A job's change that looked for endpoints just before may owe one more: it is never sent."""
    endpoint = new_endpoint(webhooks, receiver.url, events=(EventType.STARTED,))
    new_job(timed_store)
    claim(timed_store)
    with timed_database.write() as transaction:
        transaction.session.get_one(WebhookEndpointRow, endpoint.id).disabled_reason = "caller"

    assert dispatch_all(dispatcher) == 0

    (delivery,) = deliveries(webhooks)
    assert (delivery.status, delivery.error, delivery.tries) == (DeliveryStatus.FAILED, "endpoint_disabled", 0)
    assert receiver.received == []


def test_three_days_of_failures_disable_an_endpoint_and_a_success_prevents_it(
    timed_store: JobStore, webhooks: WebhookStore, receiver: Receiver, clock: FakeClock, dispatcher: Dispatcher
) -> None:
    """Only a failure three days after the first one since a success is too much."""
    endpoint = new_endpoint(webhooks, receiver.url, (EventType.CANCELLED,))
    for statuses in ((500,), (200,), (500,)):
        receiver.statuses(*statuses)
        timed_store.request_cancel(new_job(timed_store).id, tenant=TENANT)
        dispatch_all(dispatcher)
        clock.advance(DISABLE_AFTER_S / 2)
    assert webhooks.get(endpoint.id, tenant=TENANT).disabled_reason is None

    clock.advance(DISABLE_AFTER_S / 2)
    dispatch_all(dispatcher)

    assert webhooks.get(endpoint.id, tenant=TENANT).disabled_reason == "failing"
    enabled = webhooks.update(endpoint.id, actor=ACTOR, is_enabled=True)
    assert (enabled.disabled_reason, enabled.failing_since) == (None, None)


def test_redelivery_starts_over_under_the_same_id(
    timed_store: JobStore, webhooks: WebhookStore, receiver: Receiver, dispatcher: Dispatcher
) -> None:
    """A webhook can be had again, delivered or not; receivers recognise it by its id."""
    new_endpoint(webhooks, receiver.url, (EventType.CANCELLED,))
    timed_store.request_cancel(new_job(timed_store).id, tenant=TENANT)
    dispatch_all(dispatcher)
    (delivery,) = deliveries(webhooks)

    again = webhooks.redeliver(delivery.id, tenant=TENANT)
    dispatch_all(dispatcher)

    assert (again.status, again.tries) == (DeliveryStatus.PENDING, 0)
    assert [got.headers["webhook-id"] for got in receiver.received] == [delivery.id] * 2
    assert deliveries(webhooks)[0].status is DeliveryStatus.DELIVERED


def test_rotation_signs_with_both_secrets_for_a_day(
    webhooks: WebhookStore, receiver: Receiver, clock: FakeClock, dispatcher: Dispatcher
) -> None:
    """Two signatures during the overlap, one after it."""
    endpoint, old = webhooks.create(url=receiver.url, events=(), description="", actor=ACTOR)
    _, new = webhooks.rotate_secret(endpoint.id, actor=ACTOR)
    counts = []
    for _ in range(2):
        webhooks.send_test(endpoint.id, tenant=TENANT)
        dispatch_all(dispatcher)
        counts.append(len(receiver.received[-1].headers["webhook-signature"].split()))
        clock.advance(ROTATION_OVERLAP_S)

    assert old != new
    assert counts == [2, 1]
    assert json.loads(receiver.received[0].body)["type"] == "webhook.test"


def test_many_dispatchers_never_try_at_the_same_time(
    timed_store: JobStore, webhooks: WebhookStore, receiver: Receiver, timed_database: Database, tmp_path: Path
) -> None:
    """What one has taken is not due for the others."""
    new_endpoint(webhooks, receiver.url, (EventType.CANCELLED,))
    for _ in range(8):
        timed_store.request_cancel(new_job(timed_store).id, tenant=TENANT)
    settings = Settings(data_dir=tmp_path, webhook_private_hosts=("127.0.0.1",))
    dispatchers = [Dispatcher(settings, DueDeliveries(timed_database)) for _ in range(3)]

    threads = [threading.Thread(target=dispatch_all, args=(dispatcher,)) for dispatcher in dispatchers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    dispatch_all(dispatchers[0])

    ids = [got.headers["webhook-id"] for got in receiver.received]
    assert (len(ids), len(set(ids))) == (8, 8)


def test_dead_dispatchers_deliveries_are_tried_by_another(
    timed_store: JobStore, webhooks: WebhookStore, timed_database: Database, clock: FakeClock
) -> None:
    """What was taken and never settled is due again after its hold; the dead one's late word does not count."""
    new_endpoint(webhooks, events=(EventType.CANCELLED,))
    timed_store.request_cancel(new_job(timed_store).id, tenant=TENANT)
    due = DueDeliveries(timed_database)

    (first,) = due.take(limit=9, busy={})
    assert due.take(limit=9, busy={}) == []
    clock.advance(HOLD_S)
    (second,) = due.take(limit=9, busy={})
    due.settle(first, reply=None, error="timeout", jitter=1.0)

    assert (second.id, second.try_number) == (first.id, 2)
    (delivery,) = deliveries(webhooks)
    assert (delivery.status, delivery.error) == (DeliveryStatus.PENDING, None)


def test_slow_endpoint_takes_only_its_share(
    timed_store: JobStore, webhooks: WebhookStore, timed_database: Database
) -> None:
    """However much is owed to one endpoint, another one's webhooks come through."""
    slow = new_endpoint(webhooks, events=(EventType.CANCELLED,))
    for _ in range(20):
        timed_store.request_cancel(new_job(timed_store).id, tenant=TENANT)
    quick = new_endpoint(webhooks, events=(EventType.STARTED,))
    new_job(timed_store)
    claim(timed_store)
    due = DueDeliveries(timed_database)

    taken = [delivery.endpoint_id for delivery in due.take(limit=9, busy={})]
    more = due.take(limit=9, busy={slow.id: 2, quick.id: 1})

    assert sorted(taken) == sorted([slow.id, slow.id, quick.id])
    assert more == []
