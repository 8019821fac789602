"""A worker that stands still for longer than its lease and wakes when another has its job: it may write nothing."""

from __future__ import annotations

import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from benchmarks.faults.callers import COMPLETED, Caller, Ledger, send_inputs
from benchmarks.faults.fleet import Fleet, wait_for
from benchmarks.faults.invariants import check_installation
from tests.freezing import freeze
from workers.tables import JobRow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HEARD_S = 30.0  # how long a worker may take to find out after it wakes
TAKEN_S = 120.0
REFUSED = "lease_lost"


def wake_late(*, seconds: float, say: Callable[[str], None]) -> Mapping[str, object]:
    """Freeze a worker and its runner within a job for that long; answers the figures."""
    broken: list[str] = []
    ledger = Ledger()
    with (
        tempfile.TemporaryDirectory(prefix="keyvid-frozen-") as folder,
        Fleet(Path(folder), workers=2, settings={"log_level": "info"}) as fleet,
    ):
        caller = Caller(fleet.url, ledger)
        inputs = send_inputs(caller)
        video_id = caller.create("step_ms=400", inputs=inputs, key="frozen")
        ledger.accept(video_id, COMPLETED)
        caller.wait_until(video_id, "in_progress")
        frozen = _holder(fleet, video_id)
        pid, runner = fleet.pid(frozen), fleet.runner(frozen)
        if pid is None or runner is None:
            return {"broken": ["the worker that holds the job has no runner"]}
        began = time.monotonic()
        freeze(psutil.Process(pid), Path(folder, "keyvid.db"))
        runner.suspend()
        say(f"{frozen} stands still")
        done = caller.wait_until(video_id, within_s=TAKEN_S)
        taken_s = time.monotonic() - began
        time.sleep(max(0.0, seconds - taken_s))
        stood_s = time.monotonic() - began
        runner.resume()
        fleet.signal(frozen, signal.SIGCONT)
        say(f"it wakes after {stood_s:.0f} s; another one has completed the job after {taken_s:.0f} s")
        log = fleet.folder / f"{frozen}.log"
        wait_for(lambda: REFUSED in log.read_text(), what="refusal of the late worker", within_s=HEARD_S)
        fleet.wait_until_ready()
        if caller.get(video_id) != done:
            broken.append("the video has changed after it was completed")
        broken += check_installation(fleet.database, fleet.settings, ledger, strangers=fleet.strangers())
        caller.close()
    return {"frozen for s": round(stood_s, 1), "completed by another after s": round(taken_s, 1), "broken": broken}


def _holder(fleet: Fleet, video_id: str) -> str:
    """The member that holds a job."""
    with fleet.database.read() as transaction:
        owner = transaction.session.get_one(JobRow, video_id).lease_owner or ""
    return next(name for name in fleet.members if name.startswith("worker") and f"-{fleet.pid(name)}-" in owner)
