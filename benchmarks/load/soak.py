"""The soak: paced jobs for minutes or hours, and how the memory and the open files of every process grow meanwhile."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from benchmarks.faults.callers import COMPLETED, Caller, Ledger, send_inputs
from benchmarks.faults.fleet import Fleet, wait_for
from benchmarks.faults.invariants import check_installation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.faults.callers import Inputs

SAMPLE_S = 5.0
SAY_S = 60.0
WARM_SHARE = 0.25  # of the time: caches and pools fill; slopes are taken over the rest
WAITING = 4  # jobs in the queue at any time
JOBS_PER_S = 0.7  # 5,000 in two hours
MB = 1e6
PATIENT = {"lease_seconds": "30", "max_attempts": "8"}  # a pause of the machine is nobody's death
HOUR_S = 3600.0
END_S = 120.0


def soak(*, seconds: float, say: Callable[[str], None]) -> Mapping[str, object]:
    """Make videos for that long; answers how many, and slopes in MB and open files per hour by process."""
    ledger = Ledger()
    samples: dict[str, list[tuple[float, float, int]]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="keyvid-soak-") as folder, Fleet(Path(folder), settings=PATIENT) as fleet:
        caller = Caller(fleet.url, ledger)
        inputs = send_inputs(caller)
        began = sampled_at = said_at = time.monotonic()
        open_jobs: list[str] = []
        while (now := time.monotonic()) - began < seconds:
            open_jobs = _feed(caller, inputs, open_jobs, due=int((now - began) * JOBS_PER_S) + 1)
            if now - sampled_at >= SAMPLE_S:
                sampled_at = now
                _sample(fleet, samples, now - began)
            if now - said_at >= SAY_S:
                said_at = now
                memory = ", ".join(f"{name} {taken[-1][1]:.1f} MB" for name, taken in sorted(samples.items()))
                say(f"{len(ledger.accepted)} jobs; {memory}")
            time.sleep(0.2)
        for video_id in open_jobs:
            caller.wait_until(video_id, within_s=END_S)
        wait_for(lambda: not fleet.strangers(), what="end of strangers", within_s=END_S)
        deaths = sum(member.deaths for member in fleet.members.values())
        broken = check_installation(fleet.database, fleet.settings, ledger)
        caller.close()
    if deaths:
        broken.append(f"{deaths} processes died by themselves")
    return {
        "hours": round(seconds / HOUR_S, 3),
        "jobs": len(ledger.accepted),
        "memory, MB": {name: round(taken[-1][1], 1) for name, taken in sorted(samples.items())},
        "memory slope, MB/h": {name: round(_slope(taken, 1), 2) for name, taken in sorted(samples.items())},
        "open files slope, 1/h": {name: round(_slope(taken, 2), 2) for name, taken in sorted(samples.items())},
        "broken": broken,
    }


def _feed(caller: Caller, inputs: Inputs, open_jobs: list[str], *, due: int) -> list[str]:
    """Ask for one more video if it is time and few wait; answers those that have not ended."""
    number = len(caller.ledger.accepted)
    if len(open_jobs) < WAITING and number < due:
        video_id = caller.create("step_ms=5 steps=2", inputs=inputs, key=f"soak-{number}")
        caller.ledger.accept(video_id, COMPLETED)
        open_jobs = [*open_jobs, video_id]
    return [video_id for video_id in open_jobs if caller.get(video_id)["status"] != COMPLETED]


def _sample(fleet: Fleet, samples: dict[str, list[tuple[float, float, int]]], moment: float) -> None:
    """Note the private memory and the open files of every process."""
    processes = {name: psutil.Process(pid) for name in fleet.members if (pid := fleet.pid(name)) is not None}
    runner = fleet.runner("worker-0")
    if runner is not None:
        processes["runner"] = runner
    for name, process in processes.items():
        try:
            samples[name].append((moment, process.memory_full_info().uss / MB, process.num_fds()))
        except psutil.NoSuchProcess:
            continue


def _slope(taken: list[tuple[float, float, int]], column: int) -> float:
    """How fast a column grows per hour, by least squares, once everything is warm."""
    warm = [sample for sample in taken if sample[0] >= WARM_SHARE * taken[-1][0]]
    if len(warm) < 2:
        return 0.0
    hours = [sample[0] / HOUR_S for sample in warm]
    return statistics.linear_regression(hours, [float(sample[column]) for sample in warm]).slope
