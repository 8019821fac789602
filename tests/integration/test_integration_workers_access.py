"""Tenants and operators, with real worker processes: whose job is next, and a worker that is to take none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from worker_installation import Installation, wait_for

from workers.access import OPERATOR
from workers.jobs import JobStatus
from workers.roster import WorkerState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from workers.jobs import Job

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """An empty installation; its processes are ended afterwards."""
    made = Installation(tmp_path, quota_creates_per_minute="0", quota_queued="0")
    yield made
    made.close()


def _submit(installation: Installation, tenant: str, script: str = "step_ms=5") -> Job:
    template = installation.submit(script)
    installation.store.delete(template.id, tenant=template.tenant)
    return installation.store.create(template.request, tenant=tenant, metadata={})


def test_flood_does_not_hold_up_another_tenant(installation: Installation) -> None:
    """While one tenant's many jobs wait, another's one is begun within two job times."""
    flood = [_submit(installation, "flood") for _ in range(30)]
    installation.start_worker()
    wait_for(lambda: installation.store.get(flood[1].id, tenant="flood").status.is_terminal, "a second video")

    single = _submit(installation, "single")
    wait_for(lambda: installation.store.get(single.id, tenant="single").status.is_terminal, "the other's video")

    done = installation.store.get(single.id, tenant="single")
    between = [
        job
        for job in (installation.store.get(job.id, tenant="flood") for job in flood)
        if job.started_at is not None and done.created_at < job.started_at < (done.started_at or 0)
    ]
    assert done.status is JobStatus.COMPLETED
    assert len(between) <= 1  # and the one that ran when it came
    assert installation.store.usage(tenant="single").compute_seconds_today > 0


def test_drained_worker_finishes_its_job_and_takes_no_more(installation: Installation) -> None:
    """An operator's request lets the running job end, keeps the worker there, and can be taken back."""
    installation.start_worker()
    running = installation.submit("step_ms=100")
    wait_for(lambda: installation.get(running).status is JobStatus.IN_PROGRESS, "a running job")
    (worker,) = installation.roster.workers(within_s=60)

    installation.roster.ask_to_drain(worker.id, is_wanted=True, actor=OPERATOR)
    assert installation.wait_until_final(running).status is JobStatus.COMPLETED
    wait_for(lambda: installation.worker_state(worker.pid) is WorkerState.DRAINING, "a drained worker")
    waiting = installation.submit("step_ms=1")
    beats = installation.roster.workers(within_s=60)[0].beat_at
    wait_for(lambda: installation.roster.workers(within_s=60)[0].beat_at > beats + 0.6, "more beats")

    assert installation.get(waiting).status is JobStatus.QUEUED
    installation.roster.ask_to_drain(worker.id, is_wanted=False, actor=OPERATOR)
    assert installation.wait_until_final(waiting).status is JobStatus.COMPLETED
