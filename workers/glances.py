"""Glances at jobs: the little that tells whether anything of one has changed, for the many callers who ask often."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, select

from workers.jobs import JobStatus
from workers.tables import JobRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from workers.database import Database

_QUERY = select(JobRow.id, JobRow.tenant, JobRow.status, JobRow.seq, JobRow.model, JobRow.expires_at).where(
    JobRow.id.in_(bindparam("job_ids", expanding=True)),
    JobRow.tenant == bindparam("tenant"),
    JobRow.deleted_at.is_(None),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A job, and the tenant that asks for it."""

    job_id: str
    tenant: str


@dataclass(frozen=True, slots=True)
class Glance:
    """What changes whenever anything else of a job does; one that `is_expired` is not to be told any more."""

    id: str
    status: JobStatus
    seq: int
    model: str
    is_expired: bool = False


class Glances:
    """Looks at many jobs at once. Called from threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def at(self, asked: Iterable[Asked]) -> Mapping[Asked, Glance]:
        """What there is of these jobs; one that its tenant does not have is missing. Raises: StoreUnavailable."""
        job_ids: dict[str, list[str]] = defaultdict(list)
        for one in asked:
            job_ids[one.tenant].append(one.job_id)
        rows, now = self._database.glance(
            _QUERY, [{"tenant": tenant, "job_ids": ids} for tenant, ids in job_ids.items()]
        )
        return {
            Asked(row.id, row.tenant): Glance(
                id=row.id,
                status=JobStatus(row.status),
                seq=row.seq,
                model=row.model,
                is_expired=row.expires_at is not None and row.expires_at <= now,
            )
            for row in rows
        }
