"""What must hold of an installation after anything: the one check that every fault test ends with.

Every accepted video has its right end and one result, nothing was told twice, and nothing is left over.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import func, or_, select

from workers.errors import BlobNotFound
from workers.jobs import EventType, JobStatus
from workers.reconciler import Reconciler
from workers.roster import Roster
from workers.storage import open_storage
from workers.storage_local import DRAFT_PREFIX
from workers.tables import CheckpointRow, EventRow, FileRow, JobRow, TenantRow, UsageRow, WebhookDeliveryRow
from workers.upkeep import BLOB_NAMES, Upkeep
from workers.webhooks.messages import DeliveryStatus

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from sqlalchemy.orm import Session

    from benchmarks.faults.callers import Accepted, Ledger
    from tests.receivers import Received
    from workers.database import Database
    from workers.settings import Settings
    from workers.storage import BlobStore

FINAL_EVENTS = (EventType.COMPLETED, EventType.FAILED, EventType.CANCELLED)
FOLDERS = ("inputs", "outputs", "checkpoints")
LONG_AGO_S = 7 * 86_400.0  # older than anything that a sweep spares for its youth
BROKEN_ANSWERS = (500, 502, 504)


@dataclass(frozen=True, slots=True)
class Telling:
    """One webhook as its receiver got it."""

    webhook_id: str
    path: str
    video_id: str
    kind: str


def check_installation(
    database: Database,
    settings: Settings,
    ledger: Ledger,
    *,
    received: Collection[Received] = (),
    strangers: Collection[int] = (),
) -> list[str]:
    """Sweep the installation, which must be at rest, and list everything that should not be so; empty is good."""
    storage = open_storage(settings)
    with database.read() as transaction:
        session = transaction.session
        broken = [
            *check_ends(session, ledger.accepted, ledger.deleted),
            *check_histories(session),
            *check_results(session, storage),
            *check_quotas(session),
            *check_webhooks(session, tellings(received)),
        ]
    broken += [f"process {pid} was left behind" for pid in strangers]
    broken += [f"{ledger.statuses[code]} answers were {code}" for code in BROKEN_ANSWERS if ledger.statuses[code]]
    return broken + check_leftovers(database, settings, storage)


def check_ends(session: Session, accepted: Mapping[str, Accepted], deleted: Collection[str]) -> Iterator[str]:
    """Every accepted video is there, once, and has ended as it should."""
    rows = {row.id: row for row in session.scalars(select(JobRow).where(JobRow.deleted_at.is_(None)))}
    for video_id in rows.keys() - accepted.keys():
        yield f"{video_id} was made, and no caller knows of it: a request was accepted twice"
    for video in accepted.values():
        row = rows.get(video.video_id)
        if video.video_id in deleted:
            if row is not None:
                yield f"{video.video_id} was deleted and is still there"
        elif row is None:
            yield f"{video.video_id} is lost"
        elif row.status not in video.may_end:
            ends = " or ".join(sorted(video.may_end))
            yield f"{video.video_id} is {row.status} ({row.failure_code}) instead of {ends}"
        elif row.status == JobStatus.FAILED and row.failure_code not in video.codes:
            yield f"{video.video_id} failed as {row.failure_code} instead of {' or '.join(video.codes)}"
        elif row.lease_owner is not None or row.lease_until is not None:
            yield f"{video.video_id} has ended, and somebody holds it"


def check_histories(session: Session) -> Iterator[str]:
    """Events of every job are numbered without a gap, end once, and progress never goes back."""
    events: dict[str, list[EventRow]] = defaultdict(list)
    for event in session.scalars(select(EventRow).order_by(EventRow.job_id, EventRow.seq)):
        events[event.job_id].append(event)
    for row in session.scalars(select(JobRow).where(JobRow.purged_at.is_(None))):
        history = events.pop(row.id, [])
        if [event.seq for event in history] != list(range(1, row.seq + 1)):
            yield f"{row.id} has the events {[event.seq for event in history]}, and its seq is {row.seq}"
        ends = [number for number, event in enumerate(history) if event.type in FINAL_EVENTS]
        has_ended = JobStatus(row.status).is_terminal
        if ends != ([len(history) - 1] if has_ended else []):
            yield f"{row.id} is {row.status}, and of its {len(history)} events those at {ends} are final"
        progress = [event.data["progress"] for event in history]
        if progress != sorted(progress):
            yield f"{row.id}: progress went back: {progress}"
    for job_id in events:
        yield f"there are events of {job_id}, and no such job"


def check_results(session: Session, storage: BlobStore) -> Iterator[str]:
    """A completed video, and no other, has its result, whole to the last byte."""
    for row in session.scalars(select(JobRow).where(JobRow.purged_at.is_(None))):
        if (row.output is not None) != (row.status == JobStatus.COMPLETED):
            yield f"{row.id} is {row.status}, and its output is {row.output}"
        if row.output is None:
            continue
        try:
            content = storage.get_bytes(row.output["key"])
        except BlobNotFound:
            yield f"the result of {row.id} is not stored"
            continue
        if hashlib.sha256(content).hexdigest() != row.output["sha256"] or len(content) != row.output["bytes"]:
            yield f"the result of {row.id} is not what its row says"


def check_quotas(session: Session) -> Iterator[str]:
    """Nothing that is counted is negative, and the attempts of all jobs were counted at least once each."""
    for usage in session.scalars(select(UsageRow)):
        if usage.compute_seconds < 0 or usage.attempts < 0:
            yield f"{usage.tenant} has used {usage.compute_seconds} s in {usage.attempts} attempts"
    for tenant in session.scalars(select(TenantRow)):
        if not tenant.turn_end >= tenant.turn_start >= 0:
            yield f"the turn of {tenant.id} goes from {tenant.turn_start} to {tenant.turn_end}"
    for row in session.scalars(select(JobRow).where(JobRow.attempt > JobRow.max_attempts)):
        yield f"{row.id} was tried {row.attempt} times of {row.max_attempts}"
    for row in session.scalars(select(JobRow).where(or_(JobRow.attempt < 0, JobRow.fence < JobRow.attempt))):
        yield f"{row.id} counts attempt {row.attempt}, fence {row.fence}"


def check_webhooks(session: Session, told: Sequence[Telling]) -> Iterator[str]:
    """Every change was delivered to its endpoint, under one id however often it came, and every id is one change."""
    waiting = select(func.count()).where(WebhookDeliveryRow.status == DeliveryStatus.PENDING)
    if left := session.scalar(waiting):
        yield f"{left} webhooks were not delivered"
    rows = session.scalars(select(WebhookDeliveryRow).where(WebhookDeliveryRow.job_id.is_not(None))).all()
    owed = Counter((row.endpoint_id, row.job_id, row.type) for row in rows)
    yield from (f"{what} is owed {number} times" for what, number in owed.items() if number > 1)
    ids: dict[Telling, set[str]] = defaultdict(set)
    for telling in told:
        ids[replace(telling, webhook_id="")].add(telling.webhook_id)
    yield from (f"{what.kind} of {what.video_id} came under {len(of)} ids" for what, of in ids.items() if len(of) > 1)
    used = Counter(webhook_id for names in ids.values() for webhook_id in names)
    yield from (f"{webhook_id} told of {number} changes" for webhook_id, number in used.items() if number > 1)
    if told:
        delivered = [row for row in rows if row.status == DeliveryStatus.DELIVERED]
        yield from (f"nobody was told of {row.type} of {row.job_id}" for row in delivered if row.id not in used)


def tellings(received: Collection[Received]) -> list[Telling]:
    """The webhooks about videos that a receiver got."""
    found = []
    for request in received:
        body = json.loads(request.body)
        webhook_id = next(value for name, value in request.headers.items() if name.lower() == "webhook-id")
        if "id" in body["data"]:
            found.append(Telling(webhook_id, request.path, body["data"]["id"], body["type"]))
    return found


def check_leftovers(database: Database, settings: Settings, storage: BlobStore) -> list[str]:
    """Make everything old, sweep, and list blobs that no row names, blobs that rows miss, and unfinished files."""
    _age(settings)
    reconciler = Reconciler(
        settings.model_copy(update={"orphan_seconds": 0.001 if settings.storage == "s3" else 3600.0}),
        Upkeep(database, retention_s=settings.retention_seconds),
        Roster(database),
        storage,
        _NoBroker(),  # type: ignore[arg-type]
    )
    if settings.storage == "s3":
        time.sleep(1.1)  # its times are whole seconds
    reconciler.purge()
    reconciler.sweep()
    stored = {blob.key for folder in FOLDERS for blob in storage.list_prefix(f"{folder}/")}
    with database.read() as transaction:
        named = _named_blobs(transaction.session)
    broken = [f"the blob {key} is not needed and was not swept" for key in sorted(stored - named)]
    broken += [f"the blob {key} is needed and not there" for key in sorted(named - stored)]
    temp = [path for path in settings.temp_dir.rglob("*") if path.is_file()] if settings.temp_dir.is_dir() else []
    drafts = list(settings.blob_dir.rglob(f"{DRAFT_PREFIX}*")) if settings.blob_dir.is_dir() else []
    return broken + [f"the file {path.name} was left behind" for path in [*temp, *drafts]]


def _named_blobs(session: Session) -> set[str]:
    """Keys of all blobs that a row names."""
    named = set(session.scalars(select(CheckpointRow.key)))
    named |= {key for key in session.scalars(select(FileRow.key).where(FileRow.purged_at.is_(None))) if key}
    for row in session.scalars(select(JobRow).where(JobRow.purged_at.is_(None))):
        named |= {row.image_key, row.audio_key}
        output = row.output or {}
        named |= {output[name] for name in BLOB_NAMES if output.get(name)}
    return named


def _age(settings: Settings) -> None:
    """Give every file of local storage and every temporary one an age at which sweeps take it."""
    then = time.time() - LONG_AGO_S
    for folder in (settings.blob_dir, settings.temp_dir):
        for path in folder.rglob("*") if folder.is_dir() else ():
            os.utime(path, (then, then))


class _NoBroker:
    """A broker that is not asked: purging and sweeping send no tickets."""
