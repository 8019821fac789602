"""Time and memory of the whole service on one machine, measured over HTTP with keyvid-mini.

Rows: start to ready, from submission to the model's first step and to its first denoising step, from the last step
to completion, a first and warm jobs, jobs with previews, sounds heard meanwhile, cancel of a running job, peak memory;
embedded (SQLite, files as broker), then on a PostgreSQL and a Redis of our own.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil

from examples.demo import EXAMPLES, post_video, running_service
from tests.servers import make_postgres, make_redis, postgres_folder, postgres_url_of, redis_binary, redis_url_of

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping

WARM_JOBS = 10
CANCELS = 5
POLL_S = 0.005
LOOK_S = 0.1  # rarely, where a job is timed


def wait_for(client: httpx.Client, video_id: str, *states: str, pause_s: float = POLL_S) -> dict[str, Any]:
    """Poll until the video is in one of the states (or in a terminal one); returns the Video object."""
    while True:
        video: dict[str, Any] = client.get(f"/v1/videos/{video_id}").raise_for_status().json()
        if video["status"] in {*states, "completed", "failed", "cancelled"}:
            return video
        time.sleep(pause_s)


def peak_memory_mb(service: subprocess.Popen[str]) -> dict[str, float]:
    """High-water mark of the resident memory of the API process and of the largest process below the worker, in MB."""
    peaks = {"api": 0.0, "runner": 0.0}
    for process in psutil.Process(service.pid).children(recursive=True):
        command = process.cmdline()
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak = next(float(line.split()[1]) / 1000 for line in status.splitlines() if line.startswith("VmHWM"))
        if "api" in command:
            peaks["api"] = peak
        elif not {"worker", "listener", "reconciler"} & set(command):
            peaks["runner"] = max(peaks["runner"], peak)
    return peaks


@dataclass(frozen=True, slots=True)
class JobTimes:
    """Seconds of one job, by its own history, so that nobody who looks on takes the processors from it.

    Args:
        upload: from the request until it is accepted: the upload and its check.
        first_step: from the request until the runner begins its first step: all of this is the service.
        denoising: from the request until its first denoising step; localization and encoders besides.
        finish: from its last step until it is completed: drawing, FFmpeg, check, storage.
        total: from the request until it is completed.
    """

    upload: float
    first_step: float
    denoising: float
    finish: float
    total: float


def time_job(client: httpx.Client, **fields: str) -> JobTimes:
    """Make one video, with more fields if need be, and read its events when it is completed."""
    submitted = time.time()
    video = post_video(client, "hammer", **fields)
    accepted = time.time()
    video = wait_for(client, video["id"], pause_s=LOOK_S)
    assert video["status"] == "completed", video["error"]
    history = client.get(f"/v1/videos/{video['id']}/events", headers={"Last-Event-ID": "0"}).raise_for_status().text
    events = [json.loads(line.removeprefix("data: ")) for line in history.splitlines() if line.startswith("data: ")]
    began = {event["stage"]: event["at"] for event in reversed(events) if event.get("step") == 0}
    completed = next(event["at"] for event in events if event.get("type") == "video.completed")
    return JobTimes(
        upload=accepted - submitted,
        first_step=began["localization"] - submitted,
        denoising=began["keyframes"] - submitted,
        finish=completed - began["mux"],
        total=completed - submitted,
    )


def cancel_seconds(client: httpx.Client) -> float:
    """Cancel a running job; returns seconds until it is `cancelled`, which implies that the runner is idle."""
    video = post_video(client, "hammer", num_inference_steps="40")  # it would be completed before the request otherwise
    wait_for(client, video["id"], "in_progress")
    time.sleep(0.3)  # well inside a stage
    asked = time.monotonic()
    client.post(f"/v1/videos/{video['id']}/cancel").raise_for_status()
    assert wait_for(client, video["id"], "cancelled")["status"] == "cancelled"
    return time.monotonic() - asked


def hearing_seconds(client: httpx.Client) -> list[float]:
    """Ask for localizations of a sound as long as a video of many steps is made; returns the seconds of each."""
    sound = (EXAMPLES / "hammer.wav").read_bytes()
    video = post_video(client, "hammer", num_inference_steps="40")
    wait_for(client, video["id"], "in_progress")
    seconds = []
    while client.get(f"/v1/videos/{video['id']}").raise_for_status().json()["status"] == "in_progress":
        asked = time.monotonic()
        client.post("/v1/localizations", files={"audio": ("hammer.wav", sound)}).raise_for_status()
        seconds.append(time.monotonic() - asked)
        time.sleep(1)
    return seconds


def measure() -> dict[str, float]:
    """Run the service on each backend and measure every row, in seconds and megabytes."""
    figures = measure_service("embedded", {})
    if redis_binary() is None or postgres_folder() is None:
        sys.stderr.write("PostgreSQL or Redis is not installed: that backend is not measured\n")
        return figures
    with running_servers() as settings:
        return {**figures, **measure_service("PostgreSQL + Redis", settings)}


def measure_service(backend: str, settings: Mapping[str, str]) -> dict[str, float]:
    """Measure one installation."""
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="keyvid-bench-") as folder,
        running_service(Path(folder), settings) as service,
    ):
        ready_s = time.monotonic() - began
        with httpx.Client(base_url=service.url, timeout=30) as client:
            first = time_job(client)
            warm = [time_job(client) for _ in range(WARM_JOBS)]
            previewed = [time_job(client, preview="true") for _ in range(WARM_JOBS)]
            heard = hearing_seconds(client)
            cancels = [cancel_seconds(client) for _ in range(CANCELS)]
        peaks = peak_memory_mb(service.process)
    rows = {
        "start to ready, s": ready_s,
        "submitted to the model's first step, median s": statistics.median(job.first_step for job in warm),
        "submitted to the first denoising step, median s": statistics.median(job.denoising for job in warm),
        "last step to completed, median s": statistics.median(job.finish for job in warm),
        "upload and check, median s": statistics.median(job.upload for job in warm),
        "first job, s": first.total,
        "warm job, median s": statistics.median(job.total for job in warm),
        "warm job, slowest s": max(job.total for job in warm),
        "warm job with previews, median s": statistics.median(job.total for job in previewed),
        "sound heard while a video is made, median s": statistics.median(heard),
        "sound heard while a video is made, slowest s": max(heard),
        "cancel of a running job, median s": statistics.median(cancels),
        "cancel of a running job, slowest s": max(cancels),
        "API peak memory, MB": peaks["api"],
        "runner peak memory, MB": peaks["runner"],
    }
    return {f"{backend}: {name}": value for name, value in rows.items()}


@contextmanager
def running_servers() -> Iterator[dict[str, str]]:
    """Run a PostgreSQL that keeps what it is told and a Redis of our own; yields the settings that name them."""
    with tempfile.TemporaryDirectory(prefix="keyvid-bench-servers-") as folder:
        places = [Path(folder, name) for name in ("postgres", "redis")]
        for place in places:
            place.mkdir()
        postgres, redis = make_postgres(places[0], is_durable=True), make_redis(places[1])
        try:
            postgres.start()
            redis.start()
            yield {"KEYVID_DATABASE_URL": postgres_url_of(postgres), "KEYVID_BROKER_URL": redis_url_of(redis)}
        finally:
            redis.stop()
            postgres.stop()
