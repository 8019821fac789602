"""What every job database must do, seen from the API and from the workers."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from contract_requests import KEYFRAMES, OUTPUT, video_request

from workers.database import Database, upgrade
from workers.errors import FileNotKnown, JobNotFound, LeaseLost, StoreUnavailable
from workers.jobs import EventType, Failure, JobStage, JobStatus, Lease, StoredFile
from workers.tables import Base

if TYPE_CHECKING:
    from pathlib import Path

    from workers.job_store import JobStore
    from workers.jobs import Job

TENANT = "default"
MODEL = "keyvid-mini"
LEASE_S = 30.0
FAILURE = Failure("worker_crashed", "The worker stopped.")


def _create(store: JobStore, **knobs: object) -> Job:
    return store.create(video_request(**knobs), tenant=TENANT, metadata={"shot": "7"})


def _claim(store: JobStore, owner: str = "worker-a") -> Lease:
    claimed = store.claim(owner, model=MODEL, lease_s=LEASE_S)
    assert claimed is not None
    return claimed[1]


def _types(store: JobStore, job: Job) -> list[EventType]:
    return [event.type for event in store.events(job.id, after_seq=0, limit=100)]


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
    created = _create(store, seed=77)

    job = store.get(created.id, tenant=TENANT)

    assert job == created
    assert (job.status, job.stage, job.progress, job.seq) == (JobStatus.QUEUED, JobStage.QUEUED, 0, 1)
    assert (job.request, job.metadata) == (video_request(seed=77), {"shot": "7"})
    assert job.id.startswith("video_")


def test_jobs_of_another_tenant_do_not_exist(store: JobStore) -> None:
    """Reading, cancelling, deleting and listing stay within a tenant."""
    job = _create(store)

    for call in (store.get, store.request_cancel, store.delete):
        with pytest.raises(JobNotFound):
            call(job.id, tenant="other")
    assert store.list(tenant="other", after=None, limit=9, order="desc", status=None) == []


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_of_a_list_join_without_gap_or_repeat(store: JobStore, order: str) -> None:
    """Walking by `after` meets every job once, in order."""
    created = [_create(store).id for _ in range(5)]

    walked: list[str] = []
    while page := store.list(tenant=TENANT, after=walked[-1] if walked else None, limit=2, order=order, status=None):
        walked += [job.id for job in page]

    assert walked == (created if order == "asc" else created[::-1])


def test_list_filters_by_status_and_refuses_an_unknown_mark(store: JobStore) -> None:
    """A status filter keeps only such jobs, and an unknown `after` is an error rather than an empty page."""
    kept, cancelled = _create(store), _create(store)
    store.request_cancel(cancelled.id, tenant=TENANT)

    page = store.list(tenant=TENANT, after=None, limit=9, order="asc", status=JobStatus.QUEUED)

    assert [job.id for job in page] == [kept.id]
    with pytest.raises(JobNotFound):
        store.list(tenant=TENANT, after="video_none", limit=9, order="asc", status=None)


def test_queue_position_counts_the_jobs_that_run_before(store: JobStore) -> None:
    """The oldest job is first; a job that runs waits no more."""
    first, second = _create(store), _create(store)

    assert [store.queue_position(job) for job in (first, second)] == [1, 2]
    _claim(store)
    assert store.queue_position(store.get(first.id, tenant=TENANT)) is None
    assert store.queue_position(second) == 1


def test_jobs_are_claimed_oldest_first_and_once(store: JobStore) -> None:
    """Two workers never get the same job."""
    jobs = [_create(store) for _ in range(2)]

    leases = [_claim(store, "worker-a"), _claim(store, "worker-b")]

    assert [lease.job_id for lease in leases] == [job.id for job in jobs]
    assert store.claim("worker-c", model=MODEL, lease_s=LEASE_S) is None


def test_worker_takes_only_jobs_of_its_model(store: JobStore) -> None:
    """A job for another model waits for a worker that has it."""
    _create(store)

    assert store.claim("worker-a", model="keyvid-512", lease_s=LEASE_S) is None
    assert store.claim("worker-b", model=MODEL, lease_s=LEASE_S) is not None


def test_concurrent_claims_share_the_jobs_out(store: JobStore) -> None:
    """Many workers that claim at once take every job, none of them twice."""
    jobs = {_create(store).id for _ in range(8)}
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


def test_completed_job_has_its_output_and_a_gapless_history(store: JobStore) -> None:
    """Each visible change is one event, numbered without gaps, and the last one is final."""
    job = _create(store)
    lease = _claim(store)
    store.report(lease, stage=JobStage.LOCALIZATION, step=0, total=1, progress=1)
    store.save_checkpoint(
        lease, stage=JobStage.LOCALIZATION, key="checkpoints/c", sha256="3" * 64, keyframes=KEYFRAMES, engine_digest="e"
    )
    store.report(lease, stage=JobStage.KEYFRAMES, step=0, total=8, progress=5)
    store.report(lease, stage=JobStage.KEYFRAMES, step=4, total=8, progress=30)
    store.complete(lease, OUTPUT, usage={"gpu_s": 3.0}, engine={"version": "1"})

    done = store.get(job.id, tenant=TENANT)

    assert (done.status, done.stage, done.progress, done.output) == (JobStatus.COMPLETED, JobStage.DONE, 100, OUTPUT)
    assert (done.keyframes, done.engine, done.usage["gpu_s"]) == (KEYFRAMES, {"version": "1"}, 3.0)
    assert {stage.status for stage in done.stages} == {"done"}
    assert done.expires_at is not None
    assert done.completed_at is not None
    assert done.expires_at > done.completed_at
    assert _types(store, job) == [
        EventType.QUEUED,
        EventType.STARTED,
        EventType.STAGE,
        EventType.PROGRESS,
        EventType.STAGE,
        EventType.PROGRESS,
        EventType.COMPLETED,
    ]
    events = store.events(job.id, after_seq=0, limit=100)
    assert [event.seq for event in events] == list(range(1, done.seq + 1))


def test_progress_never_goes_back_and_reaches_100_only_at_the_end(store: JobStore) -> None:
    """A report of less, or of all, is bounded."""
    job = _create(store)
    lease = _claim(store)

    store.report(lease, stage=JobStage.KEYFRAMES, step=5, total=8, progress=40)
    store.report(lease, stage=JobStage.INTERPOLATION, step=0, total=8, progress=10)
    after_less = store.get(job.id, tenant=TENANT).progress
    store.report(lease, stage=JobStage.MUX, step=1, total=1, progress=100)

    assert (after_less, store.get(job.id, tenant=TENANT).progress) == (40, 99)


@pytest.mark.parametrize(
    "call", ["renew", "look", "report", "checkpoint", "complete", "fail", "retry", "cancelled", "release"]
)
def test_stale_lease_is_refused(store: JobStore, call: str) -> None:
    """Once another worker owns the job, no call of the former owner has any effect."""
    job = _create(store)
    stale = _claim(store, "worker-a")
    store.release(stale, refund=False)
    _claim(store, "worker-b")
    before = store.get(job.id, tenant=TENANT)
    calls = {
        "renew": lambda: store.renew(stale, lease_s=LEASE_S),
        "look": lambda: store.is_cancel_requested(stale),
        "report": lambda: store.report(stale, stage=JobStage.MUX, step=1, total=1, progress=98),
        "checkpoint": lambda: store.save_checkpoint(
            stale, stage=JobStage.LOCALIZATION, key="k", sha256="s", keyframes=KEYFRAMES, engine_digest="e"
        ),
        "complete": lambda: store.complete(stale, OUTPUT, usage={}, engine={}),
        "fail": lambda: store.fail(stale, FAILURE),
        "retry": lambda: store.retry(stale, FAILURE, delay_s=0),
        "cancelled": lambda: store.cancelled(stale),
        "release": lambda: store.release(stale, refund=True),
    }

    with pytest.raises(LeaseLost):
        calls[call]()

    assert store.get(job.id, tenant=TENANT) == before
    assert store.checkpoint(job.id) is None


def test_fence_of_the_same_worker_moves_too(store: JobStore) -> None:
    """A worker that takes a job up again cannot write under its first lease."""
    _create(store)
    first = _claim(store)
    store.release(first, refund=True)
    second = _claim(store)

    assert second.fence == first.fence + 1
    with pytest.raises(LeaseLost):
        store.renew(first, lease_s=LEASE_S)


def test_cancel_of_a_queued_job_is_final_at_once(store: JobStore) -> None:
    """Nobody can claim it any more, and a second cancel changes nothing."""
    job = _create(store)

    cancelled = store.request_cancel(job.id, tenant=TENANT)

    assert cancelled.status is JobStatus.CANCELLED
    assert store.request_cancel(job.id, tenant=TENANT) == cancelled
    assert store.claim("worker-a", model=MODEL, lease_s=LEASE_S) is None
    assert _types(store, job) == [EventType.QUEUED, EventType.CANCELLED]


def test_cancel_of_a_running_job_waits_for_its_worker(store: JobStore) -> None:
    """The job stays in progress with a request until the worker says that it has stopped."""
    job = _create(store)
    lease = _claim(store)
    before = store.renew(lease, lease_s=LEASE_S)

    asked = store.request_cancel(job.id, tenant=TENANT)

    assert (before, asked.status) == (False, JobStatus.IN_PROGRESS)
    assert asked.cancel_requested_at is not None
    assert store.renew(lease, lease_s=LEASE_S)
    assert store.is_cancel_requested(lease)
    store.cancelled(lease)
    assert store.get(job.id, tenant=TENANT).status is JobStatus.CANCELLED


def test_video_that_was_ready_before_the_cancel_counts(store: JobStore) -> None:
    """The first final write wins, and is told truthfully."""
    job = _create(store)
    lease = _claim(store)
    store.request_cancel(job.id, tenant=TENANT)

    store.complete(lease, OUTPUT, usage={}, engine={})

    assert store.request_cancel(job.id, tenant=TENANT).status is JobStatus.COMPLETED
    with pytest.raises(LeaseLost):
        store.cancelled(lease)


@pytest.mark.parametrize("give_back", ["release", "retry"])
def test_job_with_a_cancel_request_is_never_queued_again(store: JobStore, give_back: str) -> None:
    """Ending the attempt of a job that should stop ends the job."""
    job = _create(store)
    lease = _claim(store)
    store.request_cancel(job.id, tenant=TENANT)

    if give_back == "release":
        store.release(lease, refund=True)
    else:
        store.retry(lease, FAILURE, delay_s=0)

    assert store.get(job.id, tenant=TENANT).status is JobStatus.CANCELLED


def test_attempts_are_bounded(store: JobStore) -> None:
    """The last attempt that breaks fails the job with the given reason."""
    job = _create(store)

    store.retry(_claim(store), FAILURE, delay_s=0)
    again = store.get(job.id, tenant=TENANT)
    store.retry(_claim(store), FAILURE, delay_s=0)

    failed = store.get(job.id, tenant=TENANT)
    assert (again.status, again.attempt) == (JobStatus.QUEUED, 1)
    assert (failed.status, failed.attempt, failed.failure) == (JobStatus.FAILED, 2, FAILURE)
    assert _types(store, job)[-3:] == [EventType.RETRYING, EventType.STARTED, EventType.FAILED]


def test_retried_job_waits_for_its_delay(store: JobStore) -> None:
    """Backoff keeps a broken job out of the way."""
    _create(store)

    store.retry(_claim(store), FAILURE, delay_s=60)

    assert store.claim("worker-a", model=MODEL, lease_s=LEASE_S) is None


def test_refunded_attempt_does_not_count(store: JobStore) -> None:
    """A worker that drains gives the attempt back, and the next one begins at once."""
    job = _create(store)

    store.release(_claim(store), refund=True)
    lease = _claim(store, "worker-b")

    assert (store.get(job.id, tenant=TENANT).attempt, lease.fence) == (1, 2)


def test_stage_that_is_over_has_done_all_its_steps(store: JobStore) -> None:
    """Steps that were too quick to be told one by one count when the next stage begins."""
    job = _create(store)
    lease = _claim(store)
    store.report(lease, stage=JobStage.KEYFRAMES, step=1, total=4, progress=10)
    store.report(lease, stage=JobStage.INTERPOLATION, step=0, total=2, progress=30)

    keyframes = next(stage for stage in store.get(job.id, tenant=job.tenant).stages if stage.name is JobStage.KEYFRAMES)

    assert (keyframes.status, keyframes.steps_done, keyframes.steps_total) == ("done", 4, 4)


def test_next_attempt_knows_the_stages_that_are_done(store: JobStore) -> None:
    """A checkpoint is offered to the next attempt, whose stages say what was taken over."""
    job = _create(store)
    lease = _claim(store)
    for stage in (JobStage.LOCALIZATION, JobStage.KEYFRAMES):
        store.save_checkpoint(
            lease, stage=stage, key=f"checkpoints/{stage}", sha256="3" * 64, keyframes=KEYFRAMES, engine_digest="e"
        )
    store.release(lease, refund=False)
    _claim(store, "worker-b")

    resumed = store.get(job.id, tenant=TENANT)

    expected = {"stage": "keyframes", "key": "checkpoints/keyframes", "sha256": "3" * 64, "engine_digest": "e"}
    assert store.checkpoint(job.id) == expected
    assert [stage.resumed for stage in resumed.stages] == [True, True, False, False]
    assert resumed.stage is JobStage.INTERPOLATION


def test_deleted_job_is_gone_from_every_view(store: JobStore) -> None:
    """Deleting cancels and hides; a running worker learns of it by the cancel."""
    queued, running = _create(store), _create(store)
    store.delete(queued.id, tenant=TENANT)
    lease = _claim(store)

    assert store.delete(running.id, tenant=TENANT)

    assert store.renew(lease, lease_s=LEASE_S)
    assert store.list(tenant=TENANT, after=None, limit=9, order="asc", status=None) == []
    with pytest.raises(JobNotFound):
        store.get(running.id, tenant=TENANT)
    with pytest.raises(JobNotFound):
        store.delete(queued.id, tenant=TENANT)


def test_one_cursor_follows_the_events_of_all_jobs(store: JobStore) -> None:
    """Reading on from the returned mark meets each event once."""
    _, start = store.events_since(-1, limit=100)
    first, second = _create(store), _create(store)

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
