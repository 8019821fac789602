"""The worker: one thread that owns the runner, claims jobs for it, and tells the roster how it is.

A Celery task rings when there is a ticket. Without one the supervisor looks by itself, so a lost ticket costs
seconds at most. It imports neither torch nor `model`.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

import structlog

from workers import metrics
from workers.attempt_meter import AttemptMeter
from workers.errors import StoreUnavailable
from workers.job_run import JobRun, RunnerNeeds
from workers.logs import named
from workers.roster import WorkerRecord, WorkerState
from workers.runner_handle import RunnerDied, RunnerHandle
from workers.runner_messages import Loaded, LoadFailed, Ready
from workers.traces import NO_TRACER

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from workers.job_store import JobStore
    from workers.jobs import Job
    from workers.roster import Roster
    from workers.settings import Settings
    from workers.traces import Tracer

logger = structlog.get_logger(__name__)

START_TICK_S = 0.2
FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 60.0
OUTAGE_WAIT_S = 1.0


class Supervisor:
    """Runs queued jobs, one at a time, on one runner."""

    def __init__(self, settings: Settings, store: JobStore, roster: Roster, *, tracer: Tracer = NO_TRACER) -> None:
        host = socket.gethostname()
        self.id = f"{host}-{os.getpid()}-{secrets.token_hex(3)}"
        self._host = host
        self._settings = settings
        self._store = store
        self._roster = roster
        self._tracer = tracer
        self._bell = threading.Event()
        self._idle = threading.Event()
        self._draining = threading.Event()
        self._is_paused = False  # an operator wants it to take no more jobs
        self._runner: RunnerHandle | None = None
        self._engine: Mapping[str, Any] = {}
        self._state = WorkerState.STARTING
        self._job_id: str | None = None
        self._beat_at = 0.0
        self._backoff_s = FIRST_BACKOFF_S
        self._thread = threading.Thread(target=self._live, name="supervisor")

    def start(self) -> None:
        """Start the runner and the search for jobs."""
        self._thread.start()

    def run_queued_jobs(self) -> None:
        """Look for jobs now, and return when there are none left for this worker (or it drains)."""
        self._idle.clear()
        self._bell.set()
        while self._thread.is_alive() and not self._idle.wait(START_TICK_S):
            continue

    def drain(self) -> None:
        """Take no more jobs, and give the running one back; returns at once."""
        self._draining.set()
        self._bell.set()

    def join(self) -> None:
        """Wait until a draining supervisor has ended its runner."""
        self._thread.join()

    def _live(self) -> None:
        try:
            while not self._draining.is_set():
                try:
                    self._turn()
                except StoreUnavailable:
                    logger.warning("store_unavailable")
                    self._idle.set()
                    self._draining.wait(OUTAGE_WAIT_S)
        except Exception:
            # A bug of ours. A worker that lives on without taking jobs would be the worst outcome: end it.
            logger.exception("supervisor_broke")
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            self._shut_down()

    def _turn(self) -> None:
        """One round: a runner, then a job for it, or a pause."""
        if self._is_paused:
            self._idle.set()
            self._enter(WorkerState.DRAINING)
            self._draining.wait(self._settings.idle_poll_seconds)
            return
        runner = self._ready_runner()
        if runner is None:
            return
        self._bell.clear()  # before the look: a ticket that comes while we look must wake us again
        claimed = self._store.claim(self.id, model=self._settings.model_name, lease_s=self._settings.lease_seconds)
        if claimed is None:
            self._idle.set()
            self._enter(WorkerState.READY)
            self._bell.wait(self._settings.idle_poll_seconds)
            return
        job, lease = claimed
        with named(job.origin, job_id=job.id, attempt=job.attempt):
            meter = self._meter(job)
            self._become(WorkerState.BUSY, job_id=job.id)  # the run's first tick tells the roster
            run = JobRun(
                job=job,
                lease=lease,
                runner=runner,
                engine=self._engine,
                store=self._store,
                settings=self._settings,
                tick=self._beat_if_due,
                is_draining=self._draining.is_set,
                meter=meter,
            )
            needs = run.run()
            logger.info("job_ended", outcome=run.outcome, runner_needs=needs)
        if needs is RunnerNeeds.RESTART:
            self._drop_runner()

    def _meter(self, job: Job) -> AttemptMeter:
        """What measures an attempt that begins; the job's wait for its first one is measured here."""
        waited_s = (job.started_at or job.created_at) - job.created_at
        trace = job.origin.traceparent
        logger.info("job_claimed", waited_s=round(waited_s, 2))
        if job.fence == 1:
            metrics.WAIT_SECONDS.observe(waited_s)
            self._tracer.begin("queue", parent=trace, ago_s=waited_s, job_id=job.id).end()
        span = self._tracer.begin(
            "attempt", parent=trace, job_id=job.id, attempt=job.attempt, fence=job.fence, worker_id=self.id
        )
        return AttemptMeter(self._tracer, span)

    def _ready_runner(self) -> RunnerHandle | None:
        """The warm runner, started if there is none; None when that failed or the worker drains."""
        if self._runner is not None:
            if self._runner.is_alive:
                return self._runner
            logger.warning("idle_runner_died", pid=self._runner.pid)
            self._drop_runner()
        self._enter(WorkerState.STARTING)
        runner = self._runner = RunnerHandle(self._settings)
        reason = self._warm(runner)
        metrics.RUNNER_STARTS.labels(reason or "ready").inc()
        if reason is None:
            self._backoff_s = FIRST_BACKOFF_S
            return runner
        self._drop_runner()
        if not self._draining.is_set():
            logger.error("runner_not_started", reason=reason, again_in_s=self._backoff_s)
            self._idle.set()
            self._enter(WorkerState.UNHEALTHY)
            self._pause(self._backoff_s)
            self._backoff_s = min(2 * self._backoff_s, LONGEST_BACKOFF_S)
        return None

    def _warm(self, runner: RunnerHandle) -> str | None:
        """Wait until the runner is ready; returns what went wrong."""
        deadline = time.monotonic() + self._settings.runner_start_seconds
        while time.monotonic() < deadline and not self._draining.is_set():
            self._beat_if_due()
            try:
                report = runner.receive(timeout_s=START_TICK_S)
            except RunnerDied:
                return "died"
            match report:
                case Loaded():
                    self._enter(WorkerState.WARMING)
                case Ready(engine=engine):
                    self._engine = engine
                    logger.info("runner_ready", pid=runner.pid, seconds=round(time.monotonic() - runner.started_at, 1))
                    return None
                case LoadFailed(failure=failure):
                    return failure.code
                case _:
                    continue
        return "draining" if self._draining.is_set() else "took_too_long"

    def _drop_runner(self) -> None:
        if self._runner is not None:
            self._runner.kill()
            self._runner = None

    def _pause(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._draining.is_set():
            self._beat_if_due()
            self._draining.wait(START_TICK_S)

    def _enter(self, state: WorkerState) -> None:
        self._become(state)
        self._beat_if_due()

    def _become(self, state: WorkerState, *, job_id: str | None = None) -> None:
        if (state, job_id) != (self._state, self._job_id):
            self._state, self._job_id = state, job_id
            self._beat_at = 0.0

    def _beat_if_due(self) -> None:
        now = time.monotonic()
        if now - self._beat_at < self._settings.lease_renew_seconds:
            return
        self._beat_at = now
        metrics.RUNNER_MEMORY.set(self._runner.memory_bytes if self._runner else 0)
        state = WorkerState.DRAINING if self._draining.is_set() else self._state
        record = WorkerRecord(self.id, self._host, os.getpid(), state, self._job_id, self._engine)
        try:
            self._is_paused = self._roster.beat(record)
        except StoreUnavailable:
            logger.warning("beat_missed")

    def _shut_down(self) -> None:
        self._drop_runner()
        self._idle.set()
        try:
            self._roster.leave(self.id)
        except StoreUnavailable:
            logger.warning("beat_missed")
        self._tracer.close()
        logger.info("worker_drained")
