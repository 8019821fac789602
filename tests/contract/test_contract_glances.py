"""What every job database must tell callers who only ask whether anything has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contract_requests import OUTPUT, video_request

from workers.glances import Asked, Glance, Glances
from workers.jobs import JobStatus
from workers.tables import JobRow

if TYPE_CHECKING:
    from workers.database import Database
    from workers.job_store import JobStore
    from workers.jobs import Job

MODEL = "keyvid-mini"


def _create(store: JobStore, tenant: str) -> Job:
    return store.create(video_request(), tenant=tenant, metadata={})


def test_glance_tells_what_get_tells(database: Database, store: JobStore) -> None:
    """It follows every change, and keeps to the tenant, also where several look at once."""
    glances = Glances(database)
    job, other = _create(store, "a"), _create(store, "b")
    mine, others = Asked(job.id, "a"), Asked(other.id, "b")
    assert glances.at([mine]) == {mine: Glance(job.id, JobStatus.QUEUED, 1, MODEL)}
    store.claim("worker-a", model=MODEL, lease_s=30.0)
    foreign = [Asked(job.id, "b"), Asked(other.id, "a"), Asked("video_none", "a")]

    seen = glances.at([mine, others, *foreign])

    assert seen.keys() == {mine, others}
    for asked, glance in seen.items():
        full = store.get(asked.job_id, tenant=asked.tenant)
        assert (glance.id, glance.status, glance.seq) == (full.id, full.status, full.seq)
    store.delete(job.id, tenant="a")
    assert glances.at([mine, others]).keys() == {others}
    assert glances.at([]) == {}


def test_glance_knows_what_has_expired(database: Database, store: JobStore) -> None:
    """From its last moment on, a video is told to be over."""
    job = _create(store, "a")
    claimed = store.claim("worker-a", model=MODEL, lease_s=30.0)
    assert claimed is not None
    store.complete(claimed[1], OUTPUT, usage={}, engine={})
    asked = Asked(job.id, "a")
    assert not Glances(database).at([asked])[asked].is_expired

    with database.write() as transaction:
        transaction.session.get_one(JobRow, job.id).expires_at = transaction.now - 0.001

    assert Glances(database).at([asked])[asked].is_expired
