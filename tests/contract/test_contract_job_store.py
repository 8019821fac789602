"""What every job database must do, seen from the API and from the workers."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from contract_requests import (
    LEASE_S,
    MODEL,
    TENANT,
    claim_job,
    create_job,
    video_request,
)

from workers.database import Database, upgrade
from workers.errors import FileNotKnown, JobNotFound, StoreUnavailable
from workers.jobs import JobStage, JobStatus, StoredFile
from workers.tables import Base

if TYPE_CHECKING:
    from pathlib import Path

    from workers.job_store import JobStore


def test_migrations_make_the_tables_of_the_code(database: Database) -> None:
    """Applying every migration gives exactly the tables that the code declares."""
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})

        assert compare_metadata(context, Base.metadata) == []


def test_upgrade_at_the_same_time_is_harmless(tmp_path: Path) -> None:
    """Several processes that start at once all find the tables made."""
    url = f"sqlite:///{tmp_path}/keyvid.db"
    errors: list[Exception] = []

    def start() -> None:
        try:
            upgrade(url)
        except Exception as error:  # noqa: BLE001 - any error of any thread is the failure
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []


def test_created_job_reads_back_as_it_was_accepted(store: JobStore) -> None:
    """What was accepted is what is stored, in the queued state."""
    created = create_job(store, seed=77)

    job = store.get(created.id, tenant=TENANT)

    assert job == created
    assert (job.status, job.stage, job.progress, job.seq) == (JobStatus.QUEUED, JobStage.QUEUED, 0, 1)
    assert (job.request, job.metadata) == (video_request(seed=77), {"shot": "7"})
    assert job.id.startswith("video_")


def test_jobs_of_another_tenant_do_not_exist(store: JobStore) -> None:
    """Reading, cancelling, deleting and listing stay within a tenant."""
    job = create_job(store)

    for call in (store.get, store.request_cancel, store.delete):
        with pytest.raises(JobNotFound):
            call(job.id, tenant="other")
    assert store.list(tenant="other", after=None, limit=9, order="desc", status=None) == []


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_of_a_list_join_without_gap_or_repeat(store: JobStore, order: str) -> None:
    """Walking by `after` meets every job once, in order."""
    created = [create_job(store).id for _ in range(5)]

    walked: list[str] = []
    while page := store.list(tenant=TENANT, after=walked[-1] if walked else None, limit=2, order=order, status=None):
        walked += [job.id for job in page]

    assert walked == (created if order == "asc" else created[::-1])


def test_list_filters_by_status_and_refuses_an_unknown_mark(store: JobStore) -> None:
    """A status filter keeps only such jobs, and an unknown `after` is an error rather than an empty page."""
    kept, cancelled = create_job(store), create_job(store)
    store.request_cancel(cancelled.id, tenant=TENANT)

    page = store.list(tenant=TENANT, after=None, limit=9, order="asc", status=JobStatus.QUEUED)

    assert [job.id for job in page] == [kept.id]
    with pytest.raises(JobNotFound):
        store.list(tenant=TENANT, after="video_none", limit=9, order="asc", status=None)


def test_queue_position_counts_the_jobs_that_run_before(store: JobStore) -> None:
    """The oldest job is first; a job that runs waits no more."""
    first, second = create_job(store), create_job(store)

    assert [store.queue_position(job) for job in (first, second)] == [1, 2]
    claim_job(store)
    assert store.queue_position(store.get(first.id, tenant=TENANT)) is None
    assert store.queue_position(second) == 1


def test_jobs_are_claimed_oldest_first_and_once(store: JobStore) -> None:
    """Two workers never get the same job."""
    jobs = [create_job(store) for _ in range(2)]

    leases = [claim_job(store, "worker-a"), claim_job(store, "worker-b")]

    assert [lease.job_id for lease in leases] == [job.id for job in jobs]
    assert store.claim("worker-c", model=MODEL, lease_s=LEASE_S) is None


def test_worker_takes_only_jobs_of_its_model(store: JobStore) -> None:
    """A job for another model waits for a worker that has it."""
    create_job(store)

    assert store.claim("worker-a", model="keyvid-512", lease_s=LEASE_S) is None
    assert store.claim("worker-b", model=MODEL, lease_s=LEASE_S) is not None


def test_concurrent_claims_share_the_jobs_out(store: JobStore) -> None:
    """Many workers that claim at once take every job, none of them twice."""
    jobs = {create_job(store).id for _ in range(8)}
    taken: list[str] = []

    def work(owner: str) -> None:
        while claimed := store.claim(owner, model=MODEL, lease_s=LEASE_S):
            taken.append(claimed[0].id)

    threads = [threading.Thread(target=work, args=(f"worker-{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # A claim that loses a race for one row may find nothing: the next ticket or poll takes the rest.
    while claimed := store.claim("late", model=MODEL, lease_s=LEASE_S):
        taken.append(claimed[0].id)
    assert sorted(taken) == sorted(jobs)


def test_deleted_job_is_gone_from_every_view(store: JobStore) -> None:
    """Deleting cancels and hides; a running worker learns of it by the cancel."""
    queued, running = create_job(store), create_job(store)
    store.delete(queued.id, tenant=TENANT)
    lease = claim_job(store)

    store.delete(running.id, tenant=TENANT)

    assert store.renew(lease, lease_s=LEASE_S)
    assert store.list(tenant=TENANT, after=None, limit=9, order="asc", status=None) == []
    with pytest.raises(JobNotFound):
        store.get(running.id, tenant=TENANT)
    with pytest.raises(JobNotFound):
        store.delete(queued.id, tenant=TENANT)


def test_one_cursor_follows_the_events_of_all_jobs(store: JobStore) -> None:
    """Reading on from the returned mark meets each event once."""
    _, start = store.events_since(-1, limit=100)
    first, second = create_job(store), create_job(store)

    page, mark = store.events_since(start, limit=1)
    rest, end = store.events_since(mark, limit=100)

    assert [event.job_id for event in [*page, *rest]] == [first.id, second.id]
    assert store.events_since(end, limit=100) == ([], end)


def test_files_belong_to_a_tenant_until_deleted(store: JobStore) -> None:
    """A file reads back, only for its tenant, and is gone after its deletion."""
    file = StoredFile(id="", tenant=TENANT, purpose="audio", filename="a.wav", media={"key": "inputs/a"}, created_at=0)

    kept = store.add_file(file)

    assert kept == replace(file, id=kept.id, created_at=kept.created_at)
    assert store.get_file(kept.id, tenant=TENANT) == kept
    for call in (store.get_file, store.delete_file):
        with pytest.raises(FileNotKnown):
            call(kept.id, tenant="other")
    store.delete_file(kept.id, tenant=TENANT)
    with pytest.raises(FileNotKnown):
        store.get_file(kept.id, tenant=TENANT)


def test_ping_answers(store: JobStore) -> None:
    """A database that can be written answers twice."""
    store.ping()
    store.ping()


def test_database_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    """The driver's error is translated."""
    (tmp_path / "keyvid.db").mkdir()

    with pytest.raises(StoreUnavailable):
        upgrade(f"sqlite:///{tmp_path}/keyvid.db")
