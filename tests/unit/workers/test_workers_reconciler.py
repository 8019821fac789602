"""What the reconciler repairs and clears, round by round."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from workers import reconciler
from workers.contract import AudioInput, ImageInput, VideoRequest
from workers.database import Database, upgrade
from workers.errors import BlobNotFound, JobNotFound, LeaseLost, StorageUnavailable
from workers.job_store import JobStore
from workers.jobs import EventType, Failure, JobStage, JobStatus, Keyframes, Lease, Output, StoredFile
from workers.reconciler import Reconciler
from workers.roster import Roster, WorkerRecord, WorkerState
from workers.settings import Settings
from workers.storage import BlobStore, open_storage
from workers.upkeep import Upkeep

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from workers.jobs import Job
    from workers.storage import BlobStat

TENANT = "default"
MODEL = "keyvid-mini"
EXPIRED_S = -1.0
HOUR_S = 3600.0
KEYFRAMES = Keyframes((0, 1), (0.0,), (), ())


class TicketCount:
    """A broker that only counts."""

    def __init__(self) -> None:
        self.sent = 0

    def send_ticket(self) -> bool:
        """Count."""
        self.sent += 1
        return True


@dataclass
class Installation:
    """An embedded installation with a reconciler."""

    settings: Settings
    database: Database
    store: JobStore
    storage: BlobStore
    tickets: TicketCount
    roster: Roster

    def reconciler(self) -> Reconciler:
        """Another reconciler process."""
        upkeep = Upkeep(self.database, retention_s=self.settings.retention_seconds)
        return Reconciler(self.settings, upkeep, self.roster, self.storage, self.tickets)  # type: ignore[arg-type]

    def submit(self, *, image: str = "inputs/image", audio: str = "inputs/audio") -> Job:
        """Accept a request whose inputs are in storage."""
        for key in (image, audio):
            self.put(key)
        request = VideoRequest(
            model=MODEL,
            prompt="a bell",
            image=ImageInput(key=image, sha256="1" * 64, width=64, height=32, bytes=1),
            audio=AudioInput(key=audio, sha256="2" * 64, duration_s=2.0, sample_rate=16_000, channels=1, bytes=1),
            image_fit="cover",
            audio_start=0.0,
            width=64,
            height=32,
            seed=1,
        )
        return self.store.create(request, tenant=TENANT, metadata={})

    def claim(self, *, lease_s: float = 30.0) -> Lease:
        """Take the next job as some worker."""
        claimed = self.store.claim("worker", model=MODEL, lease_s=lease_s)
        assert claimed is not None
        return claimed[1]

    def put(self, key: str, *, age_s: float = 2 * HOUR_S) -> None:
        """Store a blob of some age."""
        self.storage.put_bytes(key, b"blob", content_type="application/octet-stream")
        then = time.time() - age_s
        os.utime(self.settings.blob_dir / key, (then, then))

    def complete(self, lease: Lease) -> None:
        """Finish a job with its blobs in storage."""
        folder = f"{lease.job_id}/{lease.fence}"
        self.put(f"checkpoints/{folder}/keyframes.safetensors")
        self.put(f"outputs/{folder}/video.mp4")
        self.store.save_checkpoint(
            lease, stage=JobStage.KEYFRAMES, key="k", sha256="s", keyframes=KEYFRAMES, engine_digest="e"
        )
        output = Output(f"outputs/{folder}/video.mp4", "0" * 64, 4, 48, 24, 64, 32, 2.0)
        self.store.complete(lease, output, usage={}, engine={})

    def blob_keys(self) -> set[str]:
        """Keys of all blobs."""
        return {
            blob.key for folder in ("inputs", "outputs", "checkpoints") for blob in self.storage.list_prefix(folder)
        }


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Installation]:
    """An embedded installation: a job has two attempts, and finished videos are kept for a week."""
    settings = Settings(data_dir=tmp_path, max_attempts=2, orphan_seconds=HOUR_S)
    upgrade(settings.database_url)
    database = Database(settings.database_url)
    store = JobStore(database, max_attempts=2, retention_s=settings.retention_seconds)
    yield Installation(settings, database, store, open_storage(settings), TicketCount(), Roster(database))
    database.close()


def test_job_of_a_silent_worker_is_queued_again(make: Installation) -> None:
    """An expired lease ends, a ticket is sent, and the silent worker's write is refused."""
    job = make.submit()
    lease = make.claim(lease_s=EXPIRED_S)

    make.reconciler().reconcile()

    again = make.store.get(job.id, tenant=TENANT)
    assert (again.status, again.attempt, make.tickets.sent) == (JobStatus.QUEUED, 1, 1)
    assert make.store.events(job.id, after_seq=0, limit=9)[-1].type is EventType.RETRYING
    with pytest.raises(LeaseLost):
        make.store.fail(lease, Failure("internal", "late"))


def test_job_with_a_cancel_request_is_not_run_again(make: Installation) -> None:
    """The cancel of a job whose worker died is final without another attempt."""
    job = make.submit()
    make.claim(lease_s=EXPIRED_S)
    make.store.request_cancel(job.id, tenant=TENANT)

    make.reconciler().reconcile()

    assert make.store.get(job.id, tenant=TENANT).status is JobStatus.CANCELLED


def test_job_that_outlives_no_worker_fails(make: Installation) -> None:
    """After the last attempt a lost worker means a failed job."""
    job = make.submit()
    reconciler = make.reconciler()
    for _ in range(2):
        make.claim(lease_s=EXPIRED_S)
        reconciler.reconcile()

    failed = make.store.get(job.id, tenant=TENANT)
    assert failed.failure is not None
    assert (failed.status, failed.failure.code) == (JobStatus.FAILED, "worker_crashed")


def test_live_lease_is_left_alone(make: Installation) -> None:
    """A worker that renews keeps its job."""
    make.submit()
    lease = make.claim()

    make.reconciler().reconcile()

    assert not make.store.renew(lease, lease_s=30.0)


def test_waiting_job_gets_a_ticket_again(make: Installation) -> None:
    """Only rows that wait cause tickets, and not one in every round."""
    reconciler = make.reconciler()
    reconciler.reconcile()
    before = make.tickets.sent
    make.submit()
    reconciler.reconcile()
    reconciler.reconcile()

    assert (before, make.tickets.sent) == (0, 1)


def test_only_one_reconciler_works(make: Installation) -> None:
    """The second one waits until the first one has been silent for some rounds."""
    first, second = make.reconciler(), make.reconciler()

    assert first.reconcile()
    assert not second.reconcile()
    assert first.reconcile()
    make.roster.lead("reconcile", first.id, for_s=EXPIRED_S)
    assert second.reconcile()


def test_deleted_job_leaves_no_trace(make: Installation) -> None:
    """Blobs, row and history of a deleted job go; inputs that another job names stay."""
    other = make.submit(image="inputs/shared", audio="inputs/other")
    make.complete(make.claim())
    job = make.submit(image="inputs/shared", audio="inputs/own")
    make.complete(make.claim())
    make.store.delete(job.id, tenant=TENANT)

    make.reconciler().purge()

    assert not [key for key in make.blob_keys() if job.id in key]
    assert {"inputs/shared", "inputs/other"} <= make.blob_keys()
    assert "inputs/own" not in make.blob_keys()
    assert make.store.events(job.id, after_seq=0, limit=9) == []
    assert make.store.get(other.id, tenant=TENANT).status is JobStatus.COMPLETED


def test_running_job_is_purged_only_once_it_has_stopped(make: Installation) -> None:
    """A deleted job whose worker still stops keeps its blobs until then."""
    job = make.submit()
    lease = make.claim()
    make.put(f"checkpoints/{job.id}/1/localization.safetensors")
    make.store.delete(job.id, tenant=TENANT)
    reconciler = make.reconciler()

    reconciler.purge()
    before = make.blob_keys()
    make.store.cancelled(lease)
    reconciler.purge()

    assert f"checkpoints/{job.id}/1/localization.safetensors" in before
    assert not [key for key in make.blob_keys() if job.id in key]


def test_young_input_is_kept_for_the_request_that_may_name_it(make: Installation) -> None:
    """An input that was stored again a moment ago survives the purge of the job that named it before."""
    job = make.submit()
    make.complete(make.claim())
    make.put("inputs/image", age_s=0)
    make.store.delete(job.id, tenant=TENANT)

    make.reconciler().purge()

    assert make.blob_keys() == {"inputs/image"}


def test_sweep_removes_what_no_row_names(make: Installation) -> None:
    """Old orphans go; young ones, and what jobs and files name, stay."""
    job = make.submit()
    make.put("inputs/orphan")
    make.put("inputs/young", age_s=0)
    make.put("inputs/file")
    make.put("outputs/video_gone/1/video.mp4")
    make.put(f"outputs/{job.id}/1/video.mp4")
    make.store.add_file(StoredFile("", TENANT, "image", "a.png", {"key": "inputs/file"}, 0.0))

    make.reconciler().sweep()

    assert make.blob_keys() == {
        "inputs/image",
        "inputs/audio",
        "inputs/young",
        "inputs/file",
        f"outputs/{job.id}/1/video.mp4",
    }


def test_leases_are_repaired_while_a_long_sweep_goes_on(make: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """A round does a part of the sweep and leaves the rest to the next ones, which repair first."""
    monkeypatch.setattr(reconciler, "SWEEP_TURN_S", 0.0)
    orphans = {f"inputs/orphan-{number}" for number in range(3)}
    for key in orphans:
        make.put(key)
    running = make.reconciler()
    assert running.reconcile()
    assert len(orphans & make.blob_keys()) >= 2
    job = make.submit()
    make.claim(lease_s=-1)

    assert running.reconcile()

    assert make.store.get(job.id, tenant=TENANT).status is JobStatus.QUEUED
    assert orphans & make.blob_keys()
    for _ in range(len(orphans) + 3):
        running.reconcile()
    assert not orphans & make.blob_keys()


def test_sweep_that_an_outage_ends_begins_anew(make: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """The round that hears of the outage is delayed, the ones after it go on, and a later sweep is whole."""
    running = make.reconciler()
    make.put("inputs/orphan")
    with monkeypatch.context() as broken:
        broken.setattr(make.storage, "delete", refuse)
        with pytest.raises(StorageUnavailable):
            running.reconcile()

    assert running.reconcile()
    monkeypatch.setattr(reconciler, "SWEEP_PERIOD_S", 0.0)
    assert running.reconcile()

    assert "inputs/orphan" not in make.blob_keys()


def refuse(_key: str) -> None:
    """Be storage that does not answer."""
    raise StorageUnavailable


def test_sweep_holds_one_blob_at_a_time(make: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its memory does not grow with storage: each orphan is removed before the next blob is listed."""
    for number in range(5):
        make.put(f"inputs/orphan{number}")
    left_at_each: list[int] = []
    list_prefix = make.storage.list_prefix

    def watched(prefix: str) -> Iterator[BlobStat]:
        for blob in list_prefix(prefix):
            left_at_each.append(sum(1 for _ in list_prefix("inputs/")))
            yield blob

    monkeypatch.setattr(make.storage, "list_prefix", watched)

    make.reconciler().sweep()

    assert left_at_each == [5, 4, 3, 2, 1]


def test_sweep_leaves_a_finished_job_its_result_alone(make: Installation) -> None:
    """What an attempt stored that died before its commit goes, and so do checkpoints; a running job keeps all."""
    job = make.submit()
    make.claim(lease_s=EXPIRED_S)
    make.put(f"outputs/{job.id}/1/video.mp4")
    make.reconciler().reconcile()
    lease = make.claim()
    make.reconciler().sweep()
    assert f"outputs/{job.id}/1/video.mp4" in make.blob_keys()

    make.complete(lease)
    make.reconciler().sweep()

    assert make.blob_keys() == {"inputs/image", "inputs/audio", f"outputs/{job.id}/2/video.mp4"}


def test_sweep_removes_old_temporary_files(make: Installation) -> None:
    """What a killed process left goes after a day; what is in use stays."""
    temp = make.settings.temp_dir
    for name in ("job-old", "job-new"):
        (temp / name).mkdir(parents=True)
        (temp / name / "video.mp4").touch()
    (temp / "upload-old").touch()
    long_ago = time.time() - 2 * 86_400
    for name in ("job-old", "upload-old"):
        os.utime(temp / name, (long_ago, long_ago))

    make.reconciler().sweep()

    assert [path.name for path in temp.iterdir()] == ["job-new"]


def test_roster_shows_who_was_heard_of(make: Installation) -> None:
    """Beats replace each other, leaving removes, and the silent are not shown."""
    make.roster.beat(WorkerRecord("a", "host", 1, WorkerState.STARTING))
    make.roster.beat(WorkerRecord("a", "host", 1, WorkerState.BUSY, "video_a", {"model": "tiny"}))
    make.roster.beat(WorkerRecord("b", "host", 2, WorkerState.READY))
    make.roster.leave("b")

    shown = make.roster.workers(within_s=60)

    assert [(worker.id, worker.state, worker.job_id, worker.engine) for worker in shown] == [
        ("a", WorkerState.BUSY, "video_a", {"model": "tiny"})
    ]
    assert make.roster.workers(within_s=EXPIRED_S) == []
    make.roster.forget_silent(after_s=EXPIRED_S)
    assert make.roster.workers(within_s=60) == []


def test_purge_of_a_vanished_job_is_harmless(make: Installation) -> None:
    """Blobs that are gone already do not stop the round."""
    job = make.submit()
    make.store.delete(job.id, tenant=TENANT)
    for key in ("inputs/image", "inputs/audio"):
        make.storage.delete(key)

    make.reconciler().purge()

    with pytest.raises(JobNotFound):
        make.store.get(job.id, tenant=TENANT)
    with pytest.raises(BlobNotFound):
        make.storage.stat("inputs/image")
