"""The turns of waiting videos, worked out again every second and not for every caller who asks."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from workers.jobs import JobStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.glances import Glance
    from workers.job_store import JobStore
    from workers.jobs import Job

FRESH_S = 1.0
COST_SHARE = 20  # a long queue is worked out so rarely that it takes no more than a twentieth of the time


class QueuePlaces:
    """Turns by model. Called from many threads."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Mapping[str, int]]] = {}

    def of_job(self, job: Job) -> int | None:
        """Which turn a job has; None when it does not wait. Raises: StoreUnavailable."""
        return self._place(job.id, job.request.model) if job.status is JobStatus.QUEUED else None

    def of_glance(self, glance: Glance) -> int | None:
        """The same, for a job that was only glanced at. Raises: StoreUnavailable."""
        return self._place(glance.id, glance.model) if glance.status is JobStatus.QUEUED else None

    def _place(self, job_id: str, model: str) -> int | None:
        until, places = self._known.get(model, (0.0, {}))
        if time.monotonic() < until and job_id in places:
            return places[job_id]
        with self._lock:
            until, places = self._known.get(model, (0.0, {}))
            if time.monotonic() >= until or job_id not in places:  # nobody worked it out meanwhile
                began = time.monotonic()
                places = self._store.queue_places(model)
                now = time.monotonic()
                self._known[model] = (now + max(FRESH_S, COST_SHARE * (now - began)), places)
            return places.get(job_id)
