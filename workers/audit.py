"""The audit log: who did what, written in the same transaction as the deed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from workers.access import Actor, AuditEntry
from workers.tables import AuditRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workers.database import Database, Transaction


def note(transaction: Transaction, actor: Actor, action: str, target: str, **detail: object) -> None:
    """Enter a deed into the log; it stands if the transaction does. `detail` never holds a secret."""
    transaction.session.add(
        AuditRow(
            at=transaction.now,
            tenant=actor.tenant,
            actor=actor.name,
            action=action,
            target=target,
            detail=detail,
            request_id=actor.request_id,
        )
    )


class AuditLog:
    """Reads the log. Every method raises StoreUnavailable when the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def entries(self, *, before: int | None, limit: int) -> Sequence[AuditEntry]:
        """Up to `limit` entries, newest first, older than entry `before`."""
        query = select(AuditRow).order_by(AuditRow.row.desc()).limit(limit)
        if before is not None:
            query = query.where(AuditRow.row < before)
        with self._database.read() as transaction:
            return [_entry_of(row) for row in transaction.session.scalars(query)]


def _entry_of(row: AuditRow) -> AuditEntry:
    actor = Actor(row.tenant, row.actor, row.request_id)
    return AuditEntry(row=row.row, at=row.at, actor=actor, action=row.action, target=row.target, detail=row.detail)
