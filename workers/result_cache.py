"""Videos that were made before: the same recipe, by the same tenant, with what the workers have loaded now."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from workers.jobs import RUNNING_STAGES, JobStatus, Output, StageReport
from workers.records import finish
from workers.roster import AT_WORK, WORKER_BEAT_S
from workers.tables import JobRow, WorkerRow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.contract import VideoRequest
    from workers.database import Transaction

SPARE_S = 60.0  # a result that expires so soon is not copied any more


@dataclass(frozen=True, slots=True)
class CachedResult:
    """A finished video copied for a new job: the new job's id, the job it comes from, and where the copy is."""

    job_id: str
    source_id: str
    output: Output


def recipe_of(request: VideoRequest) -> str:
    """SHA-256 of everything that decides a video's frames and sound; the inputs by their canonical content."""
    recipe = request.model_dump(mode="json", exclude={"image", "audio", "preview"})
    if recipe["image_crop"] is None:  # so that videos of before there were crops still count
        del recipe["image_crop"]
    recipe |= {"image": request.image.key, "audio": request.audio.key}  # keys are digests of the content
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def seed_of(request: VideoRequest) -> int:
    """A seed that equal requests share, where the caller wants none in particular."""
    return int(recipe_of(request.model_copy(update={"seed": 0}))[:8], 16)


def find_result(transaction: Transaction, request: VideoRequest, *, tenant: str) -> JobRow | None:
    """The latest video of this recipe that a worker of now would make in the same way; None when nobody can tell."""
    beaten = WorkerRow.beat_at >= transaction.now - WORKER_BEAT_S
    present = transaction.session.scalars(select(WorkerRow.engine).where(beaten, WorkerRow.state.in_(AT_WORK)))
    engines = [_deciding(engine) for engine in present]
    made = (
        select(JobRow)
        .where(
            JobRow.tenant == tenant,
            JobRow.recipe_sha256 == recipe_of(request),
            JobRow.status == JobStatus.COMPLETED,
            JobRow.deleted_at.is_(None),
            JobRow.expires_at > transaction.now + SPARE_S,
        )
        .order_by(JobRow.created_at.desc())
    )
    return next((row for row in transaction.session.scalars(made) if _deciding(row.engine) in engines), None)


def complete_from(transaction: Transaction, row: JobRow, source: JobRow, output: Output, *, retention_s: float) -> None:
    """Complete a new job with another one's result."""
    row.output = asdict(output)
    row.keyframes = source.keyframes
    row.engine = source.engine
    row.usage = {"queue_s": 0.0, "gpu_s": 0.0}
    row.stages = [asdict(StageReport(stage, "done", resumed=True)) for stage in RUNNING_STAGES]
    row.progress = 100
    row.started_at = transaction.now
    row.cached_from = source.id
    finish(transaction, row, JobStatus.COMPLETED, retention_s=retention_s)


def _deciding(engine: Mapping[str, Any]) -> Mapping[str, Any]:
    """What of an engine's description decides its frames."""
    return {name: value for name, value in engine.items() if name != "threads"}
