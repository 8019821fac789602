"""What every job database must tell of an installation in numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from contract_requests import FAILURE, LEASE_S, OUTPUT, TENANT, claim_job, create_job

from workers.access import OPERATOR, USUAL_SCOPES, Limits
from workers.census import take_census
from workers.job_store import JobStore
from workers.jobs import EventType, JobStatus
from workers.key_store import KeyStore
from workers.roster import RECONCILING, Roster, WorkerRecord, WorkerState
from workers.webhooks.store import WebhookStore

if TYPE_CHECKING:
    from tests.clocks import FakeClock
    from workers.database import Database

DAY_S = 86_400.0


@pytest.fixture
def timed(timed_database: Database) -> JobStore:
    """A job store that goes by the fake clock."""
    return JobStore(timed_database, max_attempts=2, retention_s=1000.0)


def test_empty_installation_counts_nothing(timed_database: Database) -> None:
    """Every state is told, as 0, so that a graph has no holes."""
    census = take_census(timed_database)

    assert census.jobs == dict.fromkeys(JobStatus, 0)
    assert census.workers == dict.fromkeys(WorkerState, 0)
    assert (census.oldest_waiting_s, census.deliveries_overdue_s, census.reconciler_until) == (0, 0, 0)


def test_jobs_are_counted_by_state_and_the_oldest_by_its_wait(timed: JobStore, clock: FakeClock) -> None:
    """One job of each state; what waits for a later try is no sign of a slow queue."""
    create_job(timed)
    timed.complete(claim_job(timed), OUTPUT, usage={}, engine={})
    create_job(timed, seed=2)
    timed.fail(claim_job(timed), FAILURE)
    timed.request_cancel(create_job(timed, seed=3).id, tenant=TENANT)
    create_job(timed, seed=4)
    timed.retry(claim_job(timed), FAILURE, delay_s=1000.0)
    create_job(timed, seed=5)
    claim_job(timed)
    clock.advance(5.0)
    create_job(timed, seed=6)
    clock.advance(7.0)

    census = take_census(timed.database)

    assert census.jobs == {**dict.fromkeys(JobStatus, 1), JobStatus.QUEUED: 2}
    assert census.oldest_waiting_s == pytest.approx(7.0)
    assert census.leases_overdue == 0
    clock.advance(LEASE_S)
    assert take_census(timed.database).leases_overdue == 1


def test_silent_workers_are_defunct(timed_database: Database, clock: FakeClock) -> None:
    """A worker is what it said of itself, until it has been silent for too long."""
    roster = Roster(timed_database)
    roster.beat(WorkerRecord("old", "host", 1, WorkerState.BUSY, job_id="video_1"))
    clock.advance(31.0)
    roster.beat(WorkerRecord("new", "host", 2, WorkerState.READY))
    roster.lead(RECONCILING, "r", for_s=9.0)

    census = take_census(timed_database)

    shown = {worker.id: worker.state for worker in roster.workers(within_s=120.0)}
    assert shown == {"old": WorkerState.DEFUNCT, "new": WorkerState.READY}
    assert {state: count for state, count in census.workers.items() if count} == dict.fromkeys(shown.values(), 1)
    assert census.workers_at_work == 1
    assert census.reconciler_until - census.at == pytest.approx(9.0)
    roster.beat(WorkerRecord("old", "host", 1, WorkerState.READY))
    assert take_census(timed_database).workers_at_work == 2


def test_webhooks_are_counted_while_they_are_owed(timed: JobStore, clock: FakeClock) -> None:
    """How many wait, and for how long the first is due: a dispatcher that is away shows in it."""
    webhooks = WebhookStore(timed.database)
    webhooks.create(url="https://example.com", events=[EventType.COMPLETED], description="", actor=OPERATOR)
    create_job(timed)
    timed.complete(claim_job(timed), OUTPUT, usage={}, engine={})
    clock.advance(30.0)

    census = take_census(timed.database)

    assert (census.deliveries_pending, census.deliveries_overdue_s) == (1, pytest.approx(30.0))


def test_keys_that_end_soon_are_told(timed_database: Database, clock: FakeClock) -> None:
    """Of the keys that open something, those that will not in a week."""
    keys = KeyStore(timed_database, default_limits=Limits())
    lives = (None, 3 * DAY_S, 30 * DAY_S, 1.0)
    made = [
        keys.create(tenant="a", name="n", scopes=USUAL_SCOPES, actor=OPERATOR, expires_in_s=life)[0] for life in lives
    ]
    revoked = keys.create(tenant="a", name="n", scopes=USUAL_SCOPES, actor=OPERATOR)[0]
    keys.revoke(revoked.id, actor=OPERATOR)
    clock.advance(2.0)

    census = take_census(timed_database)

    assert len(made) == 4
    assert (census.keys_active, census.keys_expiring) == (3, 1)
