"""The runner's own process: loads the engine once, then runs one job at a time until its supervisor goes away."""

from __future__ import annotations

import ctypes
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from workers.engine import load_engine
from workers.errors import BlobNotFound, StorageUnavailable
from workers.failpoints import Failpoint, reach
from workers.jobs import Failure
from workers.logs import configure_logs, named
from workers.rendering import BrokenOutput, Cancelled, render
from workers.runner_messages import Failed, Loaded, LoadFailed, Ready, Remedy, RunJob, StopJob, Stopped
from workers.storage import open_storage

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from workers.engine import Engine
    from workers.runner_messages import Report
    from workers.settings import Settings
    from workers.storage import BlobStore

logger = structlog.get_logger(__name__)

PR_SET_PDEATHSIG = 1
GUARD = Path(__file__).with_name("guard.py")
INTERNAL = "The video could not be generated."
REMEDIES = {  # codes that the model's own errors carry
    "out_of_memory": Remedy.RESTART,
    "model_unavailable": Remedy.RESTART,
    "encode_failed": Remedy.RETRY,
    "keyframes_needed": Remedy.NONE,
    "nonfinite_output": Remedy.NONE,  # a seed decides every draw: another attempt gives the same
}
INPUT_CODES = {"invalid_input", "image_decode_failed", "audio_decode_failed", "audio_too_short", "validation_failed"}
OUT_OF_MEMORY_WORDS = ("out of memory", "can't allocate memory", "not enough memory")
RESTART_WORDS = (
    "cuda error",
    "cuda driver error",
    "hip error",
    "device-side assert",
    "cublas",
    "cudnn",
    "uncorrectable ecc",
)


class Desk:
    """The runner's end of the pipe: jobs come in order, a stop comes in between.

    When the other end is gone the process ends at once, with all it started: nobody wants its result any more.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._jobs: queue.SimpleQueue[RunJob] = queue.SimpleQueue()
        self._stop: StopJob | None = None
        threading.Thread(target=self._receive, name="desk", daemon=True).start()

    def next_job(self) -> RunJob:
        """Wait for the next job."""
        return self._jobs.get()

    def send(self, report: Report) -> None:
        """Tell the supervisor."""
        with self._sending:
            try:
                self._connection.send(report)
            except OSError:
                end_process_group()

    def stop_of(self, job: RunJob) -> StopJob | None:
        """The command to stop this job, once there is one."""
        stop = self._stop
        return stop if stop is not None and (stop.job_id, stop.fence) == (job.job_id, job.fence) else None

    def _receive(self) -> None:
        while True:
            try:
                command = self._connection.recv()
            except (EOFError, OSError):
                end_process_group()
            if isinstance(command, StopJob):
                self._stop = command
            else:
                self._jobs.put(command)


def run_process(connection: Connection, settings: Settings, folder: Path, supervisor_pid: int) -> None:
    """Be a runner: the target of the spawned process.

    Args: folder: where it keeps the files of its job; whoever ends the runner removes it.
    """
    os.setpgid(0, 0)  # what the engine starts (ffmpeg) is killed together with the runner
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    guard = start_guard(connection)
    if os.getppid() != supervisor_pid:  # it died before the lines above
        end_process_group()
    # The supervisor alone decides when a runner stops: a terminal's Ctrl-C must not break a job that drains.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    configure_logs(settings, process="runner")
    logger.debug("runner_guarded", guard=guard.pid)
    desk = Desk(connection)
    try:
        engine = load_engine(settings)
        desk.send(Loaded())
        engine.warm_up()
        storage = open_storage(settings)
    except Exception as error:
        logger.exception("runner_load_failed")
        desk.send(LoadFailed(_failure(error, default="model_unavailable")))
        return
    desk.send(Ready(dict(engine.describe())))
    while True:
        job = desk.next_job()
        reach(Failpoint.JOB_RECEIVED)
        desk.send(_run_job(job, engine, storage, settings, desk, folder=folder))
        reach(Failpoint.RESULT_TOLD)


def start_guard(connection: Connection) -> subprocess.Popen[bytes]:
    """Let a process of our group end the group when nobody is left at one end of the connection."""
    command = [sys.executable, "-I", "-S", str(GUARD), str(connection.fileno()), str(os.getpid())]
    return subprocess.Popen(command, pass_fds=[connection.fileno()], stdin=subprocess.DEVNULL)


def end_process_group() -> None:
    """End this process and all that it started, without any further word."""
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _run_job(
    job: RunJob, engine: Engine, storage: BlobStore, settings: Settings, desk: Desk, *, folder: Path
) -> Report:
    with named(job.origin, job_id=job.job_id, fence=job.fence):
        logger.info("job_taken", checkpoints=len(job.checkpoints))
        try:
            return render(
                job,
                engine,
                storage,
                temp_dir=folder,
                send=desk.send,
                stop=lambda: desk.stop_of(job),
                patience_s=settings.storage_patience_seconds,
            )
        except Cancelled:
            return Stopped()
        except Exception as error:  # whatever the engine raised: the job ends, the runner lives
            logger.exception("job_failed")
            return classify(error)


def classify(error: Exception) -> Failed:
    """Say what an error means for its job: a public code, a message without secrets, and what may help."""
    code = getattr(error, "code", None)
    words = str(error).lower()
    if isinstance(error, MemoryError) or any(word in words for word in OUT_OF_MEMORY_WORDS):
        failure, remedy = Failure("out_of_memory", "The worker ran out of memory."), Remedy.RESTART
    elif isinstance(error, StorageUnavailable):
        failure, remedy = Failure("storage_failed", "Object storage did not answer."), Remedy.RETRY
    elif isinstance(error, BlobNotFound):
        failure, remedy = Failure("storage_failed", "The picture or the sound is no longer stored."), Remedy.NONE
    elif isinstance(error, BrokenOutput):
        failure, remedy = Failure("encode_failed", "The finished video did not pass its check."), Remedy.RETRY
    elif code in INPUT_CODES:
        failure, remedy = Failure("poison_input", "The picture or the sound cannot be used."), Remedy.NONE
    elif any(word in words for word in RESTART_WORDS):
        failure, remedy = Failure("worker_crashed", "The device reported an error."), Remedy.RESTART
    else:
        failure = _failure(error, default="internal")
        remedy = REMEDIES.get(failure.code, Remedy.RETRY)
    return Failed(failure, remedy)


def _failure(error: Exception, *, default: str) -> Failure:
    """Use the code that the model's own errors carry; their messages are written for callers."""
    code = getattr(error, "code", None)
    if isinstance(code, str) and code in REMEDIES:
        return Failure(code, str(error))
    return Failure(default, INTERNAL if default == "internal" else "The model could not be loaded.")
