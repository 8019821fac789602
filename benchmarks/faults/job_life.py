"""Any order of what callers, workers and the machine do, against the real stores under a clock that is moved by hand.

Hypothesis looks for an order after which something does not hold that must: a write under a lost lease that is
accepted, an end that changes, a gap in a history, something lost, left over or told twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from benchmarks.faults.callers import CANCELLED, COMPLETED, FAILED, Ledger
from benchmarks.faults.invariants import check_installation
from benchmarks.faults.job_scene import MAX_RUNNING, MODEL, RETENTION_S, TENANT, Scene
from tests.receivers import Received
from workers.errors import IdempotencyKeyReused, IllegalTransition, JobNotFound, LeaseLost, QuotaExceeded
from workers.idempotency import IdempotencyKey
from workers.jobs import Failure, JobStage, Keyframes, Lease, Output, Priority, Terms
from workers.tables import JobRow
from workers.webhooks.sending import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from workers.webhooks.messages import DueDelivery

LEASE_S = 30.0
BROKEN = Failure("internal", "It broke.")
HEARD = Keyframes((0, 1), (0.0,), (), ())
END_CODES = ("internal", "worker_crashed", "deadline_exceeded")
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
        """An empty installation, and nothing known of it."""
        self.scene = Scene()
        self.store = self.scene.store
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
        assert len(self.held) < MAX_RUNNING, "a tenant runs more jobs than it may"
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
        key = self.scene.leave_state(lease, stage)
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
        output = self.scene.upload(lease)
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
            self.scene.upload(lease)
        self.leases.remove(lease)

    @rule(seconds=st.sampled_from([1.0, 10.0, LEASE_S + 1, RETENTION_S + 100]))
    def pass_time(self, seconds: float) -> None:
        """Time goes by: leases run out, deadlines pass, videos expire."""
        self.scene.clock.advance(seconds)

    @rule()
    def reconcile(self) -> None:
        """The reconciler repairs what died, and purges what was deleted or has expired."""
        self._reconcile()

    @rule()
    def sweep(self) -> None:
        """The reconciler removes what no row names."""
        self.scene.reconciler.sweep()

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
            self.scene.deliveries.settle(due, reply=Reply(status), error=None, jitter=1.0)
        self.sent.clear()

    def teardown(self) -> None:
        """Whatever has happened, the machine comes to rest, and then everything holds."""
        if not hasattr(self, "scene"):
            return
        try:
            self._come_to_rest()
            broken = check_installation(self.scene.database, self.scene.settings, self.ledger, received=self.received)
            assert not broken, "\n".join(broken)
        finally:
            self.scene.close()

    def _come_to_rest(self) -> None:
        while self.leases:
            self.complete(0)
        for _ in range(100):
            self.scene.clock.advance(LEASE_S + 1)
            self._reconcile()
            self.claim("last")
            while self.leases:
                self.complete(0)
            if all(self.scene.status(job_id) in (None, COMPLETED, CANCELLED, FAILED) for job_id in self.jobs):
                break
        else:
            raise AssertionError("jobs wait for ever")
        self.settle_webhooks(200)
        for _ in range(40):
            self.scene.clock.advance(86_400.0)
            self.sent += self._take()
            self.settle_webhooks(200)

    def _create(
        self, seed: int, *, priority: Priority = Priority.NORMAL, key: str = "", terms: Terms | None = None
    ) -> None:
        request = self.scene.request(seed)
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
            assert made is None or not self.scene.shows(made[0]), "a repeated request counts as a new one"
            return
        except IdempotencyKeyReused:
            assert made is not None
            assert made[1] != seed
            return
        if made is not None and job.id == made[0]:
            assert made[1] == seed
            return
        assert made is None or not self.scene.shows(made[0]), "one key has made two jobs"
        if key:
            self.keys[key] = (job.id, seed)
        self._accept(job.id)

    def _accept(self, job_id: str) -> None:
        if job_id not in self.jobs:
            self.jobs.append(job_id)
            self.ledger.accept(job_id, COMPLETED, FAILED, codes=END_CODES)

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
        with self.scene.database.read() as transaction:
            late = {
                row.id
                for job_id in self.held
                if (row := transaction.session.get(JobRow, job_id)) is not None
                and (row.lease_until or 0) < transaction.now
            }
        self.scene.reconciler.reconcile()
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
        taken = list(self.scene.deliveries.take(limit=16, busy={}))
        self.received += [Received(due.url, {"webhook-id": due.id}, due.body) for due in taken]
        return taken

    def _job(self, pick: int) -> str:
        return self.jobs[pick % len(self.jobs)]

    def _lease(self, pick: int) -> Lease:
        return self.leases[pick % len(self.leases)]
