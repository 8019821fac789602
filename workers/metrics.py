"""What every process counts and measures for Prometheus: all names, labels and buckets are here.

No label holds an id, a tenant, an address or a caller's text: each has a handful of values that the code names.

Processes of one machine that share the folder named in PROMETHEUS_MULTIPROC_DIR (`keyvid serve`, `keyvid api
--processes`) are told together by the API's /metrics, even what those that died had counted. Any other process tells
its own: the API at /metrics, the rest where `serve_metrics` listens.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

    from workers.settings import Settings

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client reads it once, when it is imported

_ANSWERS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_WORK_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640, 1280)
_WAITS_S = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200)

HTTP_SECONDS = Histogram(
    "keyvid_http_request_seconds",
    "Time until an answer begins, by route template; what follows (a download, an event stream) is not in it.",
    ("method", "route", "status"),
    buckets=_ANSWERS_S,
)
EVENT_STREAMS = Gauge("keyvid_event_streams", "Event streams that are open.", multiprocess_mode="livesum")
TICKETS = Counter("keyvid_tickets", "Tickets for the broker, by whether it took them.", ("outcome",))

WAIT_SECONDS = Histogram(
    "keyvid_job_wait_seconds", "Time from a job's acceptance to its first claim.", buckets=_WAITS_S
)
ATTEMPT_SECONDS = Histogram(
    "keyvid_attempt_seconds", "Time of an attempt at a job, by how it ended.", ("outcome",), buckets=_WORK_S
)
STAGE_SECONDS = Histogram("keyvid_stage_seconds", "Time of a stage that was done.", ("stage",), buckets=_WORK_S)
STEPS = Counter("keyvid_steps", "Steps that were done; those of the mux are frames.", ("stage",))
STOP_SECONDS = Histogram(
    "keyvid_job_stop_seconds",
    "Time from the request that a running job stop to its end, by what asked.",
    ("reason",),
    buckets=_ANSWERS_S,
)
RETRIES = Counter("keyvid_retries", "Attempts that ended so that the job is queued again, by why.", ("reason",))
LEASE_LOSSES = Counter("keyvid_lease_losses", "Leases that a worker lost while it ran the job.")
LEASES_EXPIRED = Counter("keyvid_leases_expired", "Leases whose worker went silent, ended by the reconciler.")
RUNNER_STARTS = Counter("keyvid_runner_starts", "Runners that were started, by how that ended.", ("outcome",))
RUNNER_MEMORY = Gauge("keyvid_runner_memory_bytes", "Resident memory of the runner.", multiprocess_mode="livesum")
DEVICE_MEMORY = Gauge(
    "keyvid_gpu_memory_bytes",
    "Memory of the runner's GPU: held by tensors, reserved by torch, most reserved in this job, and all there is.",
    ("kind",),
    multiprocess_mode="livesum",
)

HEARING_SECONDS = Histogram(
    "keyvid_hearing_seconds",
    "Time in the listener until it answered what it hears in a sound, or why not.",
    ("outcome",),
    buckets=_ANSWERS_S,
)

RECONCILE_SECONDS = Histogram("keyvid_reconcile_seconds", "Time of a round of the reconciler.", buckets=_ANSWERS_S)
PURGED = Counter("keyvid_purged", "Jobs and files whose blobs were removed.", ("kind",))

WEBHOOK_SECONDS = Histogram(
    "keyvid_webhook_try_seconds",
    "Time of a try to send a webhook, by its outcome.",
    ("outcome",),
    buckets=_ANSWERS_S,
)


def share_metrics(folder: Path) -> None:
    """Let the processes that this one starts count into one folder, emptied of what those of an earlier start left."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ[FOLDER_VARIABLE] = str(folder)


def forget_gauges() -> None:
    """Take the present values of processes that have died out of the shared folder, if there is one; counts stay."""
    for file in Path(os.environ.get(FOLDER_VARIABLE, os.devnull)).glob("gauge_live*.db"):
        pid = file.stem.rpartition("_")[2]
        if not Path("/proc", pid).exists():
            mark_process_dead(pid)  # type: ignore[no-untyped-call]


def render_metrics(accept: str | None, *collectors: Collector) -> tuple[bytes, str]:
    """All that is counted here, and what `collectors` add, in the form that a scraper accepts, and its content type."""
    registry = CollectorRegistry()
    if FOLDER_VARIABLE in os.environ:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        registry.register(REGISTRY)
    for collector in collectors:
        registry.register(collector)
    encode, content_type = choose_encoder(accept or "")
    return encode(registry), content_type


def serve_metrics(settings: Settings) -> None:
    """Answer scrapes of this process where the settings say; nothing listens unless a port is set.

    Raises: OSError when the port is taken.
    """
    if settings.metrics_port:
        start_http_server(settings.metrics_port, settings.metrics_host)
