"""What every job database must do with attempts: leases, progress, cancels, retries, and how a job ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from contract_requests import (
    FAILURE,
    KEYFRAMES,
    LEASE_S,
    MODEL,
    OUTPUT,
    TENANT,
    claim_job,
    create_job,
    event_types,
)

from workers.errors import LeaseLost
from workers.jobs import EventType, JobStage, JobStatus

if TYPE_CHECKING:
    from workers.job_store import JobStore


def test_completed_job_has_its_output_and_a_gapless_history(store: JobStore) -> None:
    """Each visible change is one event, numbered without gaps, and the last one is final."""
    job = create_job(store)
    lease = claim_job(store)
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
    assert event_types(store, job) == [
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
    job = create_job(store)
    lease = claim_job(store)

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
    job = create_job(store)
    stale = claim_job(store, "worker-a")
    store.release(stale, refund=False)
    claim_job(store, "worker-b")
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
    assert store.checkpoints(job.id) == ()


def test_fence_of_the_same_worker_moves_too(store: JobStore) -> None:
    """A worker that takes a job up again cannot write under its first lease."""
    create_job(store)
    first = claim_job(store)
    store.release(first, refund=True)
    second = claim_job(store)

    assert second.fence == first.fence + 1
    with pytest.raises(LeaseLost):
        store.renew(first, lease_s=LEASE_S)


def test_cancel_of_a_queued_job_is_final_at_once(store: JobStore) -> None:
    """Nobody can claim it any more, and a second cancel changes nothing."""
    job = create_job(store)

    cancelled = store.request_cancel(job.id, tenant=TENANT)

    assert cancelled.status is JobStatus.CANCELLED
    assert store.request_cancel(job.id, tenant=TENANT) == cancelled
    assert store.claim("worker-a", model=MODEL, lease_s=LEASE_S) is None
    assert event_types(store, job) == [EventType.QUEUED, EventType.CANCELLED]


def test_cancel_of_a_running_job_waits_for_its_worker(store: JobStore) -> None:
    """The job stays in progress with a request until the worker says that it has stopped."""
    job = create_job(store)
    lease = claim_job(store)
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
    job = create_job(store)
    lease = claim_job(store)
    store.request_cancel(job.id, tenant=TENANT)

    store.complete(lease, OUTPUT, usage={}, engine={})

    assert store.request_cancel(job.id, tenant=TENANT).status is JobStatus.COMPLETED
    with pytest.raises(LeaseLost):
        store.cancelled(lease)


@pytest.mark.parametrize("give_back", ["release", "retry"])
def test_job_with_a_cancel_request_is_never_queued_again(store: JobStore, give_back: str) -> None:
    """Ending the attempt of a job that should stop ends the job."""
    job = create_job(store)
    lease = claim_job(store)
    store.request_cancel(job.id, tenant=TENANT)

    if give_back == "release":
        store.release(lease, refund=True)
    else:
        store.retry(lease, FAILURE, delay_s=0)

    assert store.get(job.id, tenant=TENANT).status is JobStatus.CANCELLED


def test_attempts_are_bounded(store: JobStore) -> None:
    """The last attempt that breaks fails the job with the given reason."""
    job = create_job(store)

    store.retry(claim_job(store), FAILURE, delay_s=0)
    again = store.get(job.id, tenant=TENANT)
    store.retry(claim_job(store), FAILURE, delay_s=0)

    failed = store.get(job.id, tenant=TENANT)
    assert (again.status, again.attempt) == (JobStatus.QUEUED, 1)
    assert (failed.status, failed.attempt, failed.failure) == (JobStatus.FAILED, 2, FAILURE)
    assert event_types(store, job)[-3:] == [EventType.RETRYING, EventType.STARTED, EventType.FAILED]


def test_retried_job_waits_for_its_delay(store: JobStore) -> None:
    """Backoff keeps a broken job out of the way."""
    create_job(store)

    store.retry(claim_job(store), FAILURE, delay_s=60)

    assert store.claim("worker-a", model=MODEL, lease_s=LEASE_S) is None


def test_refunded_attempt_does_not_count(store: JobStore) -> None:
    """A worker that drains gives the attempt back, and the next one begins at once."""
    job = create_job(store)

    store.release(claim_job(store), refund=True)
    lease = claim_job(store, "worker-b")

    assert (store.get(job.id, tenant=TENANT).attempt, lease.fence) == (1, 2)


def test_stage_that_is_over_has_done_all_its_steps(store: JobStore) -> None:
    """Steps that were too quick to be told one by one count when the next stage begins."""
    job = create_job(store)
    lease = claim_job(store)
    store.report(lease, stage=JobStage.KEYFRAMES, step=1, total=4, progress=10)
    store.report(lease, stage=JobStage.INTERPOLATION, step=0, total=2, progress=30)

    keyframes = next(stage for stage in store.get(job.id, tenant=job.tenant).stages if stage.name is JobStage.KEYFRAMES)

    assert (keyframes.status, keyframes.steps_done, keyframes.steps_total) == ("done", 4, 4)


def test_next_attempt_knows_the_stages_that_are_done(store: JobStore) -> None:
    """A checkpoint is offered to the next attempt, whose stages say what was taken over."""
    job = create_job(store)
    lease = claim_job(store)
    for stage in (JobStage.LOCALIZATION, JobStage.KEYFRAMES):
        store.save_checkpoint(
            lease, stage=stage, key=f"checkpoints/{stage}", sha256="3" * 64, keyframes=KEYFRAMES, engine_digest="e"
        )
    store.release(lease, refund=False)
    claim_job(store, "worker-b")

    resumed = store.get(job.id, tenant=TENANT)

    assert list(store.checkpoints(job.id)) == [
        {"stage": stage, "step": None, "key": f"checkpoints/{stage}", "sha256": "3" * 64, "engine_digest": "e"}
        for stage in ("keyframes", "localization")
    ]
    assert [stage.resumed for stage in resumed.stages] == [True, True, False, False]
    assert resumed.stage is JobStage.INTERPOLATION


def test_next_attempt_knows_the_step_that_was_reached(store: JobStore) -> None:
    """A stage that is left half-way is offered too, by its newest step; it shows as taken over until it restarts."""
    job = create_job(store)
    lease = claim_job(store)
    for stage, step in ((JobStage.KEYFRAMES, None), (JobStage.INTERPOLATION, 5), (JobStage.INTERPOLATION, 10)):
        store.save_checkpoint(
            lease, stage=stage, key=f"c/{step}", sha256="3" * 64, keyframes=KEYFRAMES, engine_digest="e", step=step
        )
    store.release(lease, refund=False)
    again = claim_job(store, "worker-b")

    def interpolation() -> tuple[str, int, bool]:
        stage = store.get(job.id, tenant=TENANT).stages[2]
        return stage.status, stage.steps_done, stage.resumed

    assert [(left["stage"], left["step"], left["key"]) for left in store.checkpoints(job.id)] == [
        ("interpolation", 10, "c/10"),
        ("keyframes", None, "c/None"),
    ]
    assert interpolation() == ("pending", 10, True)
    store.report(again, stage=JobStage.INTERPOLATION, step=10, total=20, progress=50)
    store.report(again, stage=JobStage.INTERPOLATION, step=11, total=20, progress=52)
    assert interpolation() == ("running", 11, True)
    store.report(again, stage=JobStage.INTERPOLATION, step=0, total=20, progress=52)
    store.report(again, stage=JobStage.INTERPOLATION, step=1, total=20, progress=52)
    assert interpolation() == ("running", 1, False)
