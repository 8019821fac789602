"""Two processes that write the same row at the same moment, on every database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, TypeVar

import pytest
from contract_requests import LEASE_S, MODEL, video_request
from sqlalchemy import delete, select

from workers.access import OPERATOR
from workers.idempotency import IdempotencyKey
from workers.jobs import Failure, JobStatus
from workers.quarantine import POISON, Quarantine, pair_digest
from workers.records import finish
from workers.roster import Roster
from workers.tables import IdempotencyRow, JobRow, LeaderRow, QuarantineRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from workers.database import Database, Transaction
    from workers.job_store import JobStore

T = TypeVar("T")
DIGEST = "a" * 64
WHILE_S = 0.3  # how long the first one leaves its transaction open: enough for the second one to look and find nothing


def _while_open(database: Database, first: Callable[..., object], second: Callable[[], T]) -> T:
    """What the second one answers that begins while the first one's transaction is open."""
    with ThreadPoolExecutor(1) as pool:
        with database.write() as transaction:
            first(transaction)
            transaction.session.flush()
            answer = pool.submit(second)
            wait([answer], timeout=WHILE_S)
        return answer.result()


@pytest.mark.parametrize(("until", "is_led"), [(1e12, False), (0.0, True)])
def test_duty_that_another_takes_first_is_led_by_one(database: Database, until: float, *, is_led: bool) -> None:
    """The later one sees what the first one wrote, and takes the duty only if that has ended."""
    row = LeaderRow(duty="d", owner="first", until=until)

    answer = _while_open(
        database,
        lambda transaction: transaction.session.add(row),
        lambda: Roster(database).lead("d", "second", for_s=9.0),
    )

    assert answer is is_led
    with database.read() as transaction:
        assert transaction.session.get_one(LeaderRow, "d").owner == ("second" if is_led else "first")


def test_two_first_pings_are_both_answered(database: Database, store: JobStore) -> None:
    """Readiness of two API processes is asked for at once on an empty database."""
    row = LeaderRow(duty="ping", owner="ping", until=0.0)

    _while_open(database, lambda transaction: transaction.session.add(row), store.ping)

    with database.read() as transaction:
        assert transaction.session.get_one(LeaderRow, "ping").until > 0


def test_input_may_be_refused_twice_at_once(database: Database) -> None:
    """The later reason stands."""
    row = QuarantineRow(digest=DIGEST, reason="first", job_id="video_a", at=0.0)
    quarantine = Quarantine(database)

    added = _while_open(
        database,
        lambda transaction: transaction.session.add(row),
        lambda: quarantine.add(DIGEST, reason="second", actor=OPERATOR),
    )

    assert (added.reason, added.job_id) == ("second", None)
    assert list(quarantine.entries()) == [added]


def test_idempotency_key_may_be_used_again_while_its_old_row_is_dropped(database: Database, store: JobStore) -> None:
    """A key that has ended belongs to nobody: the new request gets its own video, and the key."""
    keys = [IdempotencyKey("k", "f" * 64, life_s=life_s) for life_s in (-1.0, 60.0)]
    store.create(video_request(), tenant="a", metadata={}, idempotency=keys[0])

    made = _while_open(
        database,
        lambda transaction: transaction.session.execute(delete(IdempotencyRow)),
        lambda: store.create(video_request(), tenant="a", metadata={}, idempotency=keys[1]),
    )

    with database.read() as transaction:
        assert [row.job_id for row in transaction.session.scalars(select(IdempotencyRow))] == [made.id]


def test_two_jobs_that_fail_together_quarantine_their_inputs(database: Database, store: JobStore) -> None:
    """Neither overlooks the other, though none has committed when both begin."""
    poison = Failure(POISON, "Each attempt ended the worker that tried.")
    leases = []
    for tenant in ("a", "b"):
        store.create(video_request(), tenant=tenant, metadata={})
        claimed = store.claim("worker", model=MODEL, lease_s=LEASE_S)
        assert claimed is not None
        leases.append(claimed[1])
    first, second = leases

    def fail_first(transaction: Transaction) -> None:
        row = transaction.session.get_one(JobRow, first.job_id)
        row.failure_code, row.failure_message = poison.code, poison.message
        finish(transaction, row, JobStatus.FAILED, retention_s=60.0)

    _while_open(database, fail_first, lambda: store.fail(second, poison))

    (entry,) = Quarantine(database).entries()
    request = video_request()
    assert (entry.digest, entry.job_id) == (pair_digest(request.image.key, request.audio.key), second.job_id)
