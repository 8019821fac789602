"""An installation in one process, on SQLite and a folder, under a clock that is moved by hand."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tests.clocks import FakeClock
from workers.access import Actor, Limits
from workers.contract import AudioInput, ImageInput, VideoRequest
from workers.database import Database, upgrade
from workers.errors import JobNotFound
from workers.job_store import JobStore
from workers.jobs import Output
from workers.reconciler import Reconciler
from workers.roster import Roster
from workers.settings import Settings
from workers.storage import open_storage
from workers.tables import JobRow
from workers.upkeep import Upkeep
from workers.webhooks.due import DueDeliveries
from workers.webhooks.messages import WEBHOOK_EVENTS
from workers.webhooks.store import WebhookStore

if TYPE_CHECKING:
    from workers.jobs import JobStage, Lease

TENANT = "acme"  # the tenant `default` has no limits
MODEL = "keyvid-mini"
MAX_RUNNING = 2
RETENTION_S = 5000.0
VIDEO = b"a video"
MEMORY = Path("/dev/shm")  # noqa: S108 - where there is one, thousands of small databases need no disk


class Scene:
    """Empty but for one webhook endpoint; a tenant may have six jobs waiting and two running."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="keyvid-life-", dir=MEMORY if MEMORY.is_dir() else None))
        shutil.copyfile(_empty_database(), self.folder / "keyvid.db")
        self.settings = Settings(data_dir=self.folder, orphan_seconds=1e-6, reconcile_seconds=1.0)
        self.clock = FakeClock()
        self.database = Database(self.settings.database_url, clock=self.clock)
        limits = Limits(max_queued=6, max_running=MAX_RUNNING)
        self.store = JobStore(self.database, max_attempts=2, retention_s=RETENTION_S, default_limits=limits)
        self.storage = open_storage(self.settings)
        upkeep = Upkeep(self.database, retention_s=RETENTION_S)
        self.reconciler = Reconciler(self.settings, upkeep, Roster(self.database), self.storage, _NoBroker())  # type: ignore[arg-type]
        self.deliveries = DueDeliveries(self.database)
        WebhookStore(self.database).create(
            url="https://hooks.example/x", events=WEBHOOK_EVENTS, description="", actor=Actor(TENANT, "caller")
        )

    def close(self) -> None:
        """Remove it."""
        self.database.close()
        shutil.rmtree(self.folder)

    def request(self, seed: int) -> VideoRequest:
        """A request whose inputs are in storage."""
        for name in ("image", "audio"):
            self.storage.put_bytes(f"inputs/{name}{seed}", b"canonical", content_type="application/octet-stream")
        return VideoRequest(
            model=MODEL,
            prompt="a bell",
            image=ImageInput(key=f"inputs/image{seed}", sha256="1" * 64, width=64, height=32, bytes=9),
            audio=AudioInput(
                key=f"inputs/audio{seed}", sha256="2" * 64, duration_s=2.0, sample_rate=16_000, channels=1, bytes=9
            ),
            image_fit="cover",
            audio_start=0.0,
            width=64,
            height=32,
            seed=seed,
        )

    def leave_state(self, lease: Lease, stage: JobStage) -> str:
        """Store what a stage leaves; answers its key."""
        key = f"checkpoints/{lease.job_id}/{lease.fence}/{stage}.safetensors"
        self.storage.put_bytes(key, b"state", content_type="application/octet-stream")
        return key

    def upload(self, lease: Lease) -> Output:
        """Store the video of an attempt."""
        content = VIDEO + f"{lease.job_id} {lease.fence}".encode()
        key = f"outputs/{lease.job_id}/{lease.fence}/video.mp4"
        self.storage.put_bytes(key, content, content_type="video/mp4")
        return Output(key, hashlib.sha256(content).hexdigest(), len(content), 48, 24, 64, 32, 2.0)

    def shows(self, job_id: str) -> bool:
        """Whether callers can see a job; the key that made it is forgotten with it."""
        try:
            self.store.get(job_id, tenant=TENANT)
        except JobNotFound:
            return False
        return True

    def status(self, job_id: str) -> str | None:
        """The state of a job; None when there is no such job any more."""
        with self.database.read() as transaction:
            row = transaction.session.get(JobRow, job_id)
            return None if row is None or row.purged_at is not None else row.status


@cache
def _empty_database() -> Path:
    """The file of a database of this version with nothing in it, made once."""
    folder = tempfile.TemporaryDirectory(prefix="keyvid-life-")
    _kept.append(folder)
    path = Path(folder.name, "keyvid.db")
    upgrade(f"sqlite:///{path}")
    return path


_kept: list[tempfile.TemporaryDirectory[str]] = []


class _NoBroker:
    """A broker that takes every ticket: no one is woken, workers look by themselves."""

    def send_ticket(self) -> bool:
        """Take it."""
        return True
