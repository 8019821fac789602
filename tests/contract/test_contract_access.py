"""What every job database must do for tenants: turns, limits, idempotency keys, quarantine."""

from __future__ import annotations

import random
import threading
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from contract_requests import OUTPUT, video_request
from sqlalchemy import select, text

from workers.access import Actor, Limits
from workers.audit import AuditLog
from workers.errors import IdempotencyKeyReused, InputNotKnown, InputQuarantined, QuotaExceeded
from workers.idempotency import IdempotencyKey
from workers.job_store import JobStore
from workers.jobs import Failure, JobStatus, Priority
from workers.quarantine import POISON, Quarantine, pair_digest
from workers.tables import JobRow, TenantRow, UsageRow

if TYPE_CHECKING:
    from workers.database import Database
    from workers.jobs import Job, Lease

MODEL = "keyvid-mini"
KEY = IdempotencyKey("order-7", "f" * 64, life_s=60.0)
ADMIN = Actor("default", "key_admin", "request-1")


def _store(database: Database, **limits: float) -> JobStore:
    return JobStore(database, max_attempts=2, retention_s=1000.0, default_limits=Limits(**limits))  # type: ignore[arg-type]


def _create(store: JobStore, tenant: str, **options: object) -> Job:
    return store.create(video_request(), tenant=tenant, metadata={}, **options)  # type: ignore[arg-type]


def _claim(store: JobStore) -> tuple[Job, Lease]:
    claimed = store.claim("worker-a", model=MODEL, lease_s=30.0)
    assert claimed is not None
    return claimed


def _run_next(store: JobStore) -> str:
    """Run the next job to its end; answers whose it was."""
    job, lease = _claim(store)
    store.complete(lease, OUTPUT, usage={}, engine={})
    return job.tenant


def test_flood_of_one_tenant_delays_anothers_job_by_one(store: JobStore) -> None:
    """With a hundred jobs of one tenant waiting, another tenant's only job is the next but one at most."""
    for _ in range(100):
        _create(store, "flood")
    served = [_run_next(store) for _ in range(3)]
    _, running = _claim(store)
    late = _create(store, "single")

    assert served == ["flood"] * 3
    assert store.queue_position(late) == 1
    store.complete(running, OUTPUT, usage={}, engine={})
    assert _run_next(store) == "single"


def test_tenant_that_was_away_gets_no_credit(store: JobStore) -> None:
    """Whoever comes late shares from then on: its earlier absence does not put all of its jobs first."""
    for _ in range(12):
        _create(store, "early")
    for _ in range(6):
        _run_next(store)
    for _ in range(4):
        _create(store, "late")

    order = [_run_next(store) for _ in range(8)]

    assert Counter(order) == {"early": 4, "late": 4}
    assert all(a != b for a, b in zip(order[::2], order[1::2], strict=True))


def test_weight_is_a_tenants_share(database: Database, store: JobStore) -> None:
    """A tenant of weight 3 gets three turns for each one of the other."""
    for tenant in ("heavy", "light"):
        for _ in range(12):
            _create(store, tenant)
    with database.write() as transaction:
        transaction.session.get_one(TenantRow, "heavy").weight = 3.0

    order = [_run_next(store) for _ in range(12)]

    assert Counter(order) == {"heavy": 9, "light": 3}


def test_priority_orders_a_tenants_own_jobs_only(store: JobStore) -> None:
    """High goes before normal before low, and never before another tenant's turn."""
    low = _create(store, "a", priority=Priority.LOW)
    normal = _create(store, "a")
    high = _create(store, "a", priority=Priority.HIGH)
    other = _create(store, "b", priority=Priority.LOW)
    positions = [store.queue_position(job) for job in (high, normal, low)]

    order = []
    while (claimed := store.claim("worker-a", model=MODEL, lease_s=30.0)) is not None:
        order.append(claimed[0].id)

    assert [job_id for job_id in order if job_id != other.id] == [high.id, normal.id, low.id]
    assert order.index(other.id) <= 1
    assert positions == sorted(positions)  # type: ignore[type-var]


def test_queue_position_comes_true(database: Database, store: JobStore) -> None:
    """The turn that each waiting job is told is the turn that it gets, with shares, priorities and latecomers."""
    tenants = random.Random(7).choices("aabbcd", k=40)
    for number, tenant in enumerate(tenants):
        _create(store, tenant, priority=Priority(number % 3))
    with database.write() as transaction:
        transaction.session.get_one(TenantRow, "b").weight = 2.5
    for _ in range(9):
        _claim(store)
    _create(store, "late")
    told = dict(store.queue_places(MODEL))

    came = {_claim(store)[0].id: turn for turn in range(1, len(told) + 1)}

    assert came == told
    assert sorted(told.values()) == list(range(1, 33))
    assert store.queue_places(MODEL) == {}
    assert store.queue_places("another-model") == {}


def test_running_limit_passes_over_a_tenant(database: Database) -> None:
    """A tenant that runs as many as it may waits, while another's job is taken."""
    store = _store(database, max_running=1)
    _create(store, "a")
    _create(store, "a")
    _, lease = _claim(store)
    assert store.claim("worker-b", model=MODEL, lease_s=30.0) is None
    _create(store, "b")

    assert _claim(store)[0].tenant == "b"
    store.complete(lease, OUTPUT, usage={}, engine={})
    assert _claim(store)[0].tenant == "a"


def test_parallel_claims_keep_the_running_limit(database: Database) -> None:
    """Workers that claim at once do not pass a limit together."""
    store = _store(database, max_running=2)
    for _ in range(8):
        _create(store, "a")
    taken: list[object] = []
    threads = [
        threading.Thread(target=lambda: taken.append(store.claim("w", model=MODEL, lease_s=30.0))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len([claimed for claimed in taken if claimed is not None]) == 2


def test_queue_limit_refuses_and_leaves_nothing(database: Database) -> None:
    """One too many is refused with a typed error, and a place is free once a job has left the queue."""
    store = _store(database, max_queued=2)
    first = _create(store, "a")
    _create(store, "a")

    with pytest.raises(QuotaExceeded) as refused:
        _create(store, "a")

    assert (refused.value.code, refused.value.limit) == ("concurrency_limit", 2)
    assert refused.value.retry_after_s > 0
    assert len(store.list(tenant="a", after=None, limit=9, order="asc", status=None)) == 2
    _create(store, "b")
    store.request_cancel(first.id, tenant="a")
    _create(store, "a")


def test_parallel_creates_keep_the_queue_limit(database: Database) -> None:
    """Requests at the same moment cannot pass the limit together."""
    store = _store(database, max_queued=3)
    refusals: list[QuotaExceeded] = []

    def create() -> None:
        try:
            _create(store, "a")
        except QuotaExceeded as error:
            refusals.append(error)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(refusals) == 5
    assert store.usage(tenant="a").queued == 3


def test_create_rate_is_counted_by_the_database(database: Database) -> None:
    """A minute's allowance may be used at once; then the answer says when the next one comes."""
    store = _store(database, creates_per_minute=3)
    for _ in range(3):
        _create(store, "a")

    with pytest.raises(QuotaExceeded) as refused:
        _create(store, "a")

    assert refused.value.code == "rate_limited"
    assert 0 < refused.value.retry_after_s <= 20.0
    with database.write() as transaction:
        transaction.session.get_one(TenantRow, "a").create_clock -= 20.0
    _create(store, "a")


def test_own_limits_of_a_tenant_come_before_the_defaults(database: Database) -> None:
    """A tenant may have more, or no limit at all."""
    store = _store(database, max_queued=1)
    _create(store, "a")
    with database.write() as transaction:
        transaction.session.get_one(TenantRow, "a").max_queued = 0

    for _ in range(3):
        _create(store, "a")

    assert store.usage(tenant="a").limits.max_queued == 0


@pytest.mark.parametrize("end", ["complete", "fail", "retry", "cancelled", "release"])
def test_every_end_of_an_attempt_is_charged_once(database: Database, store: JobStore, end: str) -> None:
    """However an attempt ends, its seconds count on the tenant's day, and only once."""
    _create(store, "a")
    job, lease = _claim(store)
    with database.write() as transaction:
        transaction.session.get_one(JobRow, job.id).claimed_at = transaction.now - 40.0
    failure = Failure("worker_crashed", "The worker stopped.")
    ends = {
        "complete": lambda: store.complete(lease, OUTPUT, usage={}, engine={}),
        "fail": lambda: store.fail(lease, failure),
        "retry": lambda: store.retry(lease, failure, delay_s=0),
        "cancelled": lambda: store.cancelled(lease),
        "release": lambda: store.release(lease, refund=True),
    }

    ends[end]()

    assert store.usage(tenant="a").compute_seconds_today == pytest.approx(40.0, abs=2.0)
    store.request_cancel(job.id, tenant="a")
    with database.read() as transaction:
        assert transaction.session.scalars(select(UsageRow.attempts)).all() == [1]


def test_compute_seconds_of_a_day_are_bounded(database: Database) -> None:
    """Once they are used up nothing is accepted until the day is over."""
    store = _store(database, compute_seconds_per_day=30.0)
    _create(store, "a")
    job, lease = _claim(store)
    with database.write() as transaction:
        transaction.session.get_one(JobRow, job.id).claimed_at = transaction.now - 31.0
    store.complete(lease, OUTPUT, usage={}, engine={})

    with pytest.raises(QuotaExceeded) as refused:
        _create(store, "a")

    assert (refused.value.code, refused.value.window_s) == ("quota_exceeded", 86_400.0)
    assert 0 < refused.value.retry_after_s <= 86_400.0
    _create(store, "b")


def test_same_idempotency_key_makes_one_job(store: JobStore) -> None:
    """A repeated request gets the job of the first, whatever became of it; each tenant has keys of its own."""
    first = _create(store, "a", idempotency=KEY)
    store.request_cancel(first.id, tenant="a")

    again = _create(store, "a", idempotency=KEY)
    other = _create(store, "b", idempotency=KEY)

    assert (again.id, again.status) == (first.id, JobStatus.CANCELLED)
    assert other.id != first.id
    assert store.made_with(KEY, tenant="a") == again
    assert store.made_with(KEY, tenant="c") is None


def test_idempotency_key_of_another_request_is_refused(store: JobStore) -> None:
    """A key cannot mean two things."""
    _create(store, "a", idempotency=KEY)
    other = replace(KEY, fingerprint="0" * 64)

    for call in (lambda: _create(store, "a", idempotency=other), lambda: store.made_with(other, tenant="a")):
        with pytest.raises(IdempotencyKeyReused):
            call()


def test_forgotten_idempotency_key_is_free_again(database: Database, store: JobStore) -> None:
    """After its time, or once its job is deleted or expired, a key makes a new job."""
    short = replace(KEY, life_s=-1.0)
    first = _create(store, "a", idempotency=short)
    second = _create(store, "a", idempotency=KEY)
    store.delete(second.id, tenant="a")

    third = _create(store, "a", idempotency=KEY)
    with database.write() as transaction:
        transaction.session.get_one(JobRow, third.id).expires_at = transaction.now - 1.0
    fourth = _create(store, "a", idempotency=KEY)

    assert len({first.id, second.id, third.id, fourth.id}) == 4


def test_parallel_requests_with_one_idempotency_key_make_one_job(store: JobStore) -> None:
    """Even at the same moment there is exactly one job, and everyone is given it."""
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.append(_create(store, "a", idempotency=KEY).id)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(made), len(set(made))) == (12, 1)


def test_quarantined_inputs_are_refused_until_lifted(database: Database, store: JobStore) -> None:
    """An operator names a file by its hash; both deeds stand in the audit log."""
    quarantine = Quarantine(database)
    digest = video_request().audio.sha256
    quarantine.add(digest, reason="crashes the decoder", actor=ADMIN)
    with pytest.raises(InputQuarantined):
        _create(store, "a")

    quarantine.lift(digest, actor=ADMIN)

    _create(store, "a")
    assert quarantine.entries() == []
    with pytest.raises(InputNotKnown):
        quarantine.lift(digest, actor=ADMIN)
    log = AuditLog(database).entries(before=None, limit=9)
    assert [(entry.action, entry.target, entry.actor) for entry in log] == [
        ("quarantine.lift", digest, ADMIN),
        ("quarantine.add", digest, ADMIN),
    ]
    assert [entry.row for entry in AuditLog(database).entries(before=log[0].row, limit=9)] == [log[1].row]


def test_inputs_that_kill_two_jobs_are_quarantined(database: Database, store: JobStore) -> None:
    """One poisoned job may be the machine's fault; after the second with the same inputs they are refused."""
    poison = Failure(POISON, "Each attempt ended the worker that tried.")
    _create(store, "a")
    store.fail(_claim(store)[1], poison)
    second = _create(store, "b")
    store.fail(_claim(store)[1], poison)

    with pytest.raises(InputQuarantined):
        _create(store, "c")

    (entry,) = Quarantine(database).entries()
    request = video_request()
    assert (entry.digest, entry.job_id) == (pair_digest(request.image.key, request.audio.key), second.id)
    store.create(video_request(audio_key="inputs/another"), tenant="c", metadata={})


def test_deletes_are_audited_with_their_actor(database: Database, store: JobStore) -> None:
    """Who deleted what stands in the log, also when the row is gone."""
    job = _create(store, "a")
    store.delete(job.id, tenant="a", actor=Actor("a", "key_1", "r"))
    with database.write() as transaction:
        transaction.session.execute(text("DELETE FROM jobs"))

    (entry,) = AuditLog(database).entries(before=None, limit=9)

    assert (entry.actor.name, entry.action, entry.target) == ("key_1", "video.delete", job.id)
