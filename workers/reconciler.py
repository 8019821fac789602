"""The loop that makes good what died half-way: leases that ended, tickets that were lost, blobs left behind.

Any number of reconcilers may run; the one that has the duty in the database does the work.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import structlog

from workers import metrics, uploads
from workers.broker import open_broker
from workers.database import Database, upgrade
from workers.errors import BlobNotFound, Transient
from workers.failpoints import Failpoint, reach
from workers.memory import settle_memory
from workers.roster import RECONCILING, Roster
from workers.schema import announce
from workers.storage import open_storage
from workers.temp_sweep import sweep_temp_dir
from workers.upkeep import Upkeep

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

    from workers.broker import Broker
    from workers.settings import Settings
    from workers.storage import BlobStore

logger = structlog.get_logger(__name__)

DUTY_PERIODS = 5  # how many missed rounds until another reconciler takes over
TICKET_PERIOD_S = 10.0  # tickets for waiting rows are sent again this often
SWEEP_PERIOD_S = 600.0
SWEEP_TURN_S = 1.0  # how much of a sweep one round does
PURGE_BATCH = 50
SILENT_WORKER_S = 3600.0


@runtime_checkable
class KeepsDrafts(Protocol):
    """Storage that writers may leave unfinished files in."""

    def sweep_drafts(self, *, before: float) -> int:
        """Remove what was left before a time in unix seconds."""
        ...


class Reconciler:
    """Repairs jobs and clears blobs, a round at a time."""

    def __init__(self, settings: Settings, upkeep: Upkeep, roster: Roster, storage: BlobStore, broker: Broker) -> None:
        self.id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._settings = settings
        self._upkeep = upkeep
        self._roster = roster
        self._storage = storage
        self._broker = broker
        self._ticket_at = 0.0
        self._swept_at = 0.0
        self._sweeping: Iterator[None] | None = None

    def run(self, stop: threading.Event) -> None:
        """Reconcile until told to stop; an outage only delays."""
        wait_s = self._settings.reconcile_seconds
        while not stop.wait(wait_s):
            wait_s = self._settings.reconcile_seconds
            try:
                with metrics.RECONCILE_SECONDS.time():
                    has_duty = self.reconcile()
                if has_duty and self._sweeping is not None:
                    wait_s = 0.0  # there is more to sweep
            except Transient as error:
                logger.warning("reconcile_delayed", reason=type(error).__name__)

    def reconcile(self) -> bool:
        """Do one round; False when another reconciler has the duty.

        Raises: StoreUnavailable, StorageUnavailable.
        """
        if not self._roster.lead(RECONCILING, self.id, for_s=DUTY_PERIODS * self._settings.reconcile_seconds):
            return False
        ended = self._upkeep.end_expired_leases()
        self._upkeep.end_overdue()
        now = time.monotonic()
        is_ticket_due = bool(ended) or now - self._ticket_at >= TICKET_PERIOD_S
        if is_ticket_due and self._upkeep.has_waiting_jobs():
            self._broker.send_ticket()
            self._ticket_at = now
        self.purge()
        self._go_on_sweeping()
        return True

    def purge(self) -> None:
        """Remove the blobs of jobs that were deleted or have expired, and of files that have, with what rows say."""
        for job in self._upkeep.purgeable_jobs(limit=PURGE_BATCH):
            for folder in ("outputs", "checkpoints"):
                for blob in list(self._storage.list_prefix(f"{folder}/{job.id}/")):
                    self._storage.delete(blob.key)
            reach(Failpoint.BLOBS_PURGED)
            self._upkeep.note_purged(job)
            for key in job.input_keys:
                self._drop_input(key)
            metrics.PURGED.labels("job").inc()
            logger.info("job_purged", job_id=job.id, deleted=job.is_deleted)
        for file in self._upkeep.expired_files(limit=PURGE_BATCH):
            self._upkeep.note_file_purged(file.id)
            self._drop_input(file.media["key"])
            metrics.PURGED.labels("file").inc()
            logger.info("file_purged", file_id=file.id)

    def sweep(self) -> None:
        """Remove old blobs that no row names, unfinished files, old traces of expired rows, and silent workers."""
        for _ in self._sweep_in_steps():
            continue

    def _go_on_sweeping(self) -> None:
        """Begin a sweep when one is due, and go on with it for `SWEEP_TURN_S`: repairs do not wait for its end."""
        now = time.monotonic()
        if self._sweeping is None and (now - self._swept_at >= SWEEP_PERIOD_S or self._swept_at == 0.0):
            self._swept_at = now
            self._sweeping = self._sweep_in_steps()
        for _ in self._sweeping or ():
            if time.monotonic() - now >= SWEEP_TURN_S:
                return
        self._sweeping = None

    def _sweep_in_steps(self) -> Iterator[None]:
        """Sweep; each step looks at one blob."""
        before = time.time() - self._settings.orphan_seconds
        for prefix, is_needed in (
            ("inputs/", self._upkeep.is_input_needed),
            (f"{uploads.PREFIX}/", self._is_upload_needed),
            ("outputs/", self._is_output_needed),
            ("checkpoints/", self._is_output_needed),
        ):
            for blob in self._storage.list_prefix(prefix):  # never all at once: there may be millions
                if blob.modified_at < before and not is_needed(blob.key):
                    self._storage.delete(blob.key)
                yield
        sweep_temp_dir(self._settings)
        self._upkeep.forget_expired(after_s=self._settings.tombstone_seconds)
        self._roster.forget_silent(after_s=SILENT_WORKER_S)
        if isinstance(self._storage, KeepsDrafts):  # last: a key may lack the right to list uploads in parts
            self._storage.sweep_drafts(before=before)

    def _is_upload_needed(self, key: str) -> bool:
        return self._upkeep.is_upload_pending(key.split("/")[1])

    def _is_output_needed(self, key: str) -> bool:
        kept = self._upkeep.kept_outputs(key.split("/")[1])
        return kept is None or key in kept

    def _drop_input(self, key: str) -> None:
        """Remove an input that nobody names, unless it is so young that a request may be about to name it."""
        try:
            blob = self._storage.stat(key)
        except BlobNotFound:
            return
        is_old = blob.modified_at < time.time() - self._settings.orphan_seconds
        if is_old and not self._upkeep.is_input_needed(key):
            self._storage.delete(key)


def run_reconciler(settings: Settings, stop: threading.Event) -> None:
    """Be a reconciler until told to stop.

    Raises: StoreUnavailable when there is no database to begin with.
    """
    announce(upgrade(settings.database_url))
    database = Database(settings.database_url)
    reconciler = Reconciler(
        settings,
        Upkeep(database, retention_s=settings.retention_seconds),
        Roster(database),
        open_storage(settings),
        open_broker(settings),
    )
    settle_memory()
    logger.info("reconciler_started", id=reconciler.id)
    try:
        reconciler.run(stop)
    finally:
        database.close()
