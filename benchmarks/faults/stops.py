"""Cancels at every stage: how soon a video is `cancelled`, which means that its runner is free, and is it reused."""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.faults.callers import CANCELLED, COMPLETED, Caller, Ledger, send_inputs
from benchmarks.faults.fleet import Fleet
from benchmarks.faults.invariants import check_installation
from benchmarks.load.wire import percentile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.faults.callers import Inputs

STEP_S = 0.2
BOUND_S = STEP_S + 0.5
GRACE_S = 3.0  # as `fleet.QUICK` sets it
STAGES = ("queued", "localization", "keyframes", "interpolation")
WORKER = "worker-0"
USUAL = {"cancel_poll_seconds": "0.2"}  # the default, which decides how long a cancel takes
PATIENCE_S = 60.0


def stop_everywhere(*, rounds: int, say: Callable[[str], None]) -> Mapping[str, object]:
    """Cancel that many videos, stage by stage, then one whose step hangs; answers the figures."""
    broken: list[str] = []
    ledger = Ledger()
    took_s: dict[str, list[float]] = {stage: [] for stage in STAGES}
    with tempfile.TemporaryDirectory(prefix="keyvid-stops-") as folder, Fleet(Path(folder), settings=USUAL) as fleet:
        caller = Caller(fleet.url, ledger)
        inputs = send_inputs(caller)
        first = fleet.runner(WORKER)
        for number, stage in zip(range(rounds), itertools.cycle(STAGES), strict=False):
            seconds = _cancel_in(stage, caller, inputs, number)
            if seconds is not None:
                took_s[stage].append(seconds)
            if number % 10 == 0:
                say(f"{number} of {rounds} cancelled")
        if fleet.runner(WORKER) != first:
            broken.append("the runner was not reused")
        hang_s = _cancel_hung(caller, inputs)
        if hang_s < GRACE_S or fleet.runner(WORKER) == first:
            broken.append(f"a hung step ended after {hang_s:.1f} s, and its runner lives on")
        after = caller.create("step_ms=1", inputs=inputs, key="after")
        ledger.accept(after, COMPLETED)
        caller.wait_until(after)
        broken += check_installation(fleet.database, fleet.settings, ledger, strangers=fleet.strangers())
        caller.close()
    running = sorted(itertools.chain.from_iterable(took_s[stage] for stage in STAGES[1:]))
    p95_s = percentile(running, 95)
    return {
        "cancelled": sum(map(len, took_s.values())),
        "step, s": STEP_S,
        "median by stage, s": {stage: round(statistics.median(took), 3) for stage, took in took_s.items() if took},
        "running, p95 s": round(p95_s, 3),
        "running, slowest s": round(running[-1], 3),
        "p95 is within a step and 0.5 s": p95_s <= BOUND_S,
        "hung step, s": round(hang_s, 2),
        "broken": broken,
    }


def _cancel_in(stage: str, caller: Caller, inputs: Inputs, number: int) -> float | None:
    """Seconds from the cancel of a video in a stage to its end; None where it had left the stage."""
    script = f"step_ms={int(STEP_S * 1000)} steps=8"
    blocker = None
    if stage == "queued":
        blocker = _create(script, caller, inputs, f"blocker-{number}")
        caller.wait_until(blocker, "in_progress")
    video_id = _create(script, caller, inputs, f"stop-{number}")
    deadline = time.monotonic() + PATIENCE_S
    while (video := caller.get(video_id))["stage"] != stage:
        if video["status"] == COMPLETED or time.monotonic() > deadline:
            return None
        time.sleep(0.02)
    time.sleep(0.03 * (number % 7))  # anywhere within a step
    began = time.monotonic()
    caller.ask("POST", f"/v1/videos/{video_id}/cancel")
    while caller.get(video_id)["status"] not in (CANCELLED, COMPLETED):
        time.sleep(0.01)
    seconds = time.monotonic() - began
    if blocker is not None:
        caller.ask("POST", f"/v1/videos/{blocker}/cancel")
        caller.wait_until(blocker)
    return seconds


def _cancel_hung(caller: Caller, inputs: Inputs) -> float:
    """Seconds from the cancel of a video whose step never ends to its end."""
    video_id = _create("hang step_ms=1", caller, inputs, "hang")
    caller.wait_until(video_id, "in_progress")
    time.sleep(1)  # well inside the step that hangs
    began = time.monotonic()
    caller.ask("POST", f"/v1/videos/{video_id}/cancel")
    caller.wait_until(video_id)
    return time.monotonic() - began


def _create(script: str, caller: Caller, inputs: Inputs, key: str) -> str:
    video_id = caller.create(script, inputs=inputs, key=key)
    caller.ledger.accept(video_id, CANCELLED, COMPLETED)
    return video_id
