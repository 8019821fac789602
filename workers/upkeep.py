"""What the reconciler needs of the job database: leases that ended, rows that wait, blobs that nobody needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import delete, or_, select

from workers import metrics
from workers.jobs import TOO_LATE, Failure, JobStatus
from workers.logs import named
from workers.records import end_attempt, file_of, finish, origin_of
from workers.tables import (
    BrowserSessionRow,
    EventRow,
    EventTicketRow,
    FileRow,
    IdempotencyRow,
    JobRow,
    ShareLinkRow,
    UploadRow,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import ColumnElement

    from workers.database import Database
    from workers.jobs import StoredFile

logger = structlog.get_logger(__name__)

LOST = Failure("worker_crashed", "The workers that took this job stopped before it was done.")
PURGE_GRACE_S = 60.0  # a request that saw a row in its last moments may still use what it names
DROP_BATCH = 100  # rows that are dropped in one transaction
BLOB_NAMES = ("key", "thumbnail_key", "spritesheet_key")  # in a row's output
FINAL = tuple(status for status in JobStatus if status.is_terminal)


@dataclass(frozen=True, slots=True)
class PurgeableJob:
    """A finished job whose blobs may go; a deleted one goes altogether, of an expired one the fact remains."""

    id: str
    input_keys: tuple[str, ...]
    is_deleted: bool


class Upkeep:
    """Repairs and clearing. Every method raises StoreUnavailable when the database does not answer."""

    def __init__(self, database: Database, *, retention_s: float) -> None:
        self._database = database
        self._retention_s = retention_s

    def end_expired_leases(self) -> Sequence[str]:
        """End the attempts of workers that stopped renewing: queued again, cancelled if asked, or failed at last.

        Returns ids of the jobs.
        """
        ended = []
        while (job_id := self._end_one_expired()) is not None:
            ended.append(job_id)
        return ended

    def end_overdue(self) -> Sequence[str]:
        """Fail the waiting jobs whose deadline has passed; a running one is ended by its worker. Returns their ids."""
        ended = []
        while (job_id := self._end_one_overdue()) is not None:
            ended.append(job_id)
        return ended

    def has_waiting_jobs(self) -> bool:
        """Whether any job may be claimed now."""
        with self._database.read() as transaction:
            waiting = select(JobRow.id).where(
                JobRow.status == JobStatus.QUEUED,
                JobRow.cancel_requested_at.is_(None),
                JobRow.not_before <= transaction.now,
            )
            return transaction.session.scalar(waiting.limit(1)) is not None

    def purgeable_jobs(self, *, limit: int) -> Sequence[PurgeableJob]:
        """Finished jobs that were deleted or have expired."""
        with self._database.read() as transaction:
            due = or_(JobRow.deleted_at.is_not(None), JobRow.expires_at <= transaction.now - PURGE_GRACE_S)
            query = select(JobRow).where(JobRow.status.in_(FINAL), JobRow.purged_at.is_(None), due)
            return [
                PurgeableJob(row.id, (row.image_key, row.audio_key), row.deleted_at is not None)
                for row in transaction.session.scalars(query.order_by(JobRow.id).limit(limit))
            ]

    def note_purged(self, job: PurgeableJob) -> None:
        """Note that a job's own blobs are gone.

        With them go the row of a deleted job, and of an expired one everything that its caller gave or got.
        """
        with self._database.write() as transaction:
            if job.is_deleted:
                transaction.session.execute(delete(JobRow).where(JobRow.id == job.id))
                return
            transaction.session.execute(delete(EventRow).where(EventRow.job_id == job.id))
            row = transaction.session.get(JobRow, job.id)
            if row is not None:
                row.purged_at = transaction.now
                _blank(row)

    def expired_files(self, *, limit: int) -> Sequence[StoredFile]:
        """Files that have passed their last day."""
        with self._database.read() as transaction:
            over = FileRow.expires_at <= transaction.now - PURGE_GRACE_S
            due = select(FileRow).where(FileRow.purged_at.is_(None), over).order_by(FileRow.id).limit(limit)
            return [file_of(row) for row in transaction.session.scalars(due)]

    def note_file_purged(self, file_id: str) -> None:
        """Forget what a file was: only that it has expired remains."""
        with self._database.write() as transaction:
            row = transaction.session.get(FileRow, file_id)
            if row is not None:
                row.purged_at = transaction.now
                row.key, row.filename, row.media = None, "", {}

    def forget_expired(self, *, after_s: float) -> None:
        """Drop the rows of jobs and files purged, and of links and uploads ended, at least `after_s` seconds ago.

        Tickets, sessions and idempotency keys go as soon as they have ended.
        """
        with self._database.write() as transaction:
            for ended in (EventTicketRow, BrowserSessionRow, IdempotencyRow):
                transaction.session.execute(delete(ended).where(ended.expires_at <= transaction.now))
            for over in (ShareLinkRow, UploadRow):
                transaction.session.execute(delete(over).where(over.expires_at <= transaction.now - after_s))
        for table in (JobRow, FileRow):
            while self._drop_purged(table, after_s=after_s) == DROP_BATCH:
                continue

    def is_input_needed(self, key: str) -> bool:
        """Whether a job or a file still names an input blob."""
        by_job = select(JobRow.id).where(
            or_(JobRow.image_key == key, JobRow.audio_key == key),
            JobRow.purged_at.is_(None),
        )
        by_file = select(FileRow.id).where(FileRow.key == key, FileRow.purged_at.is_(None))
        with self._database.read() as transaction:
            return any(transaction.session.scalar(query.limit(1)) is not None for query in (by_job, by_file))

    def is_upload_pending(self, upload_id: str) -> bool:
        """Whether the bytes of an upload may still be completed to a file."""
        with self._database.read() as transaction:
            query = select(UploadRow.id).where(
                UploadRow.id == upload_id,
                UploadRow.completed_at.is_(None),
                UploadRow.expires_at > transaction.now - PURGE_GRACE_S,
            )
            return transaction.session.scalar(query) is not None

    def kept_outputs(self, job_id: str) -> Collection[str] | None:
        """Keys of the blobs that a job has made and that must stay; None while it is made, when all of them must.

        A finished one needs its result alone: not its checkpoints, nor what an attempt left that ended too early.
        """
        query = select(JobRow.status, JobRow.output).where(JobRow.id == job_id, JobRow.purged_at.is_(None))
        with self._database.read() as transaction:
            found = transaction.session.execute(query).first()
        if found is not None and found.status not in FINAL:
            return None
        output = (found.output if found is not None else None) or {}
        return {output[name] for name in BLOB_NAMES if output.get(name)}

    def _drop_purged(self, table: type[JobRow | FileRow], *, after_s: float) -> int:
        """Drop one batch of rows that were purged at least `after_s` seconds ago: others want to write in between."""
        with self._database.write() as transaction:
            before = transaction.now - after_s
            # What was purged had expired by then, and only that has an index.
            purged = select(table.id).where(table.expires_at <= before, table.purged_at <= before)
            batch = purged.order_by(table.expires_at).limit(DROP_BATCH)
            return len(transaction.session.scalars(delete(table).where(table.id.in_(batch)).returning(table.id)).all())

    def _end_one_overdue(self) -> str | None:
        with self._database.read() as transaction:
            if transaction.session.scalar(select(JobRow.id).where(*_overdue(transaction.now)).limit(1)) is None:
                return None
        with self._database.write() as transaction:
            query = select(JobRow).where(*_overdue(transaction.now)).order_by(JobRow.deadline_at).limit(1)
            row = transaction.session.scalar(query.with_for_update(skip_locked=True))
            if row is None:
                return None
            row.failure_code, row.failure_message = TOO_LATE.code, TOO_LATE.message
            finish(transaction, row, JobStatus.FAILED, retention_s=self._retention_s)
        with named(origin_of(row), job_id=row.id):
            logger.warning("deadline_passed")
        return row.id

    def _end_one_expired(self) -> str | None:
        with self._database.read() as transaction:  # usually there is none: no need for the write lock
            found = select(JobRow.id).where(*_expired(transaction.now)).limit(1)
            if transaction.session.scalar(found) is None:
                return None
        with self._database.write() as transaction:
            query = select(JobRow).where(*_expired(transaction.now)).order_by(JobRow.lease_until).limit(1)
            row = transaction.session.scalar(query.with_for_update(skip_locked=True))
            if row is None:
                return None
            end_attempt(transaction, row, LOST, delay_s=0.0, reason="lease_expired", retention_s=self._retention_s)
        with named(origin_of(row), job_id=row.id):
            logger.warning("lease_expired", attempt=row.attempt)
        metrics.LEASES_EXPIRED.inc()
        if row.status == JobStatus.QUEUED:
            metrics.RETRIES.labels("lease_expired").inc()
        return row.id


def _overdue(now: float) -> tuple[ColumnElement[bool], ...]:
    return (JobRow.status == JobStatus.QUEUED, JobRow.deadline_at <= now)


def _blank(row: JobRow) -> None:
    """Take everything out of a job's row that its caller gave or got."""
    blank: Mapping[str, Any] = {"key": "", "sha256": ""}
    request = row.request
    row.request = {
        **request,
        "prompt": "",
        "image": {**request["image"], **blank},
        "audio": {**request["audio"], **blank},
    }
    row.image_key = row.audio_key = ""
    row.caller_metadata = {}
    row.keyframes = row.output = row.recipe_sha256 = None


def _expired(now: float) -> tuple[ColumnElement[bool], ...]:
    return (JobRow.status == JobStatus.IN_PROGRESS, JobRow.lease_until < now)
