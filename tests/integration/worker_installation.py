"""One installation for tests of real worker processes: its store, its broker, and the processes started on it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tests.process_tree import children_running
from workers.broker import open_broker
from workers.contract import AudioInput, ImageInput, VideoRequest
from workers.database import Database
from workers.job_store import open_job_store
from workers.jobs import NO_TERMS, EventType
from workers.roster import Roster, WorkerState
from workers.settings import Settings
from workers.storage import open_storage

if TYPE_CHECKING:
    from collections.abc import Callable

    from workers.jobs import Job, JobStage, Terms

HERE = Path(__file__).parent
TENANT = "default"
WAIT_S = 90.0  # generous: the machine may be busy; nothing sleeps as long when all is well


class Installation:
    """One data folder with its store, and the processes that were started on it."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(HERE),
            "KEYVID_DATA_DIR": str(folder),
            "KEYVID_ENGINE": "paced_engine:load",
            "KEYVID_LEASE_SECONDS": "2",
            "KEYVID_LEASE_RENEW_SECONDS": "0.5",
            "KEYVID_CANCEL_POLL_SECONDS": "0.1",
            "KEYVID_IDLE_POLL_SECONDS": "0.5",
            "KEYVID_RECONCILE_SECONDS": "0.3",
            "KEYVID_CANCEL_GRACE_SECONDS": "2",
            "KEYVID_RETRY_BACKOFF_SECONDS": "[0, 0, 0]",
            **{f"KEYVID_{name.upper()}": value for name, value in settings.items()},
        }
        self.folder = folder
        self.settings = Settings(data_dir=folder, **settings)
        self.store = open_job_store(self.settings)
        self.database = Database(self.settings.database_url)
        self.roster = Roster(self.database)
        self.storage = open_storage(self.settings)
        self.broker = open_broker(self.settings)
        self.processes: list[subprocess.Popen[bytes]] = []
        for key in ("inputs/image", "inputs/audio"):
            self.storage.put_bytes(key, b"canonical", content_type="application/octet-stream")

    def start(self, command: str) -> subprocess.Popen[bytes]:
        """Start `keyvid <command>`; its log goes to a file of the data folder."""
        with (self.folder / f"{command}.log").open("ab") as log:
            process = subprocess.Popen([sys.executable, "-m", "keyvid", command], env=self.environment, stderr=log)
        self.processes.append(process)
        return process

    def start_worker(self) -> subprocess.Popen[bytes]:
        """Start a worker and wait until its runner is warm."""
        process = self.start("worker")
        wait_for(lambda: self.worker_state(process.pid) in (WorkerState.READY, WorkerState.BUSY), "a warm worker")
        return process

    def worker_state(self, pid: int) -> WorkerState | None:
        """What the worker of that process says of itself."""
        return next((worker.state for worker in self.roster.workers(within_s=60) if worker.pid == pid), None)

    def submit(self, script: str, *, seed: int = 1, terms: Terms = NO_TERMS, preview: bool = False) -> Job:
        """Accept a request and send its ticket."""
        request = VideoRequest(
            model="keyvid-mini",
            prompt=script,
            image=ImageInput(key="inputs/image", sha256="1" * 64, width=64, height=32, bytes=9),
            audio=AudioInput(
                key="inputs/audio", sha256="2" * 64, duration_s=2.0, sample_rate=48_000, channels=1, bytes=9
            ),
            image_fit="cover",
            audio_start=0.0,
            width=64,
            height=32,
            seed=seed,
            preview=preview,
        )
        job = self.store.create(request, tenant=TENANT, metadata={}, terms=terms)
        self.broker.send_ticket()
        return job

    def get(self, job: Job) -> Job:
        """Read the job again."""
        return self.store.get(job.id, tenant=TENANT)

    def wait_until_final(self, job: Job) -> Job:
        """Wait until the job cannot change any more."""
        wait_for(lambda: self.get(job).status.is_terminal, "a final state")
        return self.get(job)

    def wait_for_stage(self, job: Job, stage: JobStage) -> None:
        """Wait until the job runs in a stage."""
        wait_for(lambda: self.get(job).stage is stage, f"stage {stage}")

    def steps(self) -> list[str]:
        """What the engine has done, in order."""
        log = self.folder / "paced.log"
        return [line.partition(" ")[2] for line in log.read_text().splitlines()] if log.exists() else []

    def outputs(self, job: Job) -> list[str]:
        """Keys of all videos in storage that belong to the job."""
        return [blob.key for blob in self.storage.list_prefix(f"outputs/{job.id}/") if blob.key.endswith(".mp4")]

    def close(self) -> None:
        """End every process that was started here."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        self.store.close()
        self.database.close()
        self.broker.close()


def wait_for(is_so: Callable[[], bool], what: str) -> None:
    """Wait for a condition, and say what it was if it never holds."""
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline, f"no {what} within {WAIT_S} s"
        time.sleep(0.02)


def is_alive(process: psutil.Process) -> bool:
    """Whether a process still runs; one that only waits to be buried does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def runner_of(worker: subprocess.Popen[bytes]) -> psutil.Process:
    """The runner of a worker."""
    runners = children_running(worker.pid, "spawn_main")
    assert len(runners) == 1
    return runners[0]


def assert_gapless(installation: Installation, job: Job) -> list[EventType]:
    """The job's history has every number once, ends once, and returns its kinds."""
    events = installation.store.events(job.id, after_seq=0, limit=1000)
    kinds = [event.type for event in events]
    finals = [kind for kind in kinds if kind in (EventType.COMPLETED, EventType.FAILED, EventType.CANCELLED)]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert (len(finals), kinds[-1]) == (1, finals[0])
    return kinds
