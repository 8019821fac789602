"""The workers that are there, as they last said, and who of them does a duty that only one may do."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, or_, select

from workers.audit import note
from workers.errors import WorkerNotKnown
from workers.tables import LeaderRow, WorkerRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workers.access import Actor
    from workers.database import Database


class WorkerState(StrEnum):
    """What a worker is doing."""

    STARTING = "STARTING"
    WARMING = "WARMING"
    READY = "READY"
    BUSY = "BUSY"
    DRAINING = "DRAINING"
    UNHEALTHY = "UNHEALTHY"
    DEFUNCT = "DEFUNCT"  # silent: what it held is given to others. No worker says so of itself


AT_WORK = (WorkerState.READY, WorkerState.BUSY)
WORKER_BEAT_S = 30.0  # a worker that was not heard of for this long is not there
SHOWN_S = 120.0  # and for this long, not even told of
RECONCILING = "reconcile"  # the duty that one reconciler has


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """One worker process; `engine` says what its runner has loaded. Times by the database's clock."""

    id: str
    host: str
    pid: int
    state: WorkerState
    job_id: str | None = None
    engine: Mapping[str, Any] = field(default_factory=dict)
    started_at: float = 0.0
    beat_at: float = 0.0
    drain_requested_at: float | None = None


class Roster:
    """The `workers` and `leaders` tables. Every method raises StoreUnavailable when the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def beat(self, worker: WorkerRecord) -> bool:
        """Say that a worker lives, and how it is; answers whether it is asked to take no more jobs."""
        with self._database.write() as transaction:
            row = transaction.session.get(WorkerRow, worker.id)
            if row is None:
                row = WorkerRow(id=worker.id, host=worker.host, pid=worker.pid, started_at=transaction.now)
                transaction.session.add(row)
            row.state = worker.state
            row.job_id = worker.job_id
            row.engine = dict(worker.engine)
            row.beat_at = transaction.now
            return row.drain_requested_at is not None

    def ask_to_drain(self, worker_id: str, *, is_wanted: bool, actor: Actor) -> None:
        """Ask a worker to finish its job and take no more, or to take jobs again; it hears with its next beat.

        Raises: WorkerNotKnown.
        """
        with self._database.write() as transaction:
            row = transaction.session.get(WorkerRow, worker_id, with_for_update=True)
            if row is None:
                raise WorkerNotKnown
            row.drain_requested_at = transaction.now if is_wanted else None
            note(transaction, actor, "worker.drain" if is_wanted else "worker.resume", worker_id)

    def leave(self, worker_id: str) -> None:
        """Say that a worker has ended."""
        with self._database.write() as transaction:
            transaction.session.execute(delete(WorkerRow).where(WorkerRow.id == worker_id))

    def workers(self, *, within_s: float) -> Sequence[WorkerRecord]:
        """The workers that were heard of in the last `within_s` seconds."""
        with self._database.read() as transaction:
            fresh = select(WorkerRow).where(WorkerRow.beat_at >= transaction.now - within_s).order_by(WorkerRow.id)
            return [
                WorkerRecord(
                    id=row.id,
                    host=row.host,
                    pid=row.pid,
                    state=state_of(row.state, beat_at=row.beat_at, now=transaction.now),
                    job_id=row.job_id,
                    engine=row.engine,
                    started_at=row.started_at,
                    beat_at=row.beat_at,
                    drain_requested_at=row.drain_requested_at,
                )
                for row in transaction.session.scalars(fresh)
            ]

    def forget_silent(self, *, after_s: float) -> None:
        """Drop the workers that were not heard of for `after_s` seconds."""
        with self._database.write() as transaction:
            silent = WorkerRow.beat_at < transaction.now - after_s
            transaction.session.execute(delete(WorkerRow).where(silent))

    def lead(self, duty: str, owner: str, *, for_s: float) -> bool:
        """Take or keep a duty for `for_s` seconds; False while another has it."""
        with self._database.write() as transaction:
            until = transaction.now + for_s
            taken = (
                transaction.insert(LeaderRow)
                .values(duty=duty, owner=owner, until=until)
                .on_conflict_do_update(
                    index_elements=["duty"],
                    set_={"owner": owner, "until": until},
                    where=or_(LeaderRow.owner == owner, LeaderRow.until <= transaction.now),
                )
                .returning(LeaderRow.duty)
            )
            return transaction.session.scalar(taken) is not None


def state_of(said: str, *, beat_at: float, now: float) -> WorkerState:
    """What a worker is doing: what it said when it was last heard of, unless that is too long ago."""
    return WorkerState.DEFUNCT if now - beat_at > WORKER_BEAT_S else WorkerState(said)
