"""The job store: the one place where a job changes state.

The API's side is here; the worker's side is inherited from `workers.leases`. Every method is one short transaction.
Each change that a caller can see raises the job's `seq` by one and writes the event of that number in the same
transaction, so a job's history has no gaps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, func, or_, select

from workers.access import NO_LIMITS, OPERATOR
from workers.audit import note
from workers.contract import PAYLOAD_VERSION, VideoRequest
from workers.database import Database, upgrade
from workers.errors import IllegalTransition, JobExpired, JobNotFound
from workers.fair_share import queue_order
from workers.file_store import FileStore
from workers.idempotency import job_made, remember
from workers.ids import new_id
from workers.jobs import NO_ORIGIN, NO_TERMS, EventType, Job, JobEvent, JobStage, JobStatus, Priority, Terms
from workers.leases import JobLeases
from workers.quarantine import refuse_quarantined
from workers.quota import admit, check_room, default_limits, locked_tenant, usage_of
from workers.records import event_of, finish, fresh_stages, job_of, record
from workers.result_cache import complete_from, find_result, recipe_of
from workers.tables import EventRow, JobRow, LeaderRow, TenantRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workers.access import Actor, Limits, Usage
    from workers.database import Transaction
    from workers.idempotency import IdempotencyKey
    from workers.jobs import Origin
    from workers.result_cache import CachedResult
    from workers.settings import Settings


LAST_CALL_S = 60.0  # so close to its last moment a job counts as expired to whoever wants its inputs


class JobStore(JobLeases, FileStore):
    """The job store on SQLite or PostgreSQL.

    Every method raises StoreUnavailable when the database does not answer.
    """

    def __init__(
        self, database: Database, *, max_attempts: int, retention_s: float, default_limits: Limits = NO_LIMITS
    ) -> None:
        super().__init__(database, retention_s=retention_s, default_limits=default_limits)
        self._max_attempts = max_attempts

    @property
    def database(self) -> Database:
        """The job database, for the other things that are kept in it."""
        return self._database

    def create(
        self,
        request: VideoRequest,
        *,
        tenant: str,
        metadata: Mapping[str, str],
        priority: Priority = Priority.NORMAL,
        api_key_id: str | None = None,
        idempotency: IdempotencyKey | None = None,
        terms: Terms = NO_TERMS,
        cached: CachedResult | None = None,
        origin: Origin = NO_ORIGIN,
    ) -> Job:
        """Accept a request: from the return of this call on, the job is never lost.

        A request whose Idempotency-Key has made a job already gets that job. One with a `cached` result is completed.
        Raises: QuotaExceeded, InputQuarantined, IdempotencyKeyReused.
        """
        with self._database.write() as transaction:
            holder = locked_tenant(transaction, tenant)
            if idempotency is not None:
                made = job_made(transaction, idempotency, tenant=tenant)
                if made is not None:
                    return job_of(made)
            refuse_quarantined(transaction, request)
            admit(transaction, holder, self._default_limits)
            row = self._add(
                transaction,
                request,
                tenant=tenant,
                metadata=metadata,
                priority=priority,
                api_key_id=api_key_id,
                terms=terms,
                origin=origin,
                job_id=cached.job_id if cached else None,
            )
            if idempotency is not None:
                remember(transaction, idempotency, row)
            source = transaction.session.get(JobRow, cached.source_id) if cached else None
            if cached is not None and source is not None:
                complete_from(transaction, row, source, cached.output, retention_s=self._retention_s)
            return job_of(row)

    def find_result(self, request: VideoRequest, *, tenant: str) -> Job | None:
        """A finished job of the tenant whose video is the one that this request would make."""
        with self._database.read() as transaction:
            row = find_result(transaction, request, tenant=tenant)
            return job_of(row) if row is not None else None

    def check_room(self, *, tenant: str) -> None:
        """Look whether a tenant may have one more job now; `create` decides.

        Raises: QuotaExceeded.
        """
        with self._database.read() as transaction:
            check_room(transaction, tenant, transaction.session.get(TenantRow, tenant), self._default_limits)

    def made_with(self, idempotency: IdempotencyKey, *, tenant: str) -> Job | None:
        """The job that an Idempotency-Key of a tenant has made, if it has.

        Raises: IdempotencyKeyReused.
        """
        with self._database.read() as transaction:
            row = job_made(transaction, idempotency, tenant=tenant)
            return job_of(row) if row is not None else None

    def usage(self, *, tenant: str) -> Usage:
        """What a tenant holds and has used today."""
        with self._database.read() as transaction:
            return usage_of(transaction, tenant, self._default_limits)

    def get(self, job_id: str, *, tenant: str) -> Job:
        """Read one job of a tenant.

        Raises: JobNotFound, JobExpired.
        """
        with self._database.read() as transaction:
            return job_of(_visible(transaction, job_id, tenant))

    def list(
        self, *, tenant: str, after: str | None, limit: int, order: str, status: JobStatus | None
    ) -> Sequence[Job]:
        """Read up to `limit` jobs of a tenant by creation time, `order` asc or desc, beginning behind `after`.

        Raises: JobNotFound when there is no job `after`.
        """
        query = select(JobRow).where(JobRow.tenant == tenant, JobRow.deleted_at.is_(None))
        if status is not None:
            query = query.where(JobRow.status == status)
        is_ascending = order == "asc"
        with self._database.read() as transaction:
            query = query.where(or_(JobRow.expires_at.is_(None), JobRow.expires_at > transaction.now))
            if after is not None:
                mark = _present(transaction, after, tenant)
                if is_ascending:
                    beyond = or_(
                        JobRow.created_at > mark.created_at,
                        and_(JobRow.created_at == mark.created_at, JobRow.id > mark.id),
                    )
                else:
                    beyond = or_(
                        JobRow.created_at < mark.created_at,
                        and_(JobRow.created_at == mark.created_at, JobRow.id < mark.id),
                    )
                query = query.where(beyond)
            keys = (JobRow.created_at, JobRow.id)
            query = query.order_by(*(key.asc() if is_ascending else key.desc() for key in keys)).limit(limit)
            return [job_of(row) for row in transaction.session.scalars(query)]

    def queue_position(self, job: Job) -> int | None:
        """Which turn this job has if no more come: 1 is the next. None when it does not wait."""
        return self.queue_places(job.request.model).get(job.id) if job.status is JobStatus.QUEUED else None

    def queue_places(self, model: str) -> Mapping[str, int]:
        """The turns of all waiting jobs of a model, by their ids."""
        with self._database.read() as transaction:
            return {job_id: place for place, job_id in enumerate(queue_order(transaction.session, model), start=1)}

    def dead(self, *, after: str | None, limit: int) -> Sequence[Job]:
        """Up to `limit` failed jobs of all tenants, latest first, beginning behind `after`; for operators.

        Raises: JobNotFound when there is no job `after`.
        """
        query = select(JobRow).where(JobRow.status == JobStatus.FAILED, JobRow.deleted_at.is_(None))
        with self._database.read() as transaction:
            if after is not None:
                mark = transaction.session.get(JobRow, after)
                if mark is None:
                    raise JobNotFound
                query = query.where(JobRow.id < mark.id)
            rows = transaction.session.scalars(query.order_by(JobRow.id.desc()).limit(limit))
            return [job_of(row) for row in rows]

    def request_cancel(self, job_id: str, *, tenant: str) -> Job:
        """Ask for a job to stop: a queued one is cancelled at once, a running one by its worker, a final one stays.

        Raises: JobNotFound, JobExpired.
        """
        with self._database.write() as transaction:
            row = _visible(transaction, job_id, tenant, lock=True)
            self._cancel(transaction, row)
            return job_of(row)

    def create_again(
        self,
        job_id: str,
        *,
        tenant: str,
        highest: Priority = Priority.HIGH,
        api_key_id: str | None = None,
        origin: Origin = NO_ORIGIN,
    ) -> tuple[Job, bool]:
        """Accept the request of a failed or cancelled job once more, as a new job with attempts of its own.

        It has the priority of the old one, or `highest` if that was higher.
        Where such a job waits, runs or is completed already, it is the answer. Says whether the job is new.
        Raises: JobNotFound, JobExpired, IllegalTransition, QuotaExceeded, InputQuarantined.
        """
        with self._database.write() as transaction:
            holder = locked_tenant(transaction, tenant)
            row = _visible(transaction, job_id, tenant, lock=True)
            if row.status not in (JobStatus.FAILED, JobStatus.CANCELLED):
                raise IllegalTransition("Only a failed or cancelled video can be made once more.")
            if row.expires_at is not None and row.expires_at - transaction.now < LAST_CALL_S:
                raise JobExpired
            again = _repeated(transaction, job_id)
            if again is not None:
                return job_of(again), False
            if row.request["version"] > PAYLOAD_VERSION:
                raise IllegalTransition("A newer version of this server made this video: only that one can repeat it.")
            request = VideoRequest.model_validate(row.request)
            refuse_quarantined(transaction, request)
            admit(transaction, holder, self._default_limits)
            deadline_s = None if row.deadline_at is None else row.deadline_at - row.created_at
            again = self._add(
                transaction,
                request,
                tenant=tenant,
                metadata=row.caller_metadata,
                priority=max(Priority(row.priority), highest),
                api_key_id=api_key_id,
                terms=Terms(deadline_s=deadline_s, retention_s=row.retention_s),
                origin=origin,
                retried_from=job_id,
            )
            return job_of(again), True

    def delete(self, job_id: str, *, tenant: str, actor: Actor = OPERATOR) -> None:
        """Cancel a job if it still runs, and hide it at once; its blobs are purged soon after.

        Raises: JobNotFound, JobExpired.
        """
        with self._database.write() as transaction:
            row = _visible(transaction, job_id, tenant, lock=True)
            self._cancel(transaction, row)
            row.deleted_at = transaction.now
            note(transaction, actor, "video.delete", job_id)

    def events(self, job_id: str, *, after_seq: int, limit: int) -> Sequence[JobEvent]:
        """Read a job's history behind `after_seq`, oldest first."""
        query = select(EventRow).where(EventRow.job_id == job_id, EventRow.seq > after_seq)
        with self._database.read() as transaction:
            rows = transaction.session.scalars(query.order_by(EventRow.seq).limit(limit))
            return [event_of(row) for row in rows]

    def events_since(self, after_rowid: int, *, limit: int) -> tuple[Sequence[JobEvent], int]:
        """Read the history of all jobs behind `after_rowid`, and where to go on; one poll feeds every stream.

        A negative `after_rowid` returns no events and the present end.
        """
        with self._database.read() as transaction:
            if after_rowid < 0:
                return [], int(transaction.session.scalar(select(func.max(EventRow.row))) or 0)
            query = select(EventRow).where(EventRow.row > after_rowid).order_by(EventRow.row).limit(limit)
            rows = transaction.session.scalars(query).all()
            return [event_of(row) for row in rows], rows[-1].row if rows else after_rowid

    def _add(
        self,
        transaction: Transaction,
        request: VideoRequest,
        *,
        tenant: str,
        metadata: Mapping[str, str],
        priority: Priority,
        api_key_id: str | None,
        terms: Terms,
        origin: Origin,
        retried_from: str | None = None,
        job_id: str | None = None,
    ) -> JobRow:
        """Write the row of a new job, and its first event."""
        row = JobRow(
            id=job_id or new_id("video"),
            tenant=tenant,
            api_key_id=api_key_id,
            priority=priority,
            status=JobStatus.QUEUED,
            stage=JobStage.QUEUED,
            request=request.model_dump(mode="json"),
            model=request.model,
            image_key=request.image.key,
            audio_key=request.audio.key,
            caller_metadata=dict(metadata),
            progress=0,
            seq=0,
            attempt=0,
            max_attempts=self._max_attempts,
            fence=0,
            not_before=0.0,
            created_at=transaction.now,
            deadline_at=None if terms.deadline_s is None else transaction.now + terms.deadline_s,
            retention_s=terms.retention_s,
            retried_from=retried_from,
            request_id=origin.request_id,
            traceparent=origin.traceparent,
            recipe_sha256=recipe_of(request),
            stages=fresh_stages(),
            engine={},
            usage={},
        )
        transaction.session.add(row)
        transaction.session.flush()  # the event names the job: it must be there first
        record(transaction, row, EventType.QUEUED)
        return row

    def ping(self) -> None:
        """Write and read one row."""
        with self._database.write() as transaction:
            row = transaction.insert(LeaderRow).values(duty="ping", owner="ping", until=transaction.now)
            transaction.session.execute(
                row.on_conflict_do_update(index_elements=["duty"], set_={"until": transaction.now})
            )

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

    def _cancel(self, transaction: Transaction, row: JobRow) -> None:
        if JobStatus(row.status).is_terminal or row.cancel_requested_at is not None:
            return
        row.cancel_requested_at = transaction.now
        if row.status == JobStatus.QUEUED:
            finish(transaction, row, JobStatus.CANCELLED, retention_s=self._retention_s)
        else:
            record(transaction, row, EventType.PROGRESS)


def open_job_store(settings: Settings) -> JobStore:
    """Open the job store that the settings name, after bringing its tables up to date.

    Raises: StoreUnavailable.
    """
    upgrade(settings.database_url)
    database = Database(settings.database_url)
    return JobStore(
        database,
        max_attempts=settings.max_attempts,
        retention_s=settings.retention_seconds,
        default_limits=default_limits(settings),
    )


def _visible(transaction: Transaction, job_id: str, tenant: str, *, lock: bool = False) -> JobRow:
    row = _present(transaction, job_id, tenant, lock=lock)
    if row.expires_at is not None and row.expires_at <= transaction.now:
        raise JobExpired
    return row


def _present(transaction: Transaction, job_id: str, tenant: str, *, lock: bool = False) -> JobRow:
    query = select(JobRow).where(JobRow.id == job_id, JobRow.tenant == tenant, JobRow.deleted_at.is_(None))
    row = transaction.session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise JobNotFound
    return row


def _repeated(transaction: Transaction, job_id: str) -> JobRow | None:
    """The job that repeats another one and has not failed itself."""
    hopeless = (JobStatus.FAILED, JobStatus.CANCELLED)
    query = select(JobRow).where(
        JobRow.retried_from == job_id,
        JobRow.deleted_at.is_(None),
        JobRow.status.not_in(hopeless),
        or_(JobRow.expires_at.is_(None), JobRow.expires_at > transaction.now),
    )
    return transaction.session.scalar(query.order_by(JobRow.created_at.desc()).limit(1))
