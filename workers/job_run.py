"""One job as its supervisor sees it: keep the lease, pass on progress, and end it in exactly one way."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from workers import metrics
from workers.attempt_meter import AttemptMeter, Outcome
from workers.errors import LeaseLost, StoreUnavailable
from workers.failpoints import Failpoint, reach
from workers.jobs import TOO_LATE, WORKER_DRAINING, Failure, Job, JobStatus, Lease
from workers.runner_handle import RunnerDied
from workers.runner_messages import Checkpointed, Done, Failed, Previewed, Remedy, RunJob, Step, StopJob, Stopped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from workers.job_store import JobStore
    from workers.runner_handle import RunnerHandle
    from workers.runner_messages import Report
    from workers.settings import Settings

T = TypeVar("T")

logger = structlog.get_logger(__name__)

PROGRESS_PERIOD_S = 0.5  # callers see steps at most twice a second
TICK_S = 0.1

CRASHED = Failure("worker_crashed", "The worker stopped while it made the video.")
POISON = Failure("poison_input", "The video could not be made: each attempt ended the worker that tried.")
STALLED = Failure("stage_timeout", "The worker made no progress for too long.")


class StopReason(StrEnum):
    """Why a running job is being stopped."""

    CANCEL = "cancel"
    DRAIN = "drain"
    LEASE_LOST = "lease_lost"
    STALL = "stall"
    DEADLINE = "deadline"


class RunnerNeeds(StrEnum):
    """What the runner needs after the job."""

    NOTHING = "nothing"
    RESTART = "restart"


@dataclass(slots=True)
class JobRun:
    """One attempt of one job on one runner.

    engine: what the runner has loaded, for the record.
    tick: called a few times a second, for the supervisor's own duties.
    is_draining: whether the worker is about to end.
    meter: hears of its steps and its end.
    outcome: how the attempt ended, once it has.
    """

    job: Job
    lease: Lease
    runner: RunnerHandle
    engine: Mapping[str, Any]
    store: JobStore
    settings: Settings
    tick: Callable[[], None]
    is_draining: Callable[[], bool]
    meter: AttemptMeter = field(default_factory=AttemptMeter)
    outcome: Outcome = Outcome.LOST
    _stop: StopReason | None = None
    _stop_deadline: float = 0.0
    _stopping_since: float = 0.0
    _renewed_at: float = field(default_factory=time.monotonic)
    _polled_at: float = 0.0
    _heard_at: float = field(default_factory=time.monotonic)
    _deadline: float = field(init=False)
    _reported_at: float = 0.0
    _waiting: Step | None = None
    _last: Step | None = None

    def __post_init__(self) -> None:
        """Turn the deadline, by the database's clock, into one by ours: the lease tells when the job was claimed."""
        left_s = float("inf")
        if self.job.deadline_at is not None and self.job.lease_until is not None:
            left_s = self.job.deadline_at - (self.job.lease_until - self.settings.lease_seconds)
        self._deadline = time.monotonic() + left_s

    def run(self) -> RunnerNeeds:
        """Run the job to its end, of whatever kind; says what the runner needs then."""
        needs = self._run()
        self.meter.end(self.outcome)
        if self._stop is not None:
            metrics.STOP_SECONDS.labels(self._stop).observe(time.monotonic() - self._stopping_since)
        return needs

    def _run(self) -> RunnerNeeds:
        try:
            is_first = self.lease.fence == 1  # nobody before it left anything
            checkpoints = () if is_first else self._persist(lambda: self.store.checkpoints(self.job.id)) or ()
            self.runner.send(
                RunJob(
                    self.job.id,
                    self.lease.fence,
                    self.job.request,
                    checkpoints,
                    origin=self.job.origin,
                    keyframes=self.job.keyframes,
                )
            )
            reach(Failpoint.JOB_SENT)
            while True:
                report = self.runner.receive(timeout_s=TICK_S)
                self._look_after_lease()
                if report is not None:
                    self._heard_at = time.monotonic()
                    needs = self._handle(report)
                    if needs is not None:
                        return needs
                self._flush_progress()
                self._watch_for_stop()
                if self._stop is not None and time.monotonic() > self._stop_deadline:
                    logger.warning("runner_ignored_stop", reason=self._stop)
                    return self._end_by_force()
                self.tick()
        except RunnerDied:
            logger.warning("runner_died", pid=self.runner.pid)
            self.runner.kill()
            self._end_broken(CRASHED)
            return RunnerNeeds.RESTART

    def _handle(self, report: Report) -> RunnerNeeds | None:
        """Act on a report; None while the job goes on."""
        match report:
            case Done():
                self._complete(report)
                return RunnerNeeds.NOTHING
            case Stopped():
                self._end_stopped()
                return RunnerNeeds.NOTHING
            case Failed():
                self._end_failed(report)
                return RunnerNeeds.RESTART if report.remedy is Remedy.RESTART else RunnerNeeds.NOTHING
            case _:
                self._note(report)
                return None

    def _note(self, report: Report) -> None:
        """Write down what a job that goes on has reached."""
        match report:
            case Step():
                self._note_step(report)
            case Checkpointed():
                self._write(
                    lambda: self.store.save_checkpoint(
                        self.lease,
                        stage=report.stage,
                        key=report.key,
                        sha256=report.sha256,
                        keyframes=report.keyframes,
                        engine_digest=report.engine_digest,
                        step=report.step,
                    )
                )
            case Previewed():
                self._write(lambda: self.store.note_preview(self.lease, report))
            case _:
                logger.warning("unexpected_report", kind=type(report).__name__)

    def _note_step(self, step: Step) -> None:
        is_new_stage = self._last is None or step.stage is not self._last.stage
        self._last = self._waiting = step
        self.meter.step(step)
        if is_new_stage:
            self._reported_at = 0.0  # a new stage is told at once

    def _flush_progress(self) -> None:
        if self._waiting is None or self._stop is not None:
            return
        now = time.monotonic()
        if now - self._reported_at < PROGRESS_PERIOD_S:
            return
        step, self._waiting, self._reported_at = self._waiting, None, now
        self._write(
            lambda: self.store.report(
                self.lease, stage=step.stage, step=step.step, total=step.total, progress=step.progress
            )
        )

    def _look_after_lease(self) -> None:
        """Renew the lease in time, and look for a cancel more often than that."""
        now = time.monotonic()
        try:
            if now - self._renewed_at >= self.settings.lease_renew_seconds:
                is_cancel_requested = self.store.renew(self.lease, lease_s=self.settings.lease_seconds)
                self._renewed_at = now
            elif now - self._polled_at >= self.settings.cancel_poll_seconds:
                is_cancel_requested = self.store.is_cancel_requested(self.lease)
                self._polled_at = now
            else:
                return
        except LeaseLost:
            self._request_stop(StopReason.LEASE_LOST)
        except StoreUnavailable:
            # Until the lease ends nobody else takes the job: the database may come back in the meantime.
            logger.warning("store_unavailable", lease_age_s=round(now - self._renewed_at, 1))
            if now - self._renewed_at >= self.settings.lease_seconds:
                self._request_stop(StopReason.LEASE_LOST)
        else:
            if is_cancel_requested:
                self._request_stop(StopReason.CANCEL)

    def _watch_for_stop(self) -> None:
        if self.is_draining():
            self._request_stop(StopReason.DRAIN)
        now = time.monotonic()
        if now > self._deadline:
            self._request_stop(StopReason.DEADLINE)
        if now - self._heard_at > self.settings.stall_seconds:
            self._request_stop(StopReason.STALL)

    def _request_stop(self, reason: StopReason) -> None:
        """Ask the runner to stop, once; a lost lease overrides every other reason."""
        if reason is StopReason.LEASE_LOST and self._stop is not reason:
            metrics.LEASE_LOSSES.inc()
        if self._stop is None:
            logger.info("job_stopping", reason=reason)
            is_drain = reason is StopReason.DRAIN
            grace_s = self.settings.drain_grace_seconds if is_drain else self.settings.cancel_grace_seconds
            self._stopping_since = time.monotonic()
            self._stop_deadline = self._stopping_since + grace_s
            self._stop = reason
            self.runner.send(StopJob(self.job.id, self.lease.fence, leaves_state=is_drain))
        elif reason is StopReason.LEASE_LOST:
            self._stop = reason

    def _complete(self, done: Done) -> None:
        self._end(lambda: self.store.complete(self.lease, done.output, usage=done.usage, engine=self.engine))

    def _end_stopped(self) -> None:
        if self._stop is StopReason.CANCEL:
            self._end(lambda: self.store.cancelled(self.lease))
        elif self._stop is StopReason.DRAIN:
            self._release()
        elif self._stop is StopReason.DEADLINE:
            self._end(lambda: self.store.fail(self.lease, TOO_LATE))
        elif self._stop is StopReason.STALL:
            self._end_broken(STALLED)

    def _end_by_force(self) -> RunnerNeeds:
        self.runner.kill()
        self._end_stopped()
        return RunnerNeeds.RESTART

    def _end_failed(self, report: Failed) -> None:
        logger.warning("attempt_failed", code=report.failure.code, remedy=report.remedy)
        if report.remedy is Remedy.NONE:
            self._end(lambda: self.store.fail(self.lease, report.failure))
        else:
            self._end_broken(report.failure)

    def _end_broken(self, failure: Failure) -> None:
        """End an attempt that broke."""
        if self._stop is StopReason.DRAIN:
            self._release()
            return
        waits = self.settings.retry_backoff_seconds
        delay_s = waits[min(self.job.attempt, len(waits)) - 1]
        self._end(
            lambda: self.store.retry(self.lease, self._blamed(failure), delay_s=delay_s),
            reason=failure.code,
        )

    def _blamed(self, failure: Failure) -> Failure:
        """What a job fails with that breaks now: one that crashed at every attempt is at fault itself."""
        if failure is not CRASHED or self.job.attempt < self.job.max_attempts:
            return failure
        ended_by = {*self.store.retry_reasons(self.job.id)} - {WORKER_DRAINING}
        return POISON if ended_by <= {CRASHED.code} else failure

    def _release(self) -> None:
        self._end(lambda: self.store.release(self.lease, refund=True), reason=WORKER_DRAINING)

    def _end(self, call: Callable[[], JobStatus], *, reason: str = "") -> None:
        """Write how the attempt ends, and count it."""
        status = self._persist(call)
        if status is None:
            if self._stop is not StopReason.LEASE_LOST:  # that one is counted
                metrics.LEASE_LOSSES.inc()
        elif status is JobStatus.QUEUED:
            self.outcome = Outcome.RETRIED
            metrics.RETRIES.labels(reason).inc()
        else:
            self.outcome = Outcome(status.value)

    def _write(self, call: Callable[[], None]) -> None:
        """Write something that a later write makes good: an outage is no reason to stop."""
        try:
            call()
        except LeaseLost:
            self._request_stop(StopReason.LEASE_LOST)
        except StoreUnavailable:
            logger.warning("store_unavailable")

    def _persist(self, call: Callable[[], T]) -> T | None:
        """Write something that must not be lost: try for as long as the lease may be ours."""
        while True:
            try:
                return call()
            except LeaseLost:
                logger.warning("lease_lost", fence=self.lease.fence)
                return None
            except StoreUnavailable:
                if time.monotonic() - self._renewed_at > self.settings.lease_seconds:
                    logger.warning("lease_expired_unheard", fence=self.lease.fence)
                    return None
                self.tick()
                time.sleep(TICK_S)
