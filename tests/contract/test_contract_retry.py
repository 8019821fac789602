"""Making a video once more, and when it will be done, on every database."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from contract_requests import OUTPUT, video_request

from workers.access import Limits
from workers.errors import IllegalTransition, JobExpired, JobNotFound, QuotaExceeded
from workers.forecast import read_pace
from workers.job_store import LAST_CALL_S, JobStore
from workers.jobs import RUNNING_STAGES, TOO_LATE, EventType, Failure, JobStage, JobStatus, Terms
from workers.roster import Roster, WorkerRecord, WorkerState
from workers.upkeep import Upkeep

if TYPE_CHECKING:
    from tests.clocks import FakeClock
    from workers.database import Database
    from workers.jobs import Job, Lease

TENANT = "default"
MODEL = "keyvid-mini"
KEEP_S = 1000.0
STAGE_S = dict(zip(RUNNING_STAGES, (1.0, 10.0, 20.0, 4.0), strict=True))
JOB_S = sum(STAGE_S.values())


@pytest.fixture
def store(timed_database: Database) -> JobStore:
    """A job store that goes by the fake clock."""
    return JobStore(timed_database, max_attempts=2, retention_s=KEEP_S)


def _create(store: JobStore, **knobs: object) -> Job:
    return store.create(video_request(seed=7), tenant=TENANT, metadata={"shot": "7"}, **knobs)  # type: ignore[arg-type]


def _claim(store: JobStore) -> Lease:
    claimed = store.claim("worker", model=MODEL, lease_s=1000)
    assert claimed is not None
    return claimed[1]


def _run(store: JobStore, clock: FakeClock, lease: Lease) -> None:
    """Let a job take its time."""
    for stage, seconds in STAGE_S.items():
        store.report(lease, stage=stage, step=0, total=4, progress=1)
        clock.advance(seconds)
    store.complete(lease, OUTPUT, usage={}, engine={})


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_retry_is_a_new_job_with_everything_of_the_old_one(store: JobStore, end: str) -> None:
    """Same request, seed, metadata and terms; attempts and history begin anew; the old job stays as it was."""
    job = _create(store, terms=Terms(deadline_s=500, retention_s=99))
    if end == "failed":
        store.fail(_claim(store), Failure("internal", "It broke."))
    else:
        store.request_cancel(job.id, tenant=TENANT)
    before = store.get(job.id, tenant=TENANT)

    again, is_new = store.create_again(job.id, tenant=TENANT)

    assert is_new
    assert (again.request, again.metadata, again.retried_from) == (job.request, job.metadata, job.id)
    assert (again.status, again.attempt, again.seq, again.deadline_at) == (JobStatus.QUEUED, 0, 1, job.deadline_at)
    assert store.get(job.id, tenant=TENANT) == before
    assert [event.type for event in store.events(again.id, after_seq=0, limit=9)] == [EventType.QUEUED]
    assert _claim(store).job_id == again.id


def test_waiting_job_fails_at_its_deadline(store: JobStore, clock: FakeClock, timed_database: Database) -> None:
    """Nobody takes it any more, and the reconciler says why it failed; others are left alone."""
    job = _create(store, terms=Terms(deadline_s=60))
    other = _create(store)
    upkeep = Upkeep(timed_database, retention_s=KEEP_S)
    clock.advance(59)
    assert upkeep.end_overdue() == []

    clock.advance(1)
    claimed = _claim(store)
    ended = upkeep.end_overdue()

    assert (claimed.job_id, ended) == (other.id, [job.id])
    failed = store.get(job.id, tenant=TENANT)
    assert (failed.status, failed.failure) == (JobStatus.FAILED, TOO_LATE)
    assert store.get(other.id, tenant=TENANT).status is JobStatus.IN_PROGRESS


@pytest.mark.parametrize(("after_s", "is_late"), [(59, False), (60, True)])
def test_video_that_comes_after_its_deadline_has_failed(
    store: JobStore, clock: FakeClock, *, after_s: int, is_late: bool
) -> None:
    """A worker that was frozen or cut off completes nothing late, whatever its own clock says."""
    job = _create(store, terms=Terms(deadline_s=60))
    lease = _claim(store)
    clock.advance(after_s)

    ended = store.complete(lease, OUTPUT, usage={}, engine={})

    done = store.get(job.id, tenant=TENANT)
    assert ended is done.status
    assert (done.status, done.failure) == ((JobStatus.FAILED, TOO_LATE) if is_late else (JobStatus.COMPLETED, None))
    assert (done.output is None) == is_late


def test_terms_are_kept(store: JobStore, clock: FakeClock) -> None:
    """A request that wants to be kept for less expires sooner."""
    _create(store, terms=Terms(retention_s=60))
    lease = _claim(store)

    store.complete(lease, OUTPUT, usage={}, engine={})

    assert store.get(lease.job_id, tenant=TENANT).expires_at == clock.now + 60


@pytest.mark.parametrize("state", ["queued", "in_progress", "completed"])
def test_only_what_failed_can_be_retried(store: JobStore, state: str) -> None:
    """A video that may still come, or is there, is not made twice."""
    job = _create(store)
    if state != "queued":
        lease = _claim(store)
    if state == "completed":
        store.complete(lease, OUTPUT, usage={}, engine={})

    with pytest.raises(IllegalTransition):
        store.create_again(job.id, tenant=TENANT)


def test_storm_of_retries_makes_one_job(store: JobStore) -> None:
    """Any number of retries at once get the same new job, until that one fails too."""
    job = _create(store)
    store.request_cancel(job.id, tenant=TENANT)
    found: list[tuple[str, bool]] = []

    def ask() -> None:
        again, is_new = store.create_again(job.id, tenant=TENANT)
        found.append((again.id, is_new))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({again for again, _ in found}) == 1
    assert sorted(is_new for _, is_new in found) == [False] * 5 + [True]
    store.request_cancel(found[0][0], tenant=TENANT)
    later, is_new = store.create_again(job.id, tenant=TENANT)
    assert is_new
    assert later.id != found[0][0]


def test_retry_is_for_the_owner_and_in_time(store: JobStore, clock: FakeClock) -> None:
    """Another tenant's video is unknown, and one whose inputs are about to go counts as expired."""
    job = _create(store)
    store.request_cancel(job.id, tenant=TENANT)

    with pytest.raises(JobNotFound):
        store.create_again(job.id, tenant="other")
    clock.advance(KEEP_S - LAST_CALL_S + 1)
    with pytest.raises(JobExpired):
        store.create_again(job.id, tenant=TENANT)


def test_retry_counts_against_the_quota(timed_database: Database) -> None:
    """A retry is no way around the number of videos that may wait."""
    store = JobStore(timed_database, max_attempts=2, retention_s=KEEP_S, default_limits=Limits(max_queued=1))
    tenant = "bounded"
    job = store.create(video_request(), tenant=tenant, metadata={})
    store.request_cancel(job.id, tenant=tenant)
    store.create(video_request(), tenant=tenant, metadata={})

    with pytest.raises(QuotaExceeded):
        store.create_again(job.id, tenant=tenant)


def test_estimate_is_made_of_measured_stages(store: JobStore, clock: FakeClock, timed_database: Database) -> None:
    """With one warm worker, waiting jobs are done one job's time after each other, behind the rest of the running."""
    for _ in range(3):
        _create(store)
        _run(store, clock, _claim(store))
    roster = Roster(timed_database)
    roster.beat(WorkerRecord("a", "host", 1, WorkerState.BUSY, engine={"model": MODEL}))
    running, first, second = (_create(store) for _ in range(3))
    lease = _claim(store)
    store.report(lease, stage=JobStage.KEYFRAMES, step=1, total=4, progress=10)

    pace = read_pace(timed_database, MODEL)

    left_s = 0.75 * STAGE_S[JobStage.KEYFRAMES] + STAGE_S[JobStage.INTERPOLATION] + STAGE_S[JobStage.MUX]
    assert (dict(pace.stage_seconds), pace.num_workers, pace.running_s) == (STAGE_S, 1, (left_s,))
    jobs = [store.get(job.id, tenant=TENANT) for job in (running, first, second)]
    assert [pace.eta_seconds(job, position=store.queue_position(job)) for job in jobs] == [
        left_s,
        left_s + JOB_S,
        left_s + 2 * JOB_S,
    ]


def test_estimate_knows_idle_workers(store: JobStore, clock: FakeClock, timed_database: Database) -> None:
    """Two idle workers make two jobs at once and then the third; workers of another model do not count."""
    _create(store)
    _run(store, clock, _claim(store))
    roster = Roster(timed_database)
    for name, model in (("a", MODEL), ("b", MODEL), ("c", "keyvid-512")):
        roster.beat(WorkerRecord(name, "host", 1, WorkerState.READY, engine={"model": model}))
    jobs = [_create(store) for _ in range(3)]

    pace = read_pace(timed_database, MODEL)

    etas = [pace.eta_seconds(job, position=store.queue_position(job)) for job in jobs]
    assert etas == [JOB_S, JOB_S, 2 * JOB_S]


def test_nothing_is_told_that_was_not_measured(store: JobStore, clock: FakeClock, timed_database: Database) -> None:
    """Without a finished job there is no estimate, and without a worker none for what waits."""
    job = _create(store)
    assert read_pace(timed_database, MODEL).eta_seconds(job, position=1) is None

    _run(store, clock, _claim(store))
    waiting = _create(store)

    assert read_pace(timed_database, MODEL).eta_seconds(waiting, position=1) is None
