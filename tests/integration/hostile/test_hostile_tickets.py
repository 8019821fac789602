"""Hostile input 23: messages on the broker that nobody of ours has sent."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from kombu import Connection
from kombu.entity import Queue
from worker_installation import Installation

from workers.broker import make_app
from workers.contract import QUEUE, TASK
from workers.jobs import JobStatus

if TYPE_CHECKING:
    from pathlib import Path


class Evil:
    """What a pickle may do when it is read."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """Make a file instead of an object."""
        return os.mkdir, (str(self._trace),)


@pytest.mark.timeout(150)
def test_23_forged_tickets(tmp_path: Path) -> None:
    """Pickles, unknown tasks and forged ids on the broker do nothing; the worker goes on with real jobs."""
    installation = Installation(tmp_path)
    app = make_app(installation.settings)
    queue = Queue(QUEUE)
    trace = tmp_path / "pickle-was-read"
    forged = {"lang": "py", "id": "x", "root_id": "x", "parent_id": None, "argsrepr": "", "kwargsrepr": ""}
    way = {"routing_key": QUEUE, "declare": [queue]}
    try:
        installation.start_worker()
        with Connection(app.conf.broker_url, transport_options=app.conf.broker_transport_options) as connection:
            producer = connection.Producer()
            producer.publish(Evil(trace), serializer="pickle", **way)
            producer.publish([["true"], {}, {}], serializer="json", headers={**forged, "task": "os.system"}, **way)
            producer.publish([["video_x"], {}, {}], serializer="json", headers={**forged, "task": TASK}, **way)
        job = installation.submit("step_ms=1")

        assert installation.wait_until_final(job).status is JobStatus.COMPLETED
    finally:
        installation.close()
    assert not trace.exists()
