"""When a job will be done, from what recent jobs took: measured, or not told."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from sqlalchemy import select

from workers.jobs import RUNNING_STAGES, JobStage, JobStatus
from workers.records import job_of
from workers.roster import AT_WORK, WORKER_BEAT_S
from workers.tables import JobRow, WorkerRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workers.database import Database
    from workers.jobs import Job, StageReport

RECENT_JOBS = 20


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast jobs of one model go at present.

    stage_seconds: the median of each stage over the last completed jobs; empty when there are none.
    num_workers: workers that are warm.
    running_s: what each running job still needs.
    """

    stage_seconds: Mapping[JobStage, float]
    num_workers: int = 0
    running_s: tuple[float, ...] = ()

    @property
    def job_seconds(self) -> float:
        """How long a whole job runs."""
        return sum(self.stage_seconds.values())

    def left_seconds(self, stages: Sequence[StageReport]) -> float:
        """What a job still needs whose stages are so far."""
        return sum(self.stage_seconds.get(stage.name, 0.0) * (1 - _share_done(stage)) for stage in stages)

    def left_after(self, stage: JobStage, *, step: int, total: int) -> float | None:
        """What a running job still needs after `step` of `total` steps of a stage; None when nothing was measured."""
        if not self.stage_seconds or stage not in RUNNING_STAGES:
            return None
        later = RUNNING_STAGES[RUNNING_STAGES.index(stage) + 1 :]
        share_left = 1 - step / total if total else 1.0
        return share_left * self.stage_seconds.get(stage, 0.0) + sum(
            self.stage_seconds.get(each, 0.0) for each in later
        )

    def eta_seconds(self, job: Job, *, position: int | None) -> float | None:
        """Seconds until a job is completed; `position` is its place in the queue, 1 the next.

        None when nothing was measured yet, when nobody works, and when the job does not wait or run.
        """
        if job.status is JobStatus.IN_PROGRESS and self.stage_seconds:
            return self.left_seconds(job.stages)
        if job.status is not JobStatus.QUEUED or position is None:
            return None
        begins_in_s = self.turn_seconds(position)
        return None if begins_in_s is None else begins_in_s + self.job_seconds

    def turn_seconds(self, position: int) -> float | None:
        """Seconds until the job is begun whose turn is `position`, 1 the next; None as above."""
        idle = max(0, self.num_workers - len(self.running_s))
        free_in_s = sorted([*self.running_s, *[0.0] * idle])
        if not self.stage_seconds or not free_in_s:
            return None
        rounds, turn = divmod(position - 1, len(free_in_s))
        return free_in_s[turn] + rounds * self.job_seconds


def read_pace(database: Database, model: str) -> Pace:
    """Measure the present pace of a model.

    Raises: StoreUnavailable.
    """
    recent = (
        select(JobRow.stages)
        .where(JobRow.status == JobStatus.COMPLETED, JobRow.model == model, JobRow.cached_from.is_(None))
        .order_by(JobRow.created_at.desc(), JobRow.id.desc())
        .limit(RECENT_JOBS)
    )
    running = select(JobRow).where(JobRow.status == JobStatus.IN_PROGRESS, JobRow.model == model)
    with database.read() as transaction:
        measured: dict[JobStage, list[float]] = {stage: [] for stage in RUNNING_STAGES}
        for stages in transaction.session.scalars(recent):
            for stage in stages:
                if stage["seconds"] is not None and not stage["resumed"]:
                    measured[JobStage(stage["name"])].append(stage["seconds"])
        fresh = select(WorkerRow.engine).where(
            WorkerRow.beat_at >= transaction.now - WORKER_BEAT_S, WorkerRow.state.in_(AT_WORK)
        )
        engines = transaction.session.scalars(fresh).all()
        jobs = [job_of(row) for row in transaction.session.scalars(running)]
    pace = Pace({stage: median(seconds) for stage, seconds in measured.items() if seconds})
    return Pace(
        pace.stage_seconds,
        num_workers=sum(engine.get("model", model) == model for engine in engines),
        running_s=tuple(pace.left_seconds(job.stages) for job in jobs),
    )


def _share_done(stage: StageReport) -> float:
    if stage.status == "done":
        return 1.0
    return stage.steps_done / stage.steps_total if stage.steps_total else 0.0
