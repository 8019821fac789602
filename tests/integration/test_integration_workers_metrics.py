"""What a worker that runs alone tells Prometheus at a port of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from worker_installation import Installation, wait_for

from tests.servers import free_port
from workers.jobs import JobStage
from workers.tables import JobRow

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(200)


def told_once_there_is(port: int, attempt: str) -> dict[str, float]:
    """All samples of a worker, once it tells that an attempt has ended so; what counts it is written before."""
    samples: dict[str, float] = {}

    def has_ended() -> bool:
        for line in httpx.get(f"http://127.0.0.1:{port}/metrics").text.splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                samples[name] = float(value)
        return samples.get(f'keyvid_attempt_seconds_count{{outcome="{attempt}"}}') == 1

    wait_for(has_ended, f"an attempt that is {attempt}")
    return samples


def test_worker_tells_its_own_metrics(tmp_path: Path) -> None:
    """Attempts and retries of its jobs, the memory of its runner, and its own process."""
    port = free_port()
    installation = Installation(tmp_path, metrics_port=str(port))
    try:
        installation.start_worker()
        installation.wait_until_final(installation.submit("crash_once step_ms=1"))

        told = told_once_there_is(port, "completed")

        assert told['keyvid_retries_total{reason="worker_crashed"}'] == 1
        assert told['keyvid_runner_starts_total{outcome="ready"}'] == 2
        assert told["process_resident_memory_bytes"] > 0
    finally:
        installation.close()


def test_lease_that_a_running_job_loses_is_counted_once(tmp_path: Path) -> None:
    """Whichever write hears of it first, another worker's claim is one loss of this one."""
    port = free_port()
    installation = Installation(tmp_path, metrics_port=str(port))
    try:
        installation.start_worker()
        job = installation.submit("step_ms=50 steps=200")
        installation.wait_for_stage(job, JobStage.KEYFRAMES)

        with installation.database.write() as transaction:
            row = transaction.session.get_one(JobRow, job.id)
            row.lease_owner, row.fence, row.lease_until = "another", row.fence + 1, transaction.now + 600

        assert told_once_there_is(port, "lost")["keyvid_lease_losses_total"] == 1
    finally:
        installation.close()
