"""What a worker that runs alone tells Prometheus at a port of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from worker_installation import Installation, wait_for

from tests.servers import free_port

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(200)


def test_worker_tells_its_own_metrics(tmp_path: Path) -> None:
    """Attempts and retries of its jobs, the memory of its runner, and its own process."""
    port = free_port()
    installation = Installation(tmp_path, metrics_port=str(port))
    try:
        installation.start_worker()
        installation.wait_until_final(installation.submit("crash_once step_ms=1"))
        wanted = (
            'keyvid_attempt_seconds_count{outcome="completed"} 1.0',
            'keyvid_retries_total{reason="worker_crashed"} 1.0',
            'keyvid_runner_starts_total{outcome="ready"} 2.0',
            "process_resident_memory_bytes",
        )

        def missing() -> list[str]:
            told = httpx.get(f"http://127.0.0.1:{port}/metrics").text
            return [sample for sample in wanted if sample not in told]

        wait_for(lambda: not missing(), "counted attempts")
        assert missing() == []
    finally:
        installation.close()
