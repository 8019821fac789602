"""Any order of what callers, workers and the machine do, against the real stores under a clock that is moved by hand.

Hypothesis looks for an order after which something does not hold that must: a write under a lost lease that is
accepted, an end that changes, a gap in a history, something lost, left over or told twice.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from benchmarks.faults.callers import CANCELLED, COMPLETED, FAILED, Ledger
from benchmarks.faults.invariants import check_installation
from tests.clocks import FakeClock
from tests.receivers import Received
from workers.access import Actor, Limits
from workers.contract import AudioInput, ImageInput, VideoRequest
from workers.database import Database, upgrade
from workers.errors import IdempotencyKeyReused, IllegalTransition, JobNotFound, LeaseLost, QuotaExceeded
from workers.idempotency import IdempotencyKey
from workers.job_store import JobStore
from workers.jobs import Failure, JobStage, Keyframes, Lease, Output, Priority, Terms
from workers.reconciler import Reconciler
from workers.roster import Roster
from workers.settings import Settings
from workers.storage import open_storage
from workers.tables import JobRow
from workers.upkeep import Upkeep
from workers.webhooks.due import DueDeliveries
from workers.webhooks.messages import WEBHOOK_EVENTS
from workers.webhooks.sending import Reply
from workers.webhooks.store import WebhookStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from workers.webhooks.messages import DueDelivery

TENANT = "acme"  # the tenant `default` has no limits
MODEL = "keyvid-mini"
LEASE_S = 30.0
RETENTION_S = 5000.0
VIDEO = b"a video"
BROKEN = Failure("internal", "It broke.")
HEARD = Keyframes((0, 1), (0.0,), (), ())
END_CODES = ("internal", "worker_crashed", "deadline_exceeded")
MEMORY = Path("/dev/shm")  # noqa: S108 - where there is one, thousands of small databases need no disk
picks = st.integers(0, 1000)


@dataclass(frozen=True)
class End:
    """How a job has ended, as it was first seen."""

    status: str
    output: Output | None
    failure: Failure | None


class JobLife(RuleBasedStateMachine):
    """One installation whose processes are all this one: every rule is something that one of them does."""

    @initialize()
    def begin(self) -> None:
        """An empty installation with one webhook endpoint; a tenant may have six jobs waiting and two running."""
        self.folder = Path(tempfile.mkdtemp(prefix="keyvid-life-", dir=MEMORY if MEMORY.is_dir() else None))
        shutil.copyfile(_empty_database(), self.folder / "keyvid.db")
        self.settings = Settings(data_dir=self.folder, orphan_seconds=1e-6, reconcile_seconds=1.0)
        self.clock = FakeClock()
        self.database = Database(self.settings.database_url, clock=self.clock)
        limits = Limits(max_queued=6, max_running=2)
        self.store = JobStore(self.database, max_attempts=2, retention_s=RETENTION_S, default_limits=limits)
        self.storage = open_storage(self.settings)
        upkeep = Upkeep(self.database, retention_s=RETENTION_S)
        self.reconciler = Reconciler(self.settings, upkeep, Roster(self.database), self.storage, _NoBroker())  # type: ignore[arg-type]
        self.deliveries = DueDeliveries(self.database)
        WebhookStore(self.database).create(
            url="https://hooks.example/x", events=WEBHOOK_EVENTS, description="", actor=Actor(TENANT, "caller")
        )
        self.ledger = Ledger()
        self.jobs: list[str] = []
        self.keys: dict[str, tuple[str, int]] = {}  # Idempotency-Key to the job that it made, and the job's seed
        self.leases: list[Lease] = []  # those that workers believe they hold
        self.held: dict[str, int] = {}  # the fence under which a job is really held
        self.ends: dict[str, End] = {}
        self.sent: list[DueDelivery] = []  # tries that are under way
        self.received: list[Received] = []

    @rule(seed=st.integers(0, 3), priority=st.sampled_from(Priority), key=st.sampled_from(["", "a", "b", "c"]))
    def create(self, seed: int, priority: Priority, key: str) -> None:
        """A caller asks for a video, perhaps under a key that it has used before."""
        self._create(seed, priority=priority, key=key)

    @rule(deadline_s=st.floats(1, 100))
    def create_in_time(self, deadline_s: float) -> None:
        """A caller asks for a video that must be done soon."""
        self._create(0, terms=Terms(deadline_s=deadline_s))

    @precondition(lambda self: self.jobs)
    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        """A caller asks for a video to stop."""
        job_id = self._job(pick)
        try:
            job = self.store.request_cancel(job_id, tenant=TENANT)
        except JobNotFound:
            return
        if job.cancel_requested_at is not None:
            self.ledger.accept(job_id, COMPLETED, CANCELLED, FAILED, codes=END_CODES)
        self._look(job_id)

    @precondition(lambda self: self.jobs)
    @rule(pick=picks)
    def delete(self, pick: int) -> None:
        """A caller deletes a video, whatever it is doing."""
        job_id = self._job(pick)
        try:
            self.store.delete(job_id, tenant=TENANT)
        except JobNotFound:
            return
        self.ledger.delete(job_id)

    @precondition(lambda self: self.jobs)
    @rule(pick=picks)
    def make_again(self, pick: int) -> None:
        """A caller asks for a failed or cancelled video once more, twice: both times it gets the same one."""
        job_id = self._job(pick)
        try:
            again, _ = self.store.create_again(job_id, tenant=TENANT)
            same, is_new = self.store.create_again(job_id, tenant=TENANT)
        except (JobNotFound, IllegalTransition, QuotaExceeded):
            return
        assert (same.id, is_new) == (again.id, False)
        self._accept(again.id)

    @rule(worker=st.sampled_from(["w1", "w2", "w3"]))
    def claim(self, worker: str) -> None:
        """A worker looks for a job."""
        claimed = self.store.claim(worker, model=MODEL, lease_s=LEASE_S)
        if claimed is None:
            return
        job, lease = claimed
        assert job.id not in self.held, "a job was given to two workers"
        assert len(self.held) < 2, "a tenant runs more jobs than it may"
        assert job.cancel_requested_at is None
        self.held[job.id] = lease.fence
        self.leases.append(lease)

    @precondition(lambda self: self.leases)
    @rule(pick=picks)
    def renew(self, pick: int) -> None:
        """A worker keeps its job."""
        lease = self._lease(pick)
        self._write(lease, lambda: self.store.renew(lease, lease_s=LEASE_S))

    @precondition(lambda self: self.leases)
    @rule(pick=picks, stage=st.sampled_from([JobStage.LOCALIZATION, JobStage.KEYFRAMES]), step=st.integers(0, 4))
    def report(self, pick: int, stage: JobStage, step: int) -> None:
        """A worker tells how far it is."""
        lease = self._lease(pick)
        self._write(lease, lambda: self.store.report(lease, stage=stage, step=step, total=4, progress=20 * step))

    @precondition(lambda self: self.leases)
    @rule(pick=picks, stage=st.sampled_from([JobStage.LOCALIZATION, JobStage.KEYFRAMES]))
    def checkpoint(self, pick: int, stage: JobStage) -> None:
        """A runner stores what a stage leaves, and its worker notes it, if it still may."""
        lease = self._lease(pick)
        key = f"checkpoints/{lease.job_id}/{lease.fence}/{stage}.safetensors"
        self.storage.put_bytes(key, b"state", content_type="application/octet-stream")
        self._write(
            lease,
            lambda: self.store.save_checkpoint(
                lease, stage=stage, key=key, sha256="s", keyframes=HEARD, engine_digest="e"
            ),
        )

    @precondition(lambda self: self.leases)
    @rule(pick=picks)
    def complete(self, pick: int) -> None:
        """A runner stores the video, and its worker ends the job with it, if it still may."""
        lease = self._lease(pick)
        output = self._upload(lease)
        self._end(lease, lambda: self.store.complete(lease, output, usage={}, engine={}))

    @precondition(lambda self: self.leases)
    @rule(pick=picks, how=st.sampled_from(["fail", "retry", "cancelled", "release"]))
    def give_up(self, pick: int, how: str) -> None:
        """A worker ends its attempt without a video."""
        lease = self._lease(pick)
        if how == "cancelled" and not self._is_cancelled(lease):
            how = "release"
        ways: Mapping[str, Callable[[], None]] = {
            "fail": lambda: self.store.fail(lease, BROKEN),
            "retry": lambda: self.store.retry(lease, BROKEN, delay_s=5.0),
            "cancelled": lambda: self.store.cancelled(lease),
            "release": lambda: self.store.release(lease, refund=True),
        }
        self._end(lease, ways[how])

    @precondition(lambda self: self.leases)
    @rule(pick=picks, has_uploaded=st.booleans())
    def crash(self, pick: int, has_uploaded: bool) -> None:  # noqa: FBT001 - hypothesis names its arguments
        """A worker dies, perhaps between storing the video and saying so."""
        lease = self._lease(pick)
        if has_uploaded:
            self._upload(lease)
        self.leases.remove(lease)

    @rule(seconds=st.sampled_from([1.0, 10.0, LEASE_S + 1, RETENTION_S + 100]))
    def pass_time(self, seconds: float) -> None:
        """Time goes by: leases run out, deadlines pass, videos expire."""
        self.clock.advance(seconds)

    @rule()
    def reconcile(self) -> None:
        """The reconciler repairs what died, and purges what was deleted or has expired."""
        self._reconcile()

    @rule()
    def sweep(self) -> None:
        """The reconciler removes what no row names."""
        self.reconciler.sweep()

    @rule(is_lost=st.booleans())
    def take_webhooks(self, is_lost: bool) -> None:  # noqa: FBT001 - hypothesis names its arguments
        """A dispatcher sends what is due, and dies before it can say so, or not yet."""
        taken = self._take()
        if not is_lost:
            self.sent += taken

    @precondition(lambda self: self.sent)
    @rule(status=st.sampled_from([200, 200, 500]))
    def settle_webhooks(self, status: int) -> None:
        """The dispatcher notes how its tries went."""
        for due in self.sent:
            self.deliveries.settle(due, reply=Reply(status), error=None, jitter=1.0)
        self.sent.clear()

    def teardown(self) -> None:
        """Whatever has happened, the machine comes to rest, and then everything holds."""
        if not hasattr(self, "database"):
            return
        try:
            self._come_to_rest()
            broken = check_installation(self.database, self.settings, self.ledger, received=self.received)
            assert not broken, "\n".join(broken)
        finally:
            self.database.close()
            shutil.rmtree(self.folder)

    def _come_to_rest(self) -> None:
        while self.leases:
            self.complete(0)
        for _ in range(100):
            self.clock.advance(LEASE_S + 1)
            self._reconcile()
            self.claim("last")
            while self.leases:
                self.complete(0)
            if all(self._status(job_id) in (None, COMPLETED, CANCELLED, FAILED) for job_id in self.jobs):
                break
        else:
            raise AssertionError("jobs wait for ever")
        self.settle_webhooks(200)
        for _ in range(40):
            self.clock.advance(86_400.0)
            self.sent += self._take()
            self.settle_webhooks(200)

    def _create(
        self, seed: int, *, priority: Priority = Priority.NORMAL, key: str = "", terms: Terms | None = None
    ) -> None:
        request = self._request(seed)
        idempotency = IdempotencyKey(key, str(seed), life_s=1e9) if key else None
        made = self.keys.get(key)
        try:
            job = self.store.create(
                request,
                tenant=TENANT,
                metadata={},
                priority=priority,
                idempotency=idempotency,
                terms=terms or Terms(),
            )
        except QuotaExceeded:
            assert made is None or not self._is_there(made[0]), "a repeated request counts as a new one"
            return
        except IdempotencyKeyReused:
            assert made is not None
            assert made[1] != seed
            return
        if made is not None and job.id == made[0]:
            assert made[1] == seed
            return
        assert made is None or not self._is_there(made[0]), "one key has made two jobs"
        if key:
            self.keys[key] = (job.id, seed)
        self._accept(job.id)

    def _request(self, seed: int) -> VideoRequest:
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

    def _accept(self, job_id: str) -> None:
        if job_id not in self.jobs:
            self.jobs.append(job_id)
            self.ledger.accept(job_id, COMPLETED, FAILED, codes=END_CODES)

    def _upload(self, lease: Lease) -> Output:
        content = VIDEO + f"{lease.job_id} {lease.fence}".encode()
        key = f"outputs/{lease.job_id}/{lease.fence}/video.mp4"
        self.storage.put_bytes(key, content, content_type="video/mp4")
        return Output(key, hashlib.sha256(content).hexdigest(), len(content), 48, 24, 64, 32, 2.0)

    def _write(self, lease: Lease, call: Callable[[], Any]) -> None:
        """Write under a lease: it must be refused exactly where the job has passed on."""
        is_held = self.held.get(lease.job_id) == lease.fence
        try:
            call()
        except LeaseLost:
            assert not is_held, "a worker that holds its job may not write it"
            self.leases.remove(lease)
            return
        assert is_held, "a worker that has lost its job wrote it"
        self._look(lease.job_id)

    def _end(self, lease: Lease, call: Callable[[], None]) -> None:
        self._write(lease, call)
        if lease in self.leases:
            self.leases.remove(lease)
            del self.held[lease.job_id]

    def _is_cancelled(self, lease: Lease) -> bool:
        try:
            return self.store.is_cancel_requested(lease)
        except LeaseLost:
            return False

    def _reconcile(self) -> None:
        with self.database.read() as transaction:
            late = {
                row.id
                for job_id in self.held
                if (row := transaction.session.get(JobRow, job_id)) is not None
                and (row.lease_until or 0) < transaction.now
            }
        self.reconciler.reconcile()
        for job_id in late:
            del self.held[job_id]
        for job_id in self.jobs:
            self._look(job_id)

    def _look(self, job_id: str) -> None:
        """Look at a job: once it has ended, it ends like this for ever, and its history is whole."""
        try:
            job = self.store.get(job_id, tenant=TENANT)
        except JobNotFound:
            return
        if job.status.is_terminal:
            end = End(job.status, job.output, job.failure)
            assert self.ends.setdefault(job_id, end) == end, "an end has changed"
        events = self.store.events(job_id, after_seq=0, limit=1000)
        assert [event.seq for event in events] == list(range(1, job.seq + 1))

    def _take(self) -> list[DueDelivery]:
        taken = list(self.deliveries.take(limit=16, busy={}))
        self.received += [Received(due.url, {"webhook-id": due.id}, due.body) for due in taken]
        return taken

    def _is_there(self, job_id: str) -> bool:
        """Whether callers can see a job; the key that made it is forgotten with it."""
        try:
            self.store.get(job_id, tenant=TENANT)
        except JobNotFound:
            return False
        return True

    def _status(self, job_id: str) -> str | None:
        """The state of a job; None when there is no such job any more."""
        with self.database.read() as transaction:
            row = transaction.session.get(JobRow, job_id)
            return None if row is None or row.purged_at is not None else row.status

    def _job(self, pick: int) -> str:
        return self.jobs[pick % len(self.jobs)]

    def _lease(self, pick: int) -> Lease:
        return self.leases[pick % len(self.leases)]


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
