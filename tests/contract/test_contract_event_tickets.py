"""Tickets of event streams, on every database and under a fake clock."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from contract_requests import video_request

from workers.errors import JobNotFound
from workers.event_tickets import LIFE_S, EventTickets

if TYPE_CHECKING:
    from tests.clocks import FakeClock
    from workers.database import Database
    from workers.job_store import JobStore

TENANT = "default"


@pytest.fixture
def tickets(timed_database: Database) -> EventTickets:
    """The tickets of the same database."""
    return EventTickets(timed_database)


@pytest.fixture
def job_id(timed_store: JobStore) -> str:
    """A job to follow."""
    return timed_store.create(video_request(), tenant=TENANT, metadata={}).id


def test_ticket_works_once_for_its_own_job(timed_store: JobStore, tickets: EventTickets, job_id: str) -> None:
    """Another job does not take it, and a second use finds nothing."""
    other = timed_store.create(video_request(), tenant=TENANT, metadata={}).id
    ticket = tickets.issue(job_id, tenant=TENANT)

    assert tickets.redeem(ticket.secret, job_id=other) is None
    assert tickets.redeem(ticket.secret, job_id=job_id) == TENANT
    assert tickets.redeem(ticket.secret, job_id=job_id) is None
    assert tickets.redeem("guess", job_id=job_id) is None


def test_ticket_is_too_old_after_a_minute(tickets: EventTickets, clock: FakeClock, job_id: str) -> None:
    """To the last second it works."""
    early, late = (tickets.issue(job_id, tenant=TENANT) for _ in range(2))

    clock.advance(LIFE_S - 1)
    assert tickets.redeem(early.secret, job_id=job_id) == TENANT
    clock.advance(1)
    assert tickets.redeem(late.secret, job_id=job_id) is None


def test_ticket_is_for_the_owner_of_a_job_that_is_there(
    timed_store: JobStore, tickets: EventTickets, job_id: str
) -> None:
    """Neither another tenant nor the owner of a deleted job gets one."""
    with pytest.raises(JobNotFound):
        tickets.issue(job_id, tenant="other")
    timed_store.delete(job_id, tenant=TENANT)
    with pytest.raises(JobNotFound):
        tickets.issue(job_id, tenant=TENANT)


def test_one_of_many_who_use_a_ticket_at_once_gets_in(tickets: EventTickets, job_id: str) -> None:
    """Single use holds under a race."""
    ticket = tickets.issue(job_id, tenant=TENANT)
    answers: list[str | None] = []
    threads = [
        threading.Thread(target=lambda: answers.append(tickets.redeem(ticket.secret, job_id=job_id))) for _ in range(5)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(answer or "" for answer in answers) == ["", "", "", "", TENANT]


def test_secret_is_not_in_the_database(tickets: EventTickets, timed_database: Database, job_id: str) -> None:
    """Only its hash is."""
    ticket = tickets.issue(job_id, tenant=TENANT)

    with timed_database.engine.connect() as connection:
        rows = str(connection.exec_driver_sql("SELECT * FROM event_tickets").all())

    assert job_id in rows
    assert ticket.secret not in rows
