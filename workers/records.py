"""Between rows and dataclasses: how a job is read from its row, and how a change enters its history."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete

from workers.contract import VideoRequest
from workers.jobs import (
    RUNNING_STAGES,
    EventType,
    Failure,
    Job,
    JobEvent,
    JobStage,
    JobStatus,
    Keyframes,
    Origin,
    Output,
    Priority,
    StageReport,
    StoredFile,
)
from workers.quarantine import note_poison
from workers.quota import charge
from workers.tables import CheckpointRow, EventRow, FileRow, JobRow
from workers.webhooks.outbox import owe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.database import Transaction

FINAL_EVENTS = {
    JobStatus.COMPLETED: EventType.COMPLETED,
    JobStatus.FAILED: EventType.FAILED,
    JobStatus.CANCELLED: EventType.CANCELLED,
}


def job_of(row: JobRow) -> Job:
    """Read a job from its row."""
    failure = Failure(row.failure_code, row.failure_message or "") if row.failure_code else None
    return Job(
        id=row.id,
        tenant=row.tenant,
        status=JobStatus(row.status),
        stage=JobStage(row.stage),
        request=VideoRequest.model_validate(row.request, extra="ignore"),  # a newer version may have said more
        created_at=row.created_at,
        metadata=row.caller_metadata,
        priority=Priority(row.priority),
        api_key_id=row.api_key_id,
        origin=origin_of(row),
        progress=row.progress,
        seq=row.seq,
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        fence=row.fence,
        lease_owner=row.lease_owner,
        lease_until=row.lease_until,
        cancel_requested_at=row.cancel_requested_at,
        started_at=row.started_at,
        completed_at=row.completed_at,
        expires_at=row.expires_at,
        deadline_at=row.deadline_at,
        retried_from=row.retried_from,
        cached_from=row.cached_from,
        stages=tuple(_stage_of(stage) for stage in row.stages),
        keyframes=keyframes_of(row.keyframes) if row.keyframes else None,
        output=output_of(row.output) if row.output else None,
        failure=failure,
        engine=row.engine,
        usage=row.usage,
    )


def origin_of(row: JobRow) -> Origin:
    """Read which request asked for a job."""
    return Origin(row.request_id, row.traceparent)


def output_of(document: Mapping[str, Any]) -> Output:
    """Read a finished video from its document; a newer version may have said more of it."""
    return Output(**{item.name: document[item.name] for item in fields(Output) if item.name in document})


def keyframes_of(document: Mapping[str, Any]) -> Keyframes:
    """Read keyframes from their document."""
    return Keyframes(
        indices=tuple(document["indices"]),
        curve=tuple(document["curve"]),
        peaks=tuple(document["peaks"]),
        valleys=tuple(document["valleys"]),
        source=document.get("source"),
    )


def file_of(row: FileRow) -> StoredFile:
    """Read a file from its row."""
    return StoredFile(
        id=row.id,
        tenant=row.tenant,
        purpose=row.purpose,
        filename=row.filename,
        media=row.media,
        created_at=row.created_at,
        expires_at=row.expires_at,
    )


def event_of(row: EventRow) -> JobEvent:
    """Read an event from its row."""
    return JobEvent(job_id=row.job_id, seq=row.seq, type=EventType(row.type), data=row.data, at=row.at)


def record(transaction: Transaction, row: JobRow, kind: EventType, **extra: object) -> None:
    """Enter a visible change into the job's history: the next `seq`, and an event of that number."""
    row.seq += 1
    data: dict[str, Any] = {
        "status": row.status,
        "stage": row.stage,
        "progress": row.progress,
        "attempt": row.attempt,
        **extra,
    }
    if row.cancel_requested_at is not None:
        data["cancel_requested_at"] = row.cancel_requested_at
    if row.failure_code is not None:
        data["error"] = {"code": row.failure_code, "message": row.failure_message}
    owe(transaction, row, kind)
    transaction.lock_events()
    transaction.session.add(EventRow(job_id=row.id, seq=row.seq, type=kind, data=data, at=transaction.now))


def finish(transaction: Transaction, row: JobRow, status: JobStatus, *, retention_s: float) -> None:
    """End a job: nobody owns it, its blobs have a last day, no attempt resumes, and its last event is written."""
    charge(transaction, row)
    note_poison(transaction, row)
    row.status = status
    row.stage = JobStage.DONE if status is JobStatus.COMPLETED else row.stage
    row.lease_owner = None
    row.lease_until = None
    row.completed_at = transaction.now
    row.expires_at = transaction.now + (retention_s if row.retention_s is None else row.retention_s)
    transaction.session.execute(delete(CheckpointRow).where(CheckpointRow.job_id == row.id))
    record(transaction, row, FINAL_EVENTS[status])


def requeue(transaction: Transaction, row: JobRow, *, delay_s: float, reason: str) -> None:
    """Put a job back into the queue, to be taken up after `delay_s`."""
    charge(transaction, row)
    row.status = JobStatus.QUEUED
    row.stage = JobStage.QUEUED
    row.lease_owner = None
    row.lease_until = None
    row.not_before = transaction.now + delay_s
    record(transaction, row, EventType.RETRYING, reason=reason)


def end_attempt(
    transaction: Transaction, row: JobRow, failure: Failure, *, delay_s: float, reason: str, retention_s: float
) -> None:
    """End an attempt that broke: cancelled if that was asked, failed if it was the last one, else queued again."""
    if row.cancel_requested_at is not None:
        finish(transaction, row, JobStatus.CANCELLED, retention_s=retention_s)
    elif row.attempt >= row.max_attempts:
        row.failure_code, row.failure_message = failure.code, failure.message
        finish(transaction, row, JobStatus.FAILED, retention_s=retention_s)
    else:
        requeue(transaction, row, delay_s=delay_s, reason=reason)


NOTHING_LEFT: Mapping[str, int | None] = {}


def fresh_stages(left: Mapping[str, int | None] = NOTHING_LEFT) -> list[dict[str, Any]]:
    """Stages of a new attempt.

    Args: left: those that are taken over from an earlier one, each with the step to go on from; None for finished ones.
    """
    stages = []
    for stage in RUNNING_STAGES:
        report = StageReport(stage, "pending")
        if stage in left:
            step = left[stage]
            report = replace(report, status="done" if step is None else "pending", steps_done=step or 0, resumed=True)
        stages.append(asdict(report))
    return stages


def advance(
    stages: list[dict[str, Any]], stage: JobStage, *, step: int, total: int, now: float
) -> list[dict[str, Any]]:
    """Stages after `step` of `total` steps of `stage`: earlier ones are done, later ones wait."""
    position = RUNNING_STAGES.index(stage)
    moved = []
    for index, before in enumerate(stages):
        after = dict(before)
        if index < position:
            after = _closed(before, now=now)
        elif index == position:
            # From step 0 on it is not taken over, whatever was left of it.
            is_resumed = before["resumed"] and before["status"] != "done" and step > 0
            after.update(status="running", steps_done=step, steps_total=total, resumed=is_resumed)
            after.setdefault("began_at", now)
        else:
            after = asdict(StageReport(RUNNING_STAGES[index], "pending"))
        moved.append(after)
    return moved


def close_stages(stages: list[dict[str, Any]], *, now: float) -> list[dict[str, Any]]:
    """Stages of a completed job: all of them done."""
    return [_closed(stage, now=now) for stage in stages]


def _closed(stage: dict[str, Any], *, now: float) -> dict[str, Any]:
    """A stage that is over: its last steps count even where nobody was told of them in time."""
    if stage["status"] == "done":
        return stage
    seconds = round(now - stage["began_at"], 3) if "began_at" in stage else stage["seconds"]
    return {**stage, "status": "done", "steps_done": stage["steps_total"], "seconds": seconds}


def _stage_of(document: Mapping[str, Any]) -> StageReport:
    return StageReport(
        name=JobStage(document["name"]),
        status=document["status"],
        steps_done=document["steps_done"],
        steps_total=document["steps_total"],
        seconds=document["seconds"],
        resumed=document["resumed"],
    )
