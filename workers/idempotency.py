"""Requests that are sent twice and done once: a caller's Idempotency-Key, remembered with the job that it made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workers.errors import IdempotencyKeyReused
from workers.tables import IdempotencyRow, JobRow

if TYPE_CHECKING:
    from workers.database import Transaction


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """What a caller calls a request, and a digest of everything that the request says; kept for `life_s` seconds."""

    key: str
    fingerprint: str
    life_s: float


def job_made(transaction: Transaction, idempotency: IdempotencyKey, *, tenant: str) -> JobRow | None:
    """The job that this key of the tenant has made, unless that is deleted or expired, or the key is forgotten.

    Raises: IdempotencyKeyReused when the key came with another request.
    """
    session = transaction.session
    row = session.get(IdempotencyRow, (tenant, idempotency.key))
    if row is None or row.expires_at <= transaction.now:
        return None
    job = session.get(JobRow, row.job_id)
    if job is None or job.deleted_at is not None:
        return None
    if job.expires_at is not None and job.expires_at <= transaction.now:  # there is nothing left to answer with
        return None
    if row.fingerprint != idempotency.fingerprint:
        raise IdempotencyKeyReused
    return job


def remember(transaction: Transaction, idempotency: IdempotencyKey, job: JobRow) -> None:
    """Note which job a key has made, in the transaction that makes it; the tenant's row must be held."""
    values = {
        "tenant": job.tenant,
        "key": idempotency.key,
        "fingerprint": idempotency.fingerprint,
        "job_id": job.id,
        "expires_at": transaction.now + idempotency.life_s,
    }
    made = transaction.insert(IdempotencyRow).values(values)  # the reconciler may drop an ended one at any moment
    transaction.session.execute(made.on_conflict_do_update(index_elements=["tenant", "key"], set_=values))
