"""Links that let anybody see one finished video until they expire or are revoked."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from workers.audit import note
from workers.errors import IllegalTransition, JobExpired, JobNotFound, WorkerError
from workers.ids import new_id
from workers.jobs import JobStatus
from workers.records import job_of
from workers.tables import JobRow, ShareLinkRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workers.access import Actor
    from workers.database import Database, Transaction
    from workers.jobs import Job

MAX_LIVE_LINKS = 50  # of one video


class ShareLinkNotKnown(WorkerError):
    """There is no such link."""


class ShareLinkExpired(WorkerError):
    """The link has expired."""


class ShareLinkRevoked(WorkerError):
    """The link was revoked."""


class TooManyShareLinks(WorkerError):
    """The video has as many links as it may: revoke one."""


@dataclass(frozen=True, slots=True)
class ShareLink:
    """One link. Times are unix seconds by the database's clock."""

    id: str
    job_id: str
    created_at: float
    expires_at: float
    revoked_at: float | None = None


class ShareLinks:
    """The links of all tenants. Every method raises StoreUnavailable when the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, job_id: str, *, tenant: str, life_s: float, actor: Actor) -> ShareLink:
        """Share a finished video for `life_s` seconds, or until it expires itself.

        Raises: JobNotFound, JobExpired; IllegalTransition when it is not completed; TooManyShareLinks.
        """
        with self._database.write() as transaction:
            job = _owned(transaction, job_id, tenant, lock=True)
            if job.status != JobStatus.COMPLETED or job.expires_at is None:
                raise IllegalTransition("Only a completed video can be shared.")
            live = select(func.count()).where(
                ShareLinkRow.job_id == job_id,
                ShareLinkRow.revoked_at.is_(None),
                ShareLinkRow.expires_at > transaction.now,
            )
            if int(transaction.session.scalar(live) or 0) >= MAX_LIVE_LINKS:
                raise TooManyShareLinks
            row = ShareLinkRow(
                id=new_id("share"),
                job_id=job_id,
                tenant=tenant,
                created_at=transaction.now,
                expires_at=min(transaction.now + life_s, job.expires_at),
            )
            transaction.session.add(row)
            note(transaction, actor, "video.share", job_id, link=row.id, expires_at=row.expires_at)
            return _link_of(row)

    def of_job(self, job_id: str, *, tenant: str) -> Sequence[ShareLink]:
        """All links of a video, ended ones included, newest first. Raises: JobNotFound, JobExpired."""
        with self._database.read() as transaction:
            _owned(transaction, job_id, tenant)
            query = select(ShareLinkRow).where(ShareLinkRow.job_id == job_id).order_by(ShareLinkRow.id.desc())
            return [_link_of(row) for row in transaction.session.scalars(query)]

    def revoke(self, link_id: str, *, job_id: str, tenant: str, actor: Actor) -> ShareLink:
        """End a link now; one that was revoked stays as it is. Raises: ShareLinkNotKnown."""
        with self._database.write() as transaction:
            row = transaction.session.get(ShareLinkRow, link_id, with_for_update=True)
            if row is None or row.job_id != job_id or row.tenant != tenant:
                raise ShareLinkNotKnown
            if row.revoked_at is None:
                row.revoked_at = transaction.now
                note(transaction, actor, "video.unshare", job_id, link=link_id)
            return _link_of(row)

    def open(self, link_id: str) -> tuple[Job, ShareLink]:
        """The video that a link shows. Raises: ShareLinkNotKnown, ShareLinkExpired, ShareLinkRevoked."""
        with self._database.read() as transaction:
            row = transaction.session.get(ShareLinkRow, link_id)
            job = transaction.session.get(JobRow, row.job_id) if row is not None else None
            if row is None or job is None or job.deleted_at is not None:
                raise ShareLinkNotKnown
            if row.revoked_at is not None:
                raise ShareLinkRevoked
            if row.expires_at <= transaction.now:
                raise ShareLinkExpired
            return job_of(job), _link_of(row)


def share_token(signing_key: bytes, link_id: str) -> str:
    """What stands in a link's address: its id, and a signature that cannot be guessed."""
    return f"{link_id}.{_signature(signing_key, link_id)}"


def link_id_of(signing_key: bytes, token: str) -> str:
    """The id of the link that a token was made for. Raises: ShareLinkNotKnown."""
    link_id, _, signature = token.partition(".")
    if not hmac.compare_digest(_signature(signing_key, link_id).encode(), signature.encode()):
        raise ShareLinkNotKnown
    return link_id


def _signature(signing_key: bytes, link_id: str) -> str:
    digest = hmac.new(signing_key, f"keyvid-share-v1\n{link_id}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _owned(transaction: Transaction, job_id: str, tenant: str, *, lock: bool = False) -> JobRow:
    query = select(JobRow).where(JobRow.id == job_id, JobRow.tenant == tenant, JobRow.deleted_at.is_(None))
    row = transaction.session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise JobNotFound
    if row.expires_at is not None and row.expires_at <= transaction.now:
        raise JobExpired
    return row


def _link_of(row: ShareLinkRow) -> ShareLink:
    return ShareLink(
        id=row.id,
        job_id=row.job_id,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )
