"""The worker's side of the job store: taking a job, keeping it, and ending it.

Every write names the lease it was made under. Once the job has passed to another worker, its fence has moved
and the write is refused: a worker that was frozen or cut off cannot harm the one that took over.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, or_, select

from workers.access import NO_LIMITS
from workers.contract import PAYLOAD_VERSION
from workers.errors import LeaseLost
from workers.fair_share import next_job
from workers.jobs import (
    TOO_LATE,
    WORKER_DRAINING,
    EventType,
    Failure,
    Job,
    JobStage,
    JobStatus,
    Keyframes,
    Lease,
    Output,
)
from workers.records import advance, close_stages, end_attempt, finish, fresh_stages, job_of, record, requeue
from workers.tables import CheckpointRow, EventRow, JobRow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.orm import Session

    from workers.access import Limits
    from workers.database import Database, Transaction
    from workers.runner_messages import Previewed

MAX_RUNNING_PROGRESS = 99  # 100 is for finished videos


class JobLeases:
    """What a worker may do with jobs. Every method raises StoreUnavailable when the database does not answer."""

    def __init__(self, database: Database, *, retention_s: float, default_limits: Limits = NO_LIMITS) -> None:
        self._database = database
        self._retention_s = retention_s
        self._default_limits = default_limits

    def claim(self, owner: str, *, model: str, lease_s: float) -> tuple[Job, Lease] | None:
        """Take the job for `model` whose turn it is, if there is one; it counts as an attempt.

        Tenants take turns (`workers.fair_share`). A job with a cancel request, or past its deadline, is never taken,
        nor is one whose request a newer version wrote: a worker of that version takes it.
        """
        with self._database.read() as transaction:  # most looks find nothing: they should not take the write lock
            if (
                transaction.session.scalar(select(JobRow.id).where(*_claimable(model, transaction.now)).limit(1))
                is None
            ):
                return None
        with self._database.write() as transaction:
            row = next_job(transaction, _claimable(model, transaction.now), defaults=self._default_limits)
            if row is None:
                return None
            left = _checkpointed(transaction.session, row.id)  # read before the row changes, which is then written once
            row.status = JobStatus.IN_PROGRESS
            row.attempt += 1
            row.fence += 1
            row.lease_owner = owner
            row.lease_until = transaction.now + lease_s
            row.claimed_at = transaction.now
            if row.started_at is None:
                row.started_at = transaction.now
            row.stages = fresh_stages(left)
            row.stage = next(stage["name"] for stage in row.stages if stage["status"] == "pending")
            record(transaction, row, EventType.STARTED)
            return job_of(row), Lease(row.id, owner, row.fence)

    def renew(self, lease: Lease, *, lease_s: float) -> bool:
        """Keep the job for another `lease_s`; says whether a cancel is requested.

        Raises: LeaseLost.
        """
        with self._database.write() as transaction:
            row = _held(transaction, lease)
            row.lease_until = transaction.now + lease_s
            return row.cancel_requested_at is not None

    def is_cancel_requested(self, lease: Lease) -> bool:
        """Whether a cancel is requested, without writing anything.

        Raises: LeaseLost.
        """
        with self._database.read() as transaction:
            found = transaction.session.execute(select(JobRow.cancel_requested_at).where(*_holds(lease))).first()
        if found is None:
            raise LeaseLost
        return found[0] is not None

    def report(self, lease: Lease, *, stage: JobStage, step: int, total: int, progress: int) -> None:
        """Say that `step` of `total` steps of `stage` are done, and `progress` percent of the job.

        Raises: LeaseLost.
        """
        with self._database.write() as transaction:
            row = _held(transaction, lease)
            is_new_stage = row.stage != stage or step == 0
            row.stage = stage
            row.stages = advance(row.stages, stage, step=step, total=total, now=transaction.now)
            row.progress = max(row.progress, min(progress, MAX_RUNNING_PROGRESS))
            kind = EventType.STAGE if is_new_stage else EventType.PROGRESS
            record(transaction, row, kind, step=step, total=total)

    def note_preview(self, lease: Lease, preview: Previewed) -> None:
        """Say that another preview is in storage.

        Raises: LeaseLost.
        """
        with self._database.write() as transaction:
            row = _held(transaction, lease)
            size = {"width": preview.width, "height": preview.height}
            record(transaction, row, EventType.PREVIEW, preview_stage=preview.stage, frame=preview.frame, **size)

    def save_checkpoint(
        self,
        lease: Lease,
        *,
        stage: JobStage,
        key: str,
        sha256: str,
        keyframes: Keyframes,
        engine_digest: str,
        step: int | None = None,
    ) -> None:
        """Note where the state of a stage is kept; only the same engine may resume from it.

        Args: step: how many of its steps are done; None when the stage is.
        Raises: LeaseLost.
        """
        with self._database.write() as transaction:
            row = _held(transaction, lease)
            transaction.session.merge(
                CheckpointRow(
                    job_id=lease.job_id,
                    stage=stage,
                    key=key,
                    sha256=sha256,
                    engine_digest=engine_digest,
                    fence=lease.fence,
                    at=transaction.now,
                    step=step,
                )
            )
            if row.keyframes is None:
                row.keyframes = asdict(keyframes)
                record(transaction, row, EventType.PROGRESS, keyframes=list(keyframes.indices))

    def checkpoints(self, job_id: str) -> tuple[Mapping[str, Any], ...]:
        """The checkpoints of a job, the newest first: stage, step, key, sha256 and engine_digest of each."""
        newest_first = (
            select(CheckpointRow)
            .where(CheckpointRow.job_id == job_id)
            .order_by(CheckpointRow.fence.desc(), CheckpointRow.at.desc())
        )
        names = ("stage", "step", "key", "sha256", "engine_digest")
        with self._database.read() as transaction:
            rows = transaction.session.scalars(newest_first)
            return tuple({name: getattr(row, name) for name in names} for row in rows)

    def retry_reasons(self, job_id: str) -> tuple[str, ...]:
        """Why the earlier attempts of a job were ended, the first one first."""
        retried = select(EventRow.data).where(EventRow.job_id == job_id, EventRow.type == EventType.RETRYING)
        with self._database.read() as transaction:
            return tuple(data["reason"] for data in transaction.session.scalars(retried.order_by(EventRow.seq)))

    def complete(
        self, lease: Lease, output: Output, *, usage: Mapping[str, float], engine: Mapping[str, Any]
    ) -> JobStatus:
        """End the job with its video, or as failed when that comes after its deadline. Answers its state.

        If a cancel came too late, the video still counts. Raises: LeaseLost.
        """
        with self._database.write() as transaction:
            row = _held(transaction, lease)
            if row.deadline_at is not None and row.deadline_at <= transaction.now:
                return self._fail(transaction, row, TOO_LATE)
            row.output = asdict(output)
            row.engine = dict(engine)
            queued_s = (row.started_at or transaction.now) - row.created_at
            row.usage = {"queue_s": round(queued_s, 3), **usage}
            row.progress = 100
            row.stages = close_stages(row.stages, now=transaction.now)
            finish(transaction, row, JobStatus.COMPLETED, retention_s=self._retention_s)
            return JobStatus.COMPLETED

    def fail(self, lease: Lease, failure: Failure) -> JobStatus:
        """End the job for good: another attempt would fail in the same way. Answers its state.

        Raises: LeaseLost.
        """
        with self._database.write() as transaction:
            row = _held(transaction, lease)
            return self._fail(transaction, row, failure)

    def retry(self, lease: Lease, failure: Failure, *, delay_s: float) -> JobStatus:
        """End this attempt: queue the job again after `delay_s`, or fail it with `failure` if it was the last one.

        A job with a cancel request is cancelled instead. Answers its state. Raises: LeaseLost.
        """
        with self._database.write() as transaction:
            row = _held(transaction, lease)
            end_attempt(transaction, row, failure, delay_s=delay_s, reason=failure.code, retention_s=self._retention_s)
            return JobStatus(row.status)

    def cancelled(self, lease: Lease) -> JobStatus:
        """End the job as cancelled; say so only once its runner has stopped. Answers its state.

        Raises: LeaseLost.
        """
        with self._database.write() as transaction:
            row = _held(transaction, lease)
            finish(transaction, row, JobStatus.CANCELLED, retention_s=self._retention_s)
            return JobStatus.CANCELLED

    def release(self, lease: Lease, *, refund: bool) -> JobStatus:
        """Give the job back to the queue at once; `refund` takes back the attempt, which was not the job's fault.

        A job with a cancel request is cancelled instead. Answers its state.

        Raises: LeaseLost.
        """
        with self._database.write() as transaction:
            row = _held(transaction, lease)
            if row.cancel_requested_at is not None:
                finish(transaction, row, JobStatus.CANCELLED, retention_s=self._retention_s)
                return JobStatus.CANCELLED
            row.attempt -= 1 if refund else 0
            requeue(transaction, row, delay_s=0.0, reason=WORKER_DRAINING)
            return JobStatus.QUEUED

    def _fail(self, transaction: Transaction, row: JobRow, failure: Failure) -> JobStatus:
        row.failure_code, row.failure_message = failure.code, failure.message
        finish(transaction, row, JobStatus.FAILED, retention_s=self._retention_s)
        return JobStatus.FAILED


def _claimable(model: str, now: float) -> tuple[ColumnElement[bool], ...]:
    return (
        JobRow.status == JobStatus.QUEUED,
        JobRow.model == model,
        JobRow.request["version"].as_integer() <= PAYLOAD_VERSION,
        JobRow.cancel_requested_at.is_(None),
        JobRow.not_before <= now,
        or_(JobRow.deadline_at.is_(None), JobRow.deadline_at > now),
    )


def _holds(lease: Lease) -> tuple[ColumnElement[bool], ...]:
    return (
        JobRow.id == lease.job_id,
        JobRow.lease_owner == lease.owner,
        JobRow.fence == lease.fence,
        JobRow.status == JobStatus.IN_PROGRESS,
    )


def _held(transaction: Transaction, lease: Lease) -> JobRow:
    row = transaction.session.scalar(select(JobRow).where(*_holds(lease)).with_for_update())
    if row is None:
        raise LeaseLost
    return row


def _checkpointed(session: Session, job_id: str) -> dict[str, int | None]:
    """Stages that left something, each with the step that it was left at; None when it was finished."""
    left = session.execute(select(CheckpointRow.stage, CheckpointRow.step).where(CheckpointRow.job_id == job_id))
    return {row.stage: row.step for row in left}
