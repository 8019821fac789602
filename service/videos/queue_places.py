"""The turns of waiting videos, worked out again every second and not for every caller who asks."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workers.jobs import JobStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.glances import Glance
    from workers.job_store import JobStore
    from workers.jobs import Job

FRESH_S = 1.0
MANY = 1000  # in a shorter queue all turns are worked out anew for whoever joins: that takes 2 ms or less
COST_SHARE = 20  # a long queue is worked out so rarely that it takes no more than a twentieth of the time


@dataclass(frozen=True, slots=True)
class Turns:
    """The turns of a model's waiting jobs, and until when they count (monotonic)."""

    places: Mapping[str, int]
    fresh_until: float
    closed_until: float  # until then a job that is not among them has no turn yet

    def tell_of(self, job_id: str) -> bool:
        """Whether they have an answer for a job."""
        return time.monotonic() < (self.fresh_until if job_id in self.places else self.closed_until)


NOTHING = Turns({}, 0.0, 0.0)


class QueuePlaces:
    """Turns by model. Called from many threads."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._known: dict[str, Turns] = {}

    def of_job(self, job: Job) -> int | None:
        """Which turn a job has; None when it does not wait, or has only just joined a long queue.

        Raises: StoreUnavailable.
        """
        return self._place(job.id, job.request.model) if job.status is JobStatus.QUEUED else None

    def of_glance(self, glance: Glance) -> int | None:
        """The same, for a job that was only glanced at. Raises: StoreUnavailable."""
        return self._place(glance.id, glance.model) if glance.status is JobStatus.QUEUED else None

    def _place(self, job_id: str, model: str) -> int | None:
        turns = self._known.get(model, NOTHING)
        if not turns.tell_of(job_id):
            with self._lock:
                turns = self._known.get(model, NOTHING)
                if not turns.tell_of(job_id):  # nobody worked them out meanwhile
                    turns = self._known[model] = self._work_out(model)
        return turns.places.get(job_id)

    def _work_out(self, model: str) -> Turns:
        began = time.monotonic()
        places = self._store.queue_places(model)
        now = time.monotonic()
        rest_s = COST_SHARE * (now - began)
        return Turns(places, now + max(FRESH_S, rest_s), now + rest_s if len(places) >= MANY else 0.0)
