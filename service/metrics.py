"""The installation as its database knows it, for whoever scrapes /metrics."""

from __future__ import annotations

import threading
import time
from importlib.metadata import version
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from workers.census import Census, take_census
from workers.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client import Metric

    from workers.database import Database
    from workers.jobs import JobStatus
    from workers.roster import WorkerState

FRESH_S = 5.0
COST_SHARE = 20  # a census of very many rows is taken so rarely that it takes no more than a twentieth of the time


class InstallationMetrics(Collector):
    """Counts what is in the database, again every few seconds and not for everyone who asks. Called from many threads.

    Every API process tells the same: read one of them, or the largest.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._census: Census | None = None
        self._until = 0.0

    def census(self) -> Census:
        """The numbers, at most a few seconds old. Raises: StoreUnavailable."""
        with self._lock:  # those who come meanwhile wait for the same answer
            began = time.monotonic()
            if self._census is None or began >= self._until:
                self._census = take_census(self._database)
                now = time.monotonic()
                self._until = now + max(FRESH_S, COST_SHARE * (now - began))
            return self._census

    def describe(self) -> Iterator[Metric]:
        """Nothing: a registry that is made for each scrape has no use for names ahead of time."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The numbers as metrics; without a database, only that there is none."""
        yield InfoMetricFamily("keyvid_build", "What is installed here.", {"version": version("keyvid")})
        try:
            census = self.census()
        except StoreUnavailable:
            yield GaugeMetricFamily("keyvid_database_up", "Whether the job database answers.", 0)
            return
        yield GaugeMetricFamily("keyvid_database_up", "Whether the job database answers.", 1)
        yield _by_label("keyvid_jobs", "Jobs in the database, by status.", "status", census.jobs)
        yield _by_label("keyvid_workers", "Workers heard of lately, by state.", "state", census.workers)
        for name, meaning, value in (
            ("queue_oldest_age_seconds", "How long the first claimable job has waited.", census.oldest_waiting_s),
            ("leases_overdue", "Running jobs whose worker is silent, not put back yet.", census.leases_overdue),
            ("webhook_deliveries_pending", "Webhooks that are owed.", census.deliveries_pending),
            ("webhook_overdue_seconds", "How long the first webhook is due.", census.deliveries_overdue_s),
            ("webhook_endpoints_disabled", "Endpoints given up as failing or gone.", census.endpoints_disabled),
            ("reconciler_lease_seconds", "For how long a reconciler still leads.", census.reconciler_until - census.at),
            ("api_keys_active", "API keys that open something.", census.keys_active),
            ("api_keys_expiring", "Those of them that end within a week.", census.keys_expiring),
        ):
            yield GaugeMetricFamily(f"keyvid_{name}", meaning, value)


def _by_label(
    name: str, meaning: str, label: str, counts: Mapping[JobStatus, int] | Mapping[WorkerState, int]
) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=[label])
    for value, count in counts.items():
        family.add_metric([value.value], count)
    return family
