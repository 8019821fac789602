"""What is left of videos and files after their last day, on every database and under a fake clock."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from contract_requests import KEYFRAMES, OUTPUT, video_request
from sqlalchemy import PrimaryKeyConstraint, UniqueConstraint, event, func, select

from workers import upkeep
from workers.errors import FileExpired, FileNotKnown, JobExpired, JobNotFound
from workers.idempotency import IdempotencyKey
from workers.job_store import JobStore
from workers.jobs import JobStage, JobStatus, StoredFile
from workers.reconciler import Reconciler
from workers.roster import Roster
from workers.settings import Settings
from workers.storage import open_storage
from workers.tables import Base, IdempotencyRow, JobRow
from workers.upkeep import PURGE_GRACE_S, Upkeep

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.clocks import FakeClock
    from workers.database import Database
    from workers.jobs import Job
    from workers.storage import BlobStore

TENANT = "default"
DAY_S = 86_400.0
KEEP_S = 7 * DAY_S
TOMBSTONE_S = 30 * DAY_S


class NoTickets:
    """A broker that nobody needs here."""

    def send_ticket(self) -> bool:
        """Do nothing."""
        return True


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Videos and files are kept for a week, and answered with 410 for another month."""
    return Settings(data_dir=tmp_path, retention_seconds=KEEP_S, file_retention_seconds=KEEP_S, orphan_seconds=60)


@dataclass
class Blobs:
    """Local blobs, old enough to be swept."""

    settings: Settings
    storage: BlobStore

    def put(self, key: str) -> None:
        """Store a blob."""
        self.storage.put_bytes(key, b"blob", content_type="application/octet-stream")
        then = time.time() - 7200
        os.utime(self.settings.blob_dir / key, (then, then))

    def keys(self) -> list[str]:
        """Keys of all blobs."""
        folders = ("inputs", "outputs", "checkpoints")
        return sorted(blob.key for folder in folders for blob in self.storage.list_prefix(f"{folder}/"))


@pytest.fixture
def blobs(settings: Settings) -> Blobs:
    """Empty local storage."""
    return Blobs(settings, open_storage(settings))


@pytest.fixture
def store(timed_database: Database) -> JobStore:
    """A job store that goes by the fake clock."""
    return JobStore(timed_database, max_attempts=2, retention_s=KEEP_S)


@pytest.fixture
def reconcile(timed_database: Database, settings: Settings, blobs: Blobs) -> Callable[[], None]:
    """One round of purging and sweeping."""
    upkeep = Upkeep(timed_database, retention_s=KEEP_S)
    reconciler = Reconciler(settings, upkeep, Roster(timed_database), blobs.storage, NoTickets())  # type: ignore[arg-type]

    def both() -> None:
        reconciler.purge()
        reconciler.sweep()

    return both


def _completed(store: JobStore, blobs: Blobs) -> Job:
    """A finished video with its blobs in storage."""
    job = store.create(video_request(), tenant=TENANT, metadata={"shot": "7"})
    claimed = store.claim("worker", model="keyvid-mini", lease_s=30)
    assert claimed is not None
    lease = claimed[1]
    keys = ["inputs/image", "inputs/audio", f"checkpoints/{job.id}/1/k", f"outputs/{job.id}/1/video.mp4"]
    for key in keys:
        blobs.put(key)
    store.save_checkpoint(
        lease, stage=JobStage.KEYFRAMES, key=keys[2], sha256="s", keyframes=KEYFRAMES, engine_digest="e"
    )
    store.complete(lease, replace(OUTPUT, key=keys[3]), usage={}, engine={})
    return store.get(job.id, tenant=TENANT)


def test_video_is_whole_until_its_last_moment_and_gone_after_it(
    store: JobStore, blobs: Blobs, clock: FakeClock, reconcile: Callable[[], None]
) -> None:
    """Before `expires_at` nothing is missing; from then on every call says expired, swept or not."""
    job = _completed(store, blobs)
    assert job.expires_at == clock.now + KEEP_S

    clock.advance(KEEP_S - 1)
    reconcile()
    assert store.get(job.id, tenant=TENANT) == job
    assert blobs.keys() == ["inputs/audio", "inputs/image", f"outputs/{job.id}/1/video.mp4"]

    clock.advance(1)
    for call in (store.get, store.request_cancel, store.delete):
        with pytest.raises(JobExpired):
            call(job.id, tenant=TENANT)
    assert store.list(tenant=TENANT, after=None, limit=9, order="desc", status=None) == []


def test_sweep_takes_blobs_history_and_what_the_row_tells_together(
    store: JobStore, blobs: Blobs, clock: FakeClock, reconcile: Callable[[], None]
) -> None:
    """Afterwards there is neither a blob nor an event nor a word of the caller's, and the answer stays expired."""
    job = _completed(store, blobs)
    clock.advance(KEEP_S + PURGE_GRACE_S)

    reconcile()

    assert blobs.keys() == []
    assert store.events(job.id, after_seq=0, limit=9) == []
    assert store.checkpoints(job.id) == ()
    with pytest.raises(JobExpired):
        store.get(job.id, tenant=TENANT)
    with pytest.raises(JobNotFound) as as_other:
        store.get(job.id, tenant="other")
    assert not isinstance(as_other.value, JobExpired)


def test_expired_video_leaves_nothing_its_caller_gave(
    store: JobStore,
    blobs: Blobs,
    clock: FakeClock,
    reconcile: Callable[[], None],
    timed_database: Database,
) -> None:
    """No column of the row holds the prompt, the metadata, or a hash of the inputs."""
    job = _completed(store, blobs)
    clock.advance(KEEP_S + PURGE_GRACE_S)

    reconcile()

    with timed_database.engine.connect() as connection:
        (row,) = connection.exec_driver_sql(f"SELECT * FROM jobs WHERE id = '{job.id}'")  # noqa: S608 - our own id
    told = str(row)
    assert not [word for word in ("hammer", "shot", "1" * 64, "2" * 64, "inputs/", "outputs/") if word in told]


def test_trace_of_an_expired_video_goes_in_the_end(
    store: JobStore, blobs: Blobs, clock: FakeClock, reconcile: Callable[[], None]
) -> None:
    """A month after its sweep an expired video is as unknown as any other id."""
    job = _completed(store, blobs)
    clock.advance(KEEP_S + PURGE_GRACE_S)
    reconcile()
    clock.advance(TOMBSTONE_S)
    reconcile()

    with pytest.raises(JobNotFound) as unknown:
        store.get(job.id, tenant=TENANT)
    assert not isinstance(unknown.value, JobExpired)


def test_traces_are_dropped_in_batches(
    store: JobStore, blobs: Blobs, clock: FakeClock, timed_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No transaction drops more than a batch, however many are due, and all of them go."""
    monkeypatch.setattr(upkeep, "DROP_BATCH", 2)
    for _ in range(5):
        _completed(store, blobs)
    rows = Upkeep(timed_database, retention_s=KEEP_S)
    clock.advance(KEEP_S + PURGE_GRACE_S)
    for job in rows.purgeable_jobs(limit=9):
        rows.note_purged(job)
    clock.advance(TOMBSTONE_S)
    dropped = []

    def note_dropped(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("DELETE FROM jobs"):
            dropped.append(statement)

    event.listen(timed_database.engine, "after_cursor_execute", note_dropped)

    rows.forget_expired(after_s=TOMBSTONE_S)

    with timed_database.read() as transaction:
        assert transaction.session.scalar(select(func.count()).select_from(JobRow)) == 0
    assert len(dropped) == 3  # of two, two and one


def test_idempotency_key_is_dropped_when_it_has_ended(
    store: JobStore, clock: FakeClock, timed_database: Database
) -> None:
    """It is not kept for as long as the video that it made."""
    rows = Upkeep(timed_database, retention_s=KEEP_S)
    job = store.create(
        video_request(), tenant=TENANT, metadata={}, idempotency=IdempotencyKey("k", "f" * 64, life_s=100)
    )

    def keys() -> list[str]:
        rows.forget_expired(after_s=TOMBSTONE_S)
        with timed_database.read() as transaction:
            return list(transaction.session.scalars(select(IdempotencyRow.key)))

    clock.advance(99)
    assert keys() == ["k"]
    clock.advance(1)
    assert keys() == []
    assert store.get(job.id, tenant=TENANT).status is JobStatus.QUEUED


def test_what_goes_with_a_job_is_found_by_an_index() -> None:
    """Dropping a job looks through no whole table for the rows that name it."""
    for table in Base.metadata.tables.values():
        unique = [item for item in table.constraints if isinstance(item, PrimaryKeyConstraint | UniqueConstraint)]
        first = {index.columns[0].name for index in (*table.indexes, *unique)}
        named = {key.parent.name for key in table.foreign_keys if key.target_fullname == "jobs.id"}
        assert named <= first, table.name


def test_inputs_that_another_video_names_stay(
    store: JobStore, blobs: Blobs, clock: FakeClock, reconcile: Callable[[], None]
) -> None:
    """Inputs are shared by content: the last one that names them takes them along."""
    _completed(store, blobs)
    clock.advance(KEEP_S)
    later = store.create(video_request(), tenant=TENANT, metadata={})
    clock.advance(PURGE_GRACE_S)

    reconcile()

    assert sorted(blobs.keys()) == ["inputs/audio", "inputs/image"]
    assert store.get(later.id, tenant=TENANT).status is JobStatus.QUEUED


def test_file_expires_with_its_blob(
    store: JobStore, blobs: Blobs, clock: FakeClock, reconcile: Callable[[], None]
) -> None:
    """A file sent ahead has a last day of its own, then is expired, then unknown."""
    blobs.put("inputs/file")
    sent = StoredFile("", TENANT, "audio", "secret.wav", {"key": "inputs/file"}, 0.0)
    file = store.add_file(sent, keep_s=KEEP_S)
    clock.advance(KEEP_S - 1)
    reconcile()
    before = store.get_file(file.id, tenant=TENANT)
    clock.advance(1 + PURGE_GRACE_S)

    reconcile()

    assert before == file
    assert blobs.keys() == []
    with pytest.raises(FileExpired):
        store.get_file(file.id, tenant=TENANT)
    clock.advance(TOMBSTONE_S)
    reconcile()
    with pytest.raises(FileNotKnown) as unknown:
        store.get_file(file.id, tenant=TENANT)
    assert not isinstance(unknown.value, FileExpired)
