"""Inputs that end workers: known by the SHA-256 of a caller's file, or of a picture and a sound together."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select

from workers.audit import note
from workers.errors import InputNotKnown, InputQuarantined
from workers.jobs import JobStatus
from workers.tables import JobRow, QuarantineRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workers.access import Actor
    from workers.contract import VideoRequest
    from workers.database import Database, Transaction

POISON = "poison_input"
POISONED_JOBS = 2  # one job may die of the machine; two with the same inputs die of the inputs


@dataclass(frozen=True, slots=True)
class QuarantinedInput:
    """One input that is refused; `job_id` is the job that made us do so, if one did."""

    digest: str
    reason: str
    job_id: str | None
    at: float


def pair_digest(image_key: str, audio_key: str) -> str:
    """The name of a picture and a sound together, from their canonical files."""
    return hashlib.sha256(f"{image_key}\n{audio_key}".encode()).hexdigest()


def refuse_quarantined(transaction: Transaction, request: VideoRequest) -> None:
    """Raises: InputQuarantined when a request uses an input that is refused."""
    named = (
        request.image.sha256,
        request.audio.sha256,
        pair_digest(request.image.key, request.audio.key),
    )
    found = select(QuarantineRow.digest).where(QuarantineRow.digest.in_(named)).limit(1)
    if transaction.session.scalar(found) is not None:
        raise InputQuarantined


def note_poison(transaction: Transaction, row: JobRow) -> None:
    """Quarantine the inputs of a job that has just failed as poison, if they had failed so before."""
    if row.failure_code != POISON:
        return
    digest = pair_digest(row.image_key, row.audio_key)
    transaction.lock_digest(digest)  # of two that fail together, one has to see the other
    before = (
        select(func.count())
        .select_from(JobRow)
        .where(
            JobRow.image_key == row.image_key,
            JobRow.audio_key == row.audio_key,
            JobRow.status == JobStatus.FAILED,
            JobRow.failure_code == POISON,
            JobRow.id != row.id,
        )
    )
    if int(transaction.session.scalar(before) or 0) + 1 < POISONED_JOBS:
        return
    reason = "Every attempt of several jobs with these inputs ended the worker that tried."
    _put(transaction, QuarantinedInput(digest, reason, row.id, transaction.now))


def _put(transaction: Transaction, entry: QuarantinedInput) -> None:
    """Refuse an input, or refuse it for a newer reason."""
    values = asdict(entry)
    refused = transaction.insert(QuarantineRow).values(values)
    transaction.session.execute(refused.on_conflict_do_update(index_elements=["digest"], set_=values))


class Quarantine:
    """The refused inputs, as an operator handles them. Methods raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def entries(self) -> Sequence[QuarantinedInput]:
        """Every refused input, newest first."""
        with self._database.read() as transaction:
            rows = transaction.session.scalars(select(QuarantineRow).order_by(QuarantineRow.at.desc()))
            return [QuarantinedInput(row.digest, row.reason, row.job_id, row.at) for row in rows]

    def add(self, digest: str, *, reason: str, actor: Actor) -> QuarantinedInput:
        """Refuse an input from now on."""
        with self._database.write() as transaction:
            entry = QuarantinedInput(digest, reason, None, transaction.now)
            _put(transaction, entry)
            note(transaction, actor, "quarantine.add", digest, reason=reason)
            return entry

    def lift(self, digest: str, *, actor: Actor) -> None:
        """Accept an input again.

        Raises: InputNotKnown when it is not refused.
        """
        gone = delete(QuarantineRow).where(QuarantineRow.digest == digest).returning(QuarantineRow.digest)
        with self._database.write() as transaction:
            if transaction.session.scalar(gone) is None:
                raise InputNotKnown
            note(transaction, actor, "quarantine.lift", digest)
