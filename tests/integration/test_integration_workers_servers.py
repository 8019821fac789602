"""Real worker processes on PostgreSQL, Redis and S3: the same code as embedded, with other settings."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest
from worker_installation import Installation, assert_gapless, wait_for

from workers.jobs import JobStage, JobStatus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers import S3Server

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def installation(postgres_url: str, redis_url: str, s3_server: S3Server, tmp_path: Path) -> Iterator[Installation]:
    """An installation on real servers; its processes are ended afterwards."""
    bucket = s3_server.new_bucket(f"workers-{secrets.token_hex(8)}")
    made = Installation(tmp_path, database_url=postgres_url, broker_url=redis_url, **bucket)
    yield made
    made.close()


def test_killed_worker_loses_nothing_on_servers(installation: Installation) -> None:
    """After kill -9 of a worker another one resumes the job from its checkpoint, and there is one result."""
    installation.start("reconciler")
    first = installation.start_worker()
    job = installation.submit("step_ms=150")
    installation.wait_for_stage(job, JobStage.INTERPOLATION)

    first.kill()
    first.wait()
    installation.start_worker()

    done = installation.wait_until_final(job)
    assert (done.status, done.attempt) == (JobStatus.COMPLETED, 2)
    assert installation.outputs(job) == [f"outputs/{job.id}/2/video.mp4"]
    assert "begin seed=1 resumed=keyframes" in installation.steps()
    assert_gapless(installation, job)


def test_two_workers_share_the_queue(installation: Installation) -> None:
    """Several workers finish all jobs, each of them once."""
    workers = [installation.start_worker() for _ in range(2)]
    jobs = [installation.submit("step_ms=30", seed=seed) for seed in range(6)]

    finished = [installation.wait_until_final(job) for job in jobs]

    assert all((job.status, job.attempt) == (JobStatus.COMPLETED, 1) for job in finished)
    assert sum(step.startswith("begin") for step in installation.steps()) == len(jobs)
    pids = {worker.pid for worker in workers}
    wait_for(lambda: pids <= {worker.pid for worker in installation.roster.workers(within_s=60)}, "both workers")
