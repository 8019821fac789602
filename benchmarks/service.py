"""Time and memory of the whole service on one machine, measured over HTTP with keyvid-mini.

Rows: start to ready, a first and warm jobs, submit to first step, cancel of a running job, peak memory.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil

from examples.demo import post_video, running_service

if TYPE_CHECKING:
    import subprocess

WARM_JOBS = 4
CANCELS = 5
POLL_S = 0.02


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
        elif not {"worker", "reconciler"} & set(command):
            peaks["runner"] = max(peaks["runner"], peak)
    return peaks


def job_seconds(client: httpx.Client) -> tuple[float, float]:
    """Submit one job; returns seconds to its first step and seconds to completion."""
    submitted = time.monotonic()
    video = post_video(client, "hammer")
    wait_for(client, video["id"], "in_progress")
    started = time.monotonic()
    done = wait_for(client, video["id"])
    assert done["status"] == "completed", done["error"]
    return started - submitted, time.monotonic() - submitted


def cancel_seconds(client: httpx.Client) -> float:
    """Cancel a running job; returns seconds until it is `cancelled`, which implies that the runner is idle."""
    video = post_video(client, "hammer")
    wait_for(client, video["id"], "in_progress")
    time.sleep(0.3)  # well inside a stage
    asked = time.monotonic()
    client.post(f"/v1/videos/{video['id']}/cancel").raise_for_status()
    assert wait_for(client, video["id"], "cancelled")["status"] == "cancelled"
    return time.monotonic() - asked


def measure() -> dict[str, float]:
    """Run the service and measure every row, in seconds and megabytes."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="keyvid-bench-") as folder, running_service(Path(folder)) as service:
        ready_s = time.monotonic() - began
        with httpx.Client(base_url=service.url, timeout=30) as client:
            first = job_seconds(client)
            warm = [job_seconds(client) for _ in range(WARM_JOBS)]
            cancels = [cancel_seconds(client) for _ in range(CANCELS)]
        peaks = peak_memory_mb(service.process)
    return {
        "start to ready, s": ready_s,
        "first job, s": first[1],
        "warm job, median s": statistics.median(total for _, total in warm),
        "warm job, slowest s": max(total for _, total in warm),
        "submit to first step, median s": statistics.median(start for start, _ in warm),
        "cancel of a running job, median s": statistics.median(cancels),
        "cancel of a running job, slowest s": max(cancels),
        "API peak memory, MB": peaks["api"],
        "runner peak memory, MB": peaks["runner"],
    }
