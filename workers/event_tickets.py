"""Tickets that open one event stream each, for browsers, whose EventSource cannot send an API key."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from workers.errors import JobNotFound
from workers.tables import EventTicketRow, JobRow

if TYPE_CHECKING:
    from workers.database import Database

LIFE_S = 60.0
SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class EventTicket:
    """One ticket as its holder gets it; the database has only a hash."""

    secret: str
    expires_at: float


class EventTickets:
    """The tickets of all tenants. Every method raises StoreUnavailable when the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def issue(self, job_id: str, *, tenant: str) -> EventTicket:
        """Make a ticket for the events of a job that the tenant owns. Raises: JobNotFound."""
        secret = secrets.token_urlsafe(SECRET_BYTES)
        with self._database.write() as transaction:
            owned = select(JobRow.id).where(JobRow.id == job_id, JobRow.tenant == tenant, JobRow.deleted_at.is_(None))
            if transaction.session.scalar(owned.with_for_update(read=True, key_share=True)) is None:
                raise JobNotFound
            expires_at = transaction.now + LIFE_S
            row = EventTicketRow(secret_sha256=_digest(secret), job_id=job_id, tenant=tenant, expires_at=expires_at)
            transaction.session.add(row)
            return EventTicket(secret, expires_at)

    def redeem(self, secret: str, *, job_id: str) -> str | None:
        """Use a ticket up; answers the tenant, or None where the ticket is used, too old, or another job's."""
        with self._database.write() as transaction:
            used = (
                delete(EventTicketRow)
                .where(EventTicketRow.secret_sha256 == _digest(secret), EventTicketRow.job_id == job_id)
                .returning(EventTicketRow.tenant, EventTicketRow.expires_at)
            )
            found = transaction.session.execute(used).first()
            return found.tenant if found is not None and found.expires_at > transaction.now else None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
