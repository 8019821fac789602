"""Time and memory of the whole service on one machine, measured over HTTP with keyvid-mini.

Rows: start to ready, from acceptance to the first step and from the last step to completion, a first and warm jobs,
jobs with previews, sounds heard meanwhile, cancel of a running job, peak memory; on the embedded broker, then on a
Redis of our own.
"""

from __future__ import annotations

import shutil
import socket
import statistics
import subprocess
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

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WARM_JOBS = 10
CANCELS = 5
POLL_S = 0.005


def wait_for(client: httpx.Client, video_id: str, *states: str) -> dict[str, Any]:
    """Poll until the video is in one of the states (or in a terminal one); returns the Video object."""
    while True:
        video: dict[str, Any] = client.get(f"/v1/videos/{video_id}").raise_for_status().json()
        if video["status"] in {*states, "completed", "failed", "cancelled"}:
            return video
        time.sleep(POLL_S)


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
    """Seconds of one job: until it is accepted, then to its first step; from its last step to its end; and in all."""

    upload: float
    first_step: float
    finish: float
    total: float


def time_job(client: httpx.Client, **fields: str) -> JobTimes:
    """Make one video, with more fields if need be, and watch its stages."""
    submitted = time.monotonic()
    video = post_video(client, "hammer", **fields)
    accepted = time.monotonic()
    first_step = last_step = 0.0
    while video["status"] in {"queued", "in_progress"}:
        video = client.get(f"/v1/videos/{video['id']}").raise_for_status().json()
        now = time.monotonic()
        if not first_step and video["stage"] not in {None, "queued"}:
            first_step = now
        if not last_step and video["stage"] in {"mux", "completed"}:
            last_step = now
        time.sleep(POLL_S)
    assert video["status"] == "completed", video["error"]
    done = time.monotonic()
    return JobTimes(accepted - submitted, first_step - accepted, done - (last_step or done), done - submitted)


def cancel_seconds(client: httpx.Client) -> float:
    """Cancel a running job; returns seconds until it is `cancelled`, which implies that the runner is idle."""
    video = post_video(client, "hammer")
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
    with tempfile.TemporaryDirectory(prefix="keyvid-bench-redis-") as folder, running_redis(Path(folder)) as url:
        if url is None:
            sys.stderr.write("redis-server is not installed: the Redis backend is not measured\n")
            return figures
        return {**figures, **measure_service("redis", {"KEYVID_BROKER_URL": url})}


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
        "accepted to first step, median s": statistics.median(job.first_step for job in warm),
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
def running_redis(folder: Path) -> Iterator[str | None]:
    """Run a Redis server of our own on a free port: yields its URL, or None where there is no redis-server."""
    program = shutil.which("redis-server")
    if program is None:
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while not _answers(port):
            time.sleep(POLL_S)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
