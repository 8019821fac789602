"""Pollers with an ETag beside open event streams: how many polls a second two API processes answer."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import uvloop

from benchmarks.faults.callers import CANCELLED, Caller, Ledger, send_inputs
from benchmarks.faults.fleet import Fleet
from benchmarks.faults.invariants import check_installation
from benchmarks.load.wire import END_OF_HEAD, Wire, get, percentile, read_head

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

STREAMS = 200
POLLERS = 32
VIDEOS = 20
API_PROCESSES = "2"
TARGET_PER_S = 1500
OPENING_S = 120.0
NOT_MODIFIED, OK = 304, 200


@dataclass
class Tally:
    """What pollers and streams got."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    events: int = 0
    streams: int = 0
    are_open: asyncio.Event = field(default_factory=asyncio.Event)


def poll(*, seconds: float, say: Callable[[str], None]) -> Mapping[str, object]:
    """Poll for that long while a video is made and others wait; answers the figures."""
    ledger = Ledger()
    settings = {"api_processes": API_PROCESSES, "log_level": "warning"}
    with tempfile.TemporaryDirectory(prefix="keyvid-polls-") as folder, Fleet(Path(folder), settings=settings) as fleet:
        caller = Caller(fleet.url, ledger)
        inputs = send_inputs(caller)
        for number in range(VIDEOS):
            video_id = caller.create("step_ms=1000 steps=600", inputs=inputs, key=f"poll-{number}")
            ledger.accept(video_id, CANCELLED)
        caller.wait_until(next(iter(ledger.accepted)), "in_progress")
        say(f"{POLLERS} pollers and {STREAMS} event streams for {seconds:g} s")
        before_s, callers_before_s = _cpu_seconds(fleet), time.process_time()
        tally = uvloop.run(_load(fleet.port, list(ledger.accepted), seconds))
        used_s, callers_used_s = _cpu_seconds(fleet) - before_s, time.process_time() - callers_before_s
        for video_id in ledger.accepted:
            caller.ask("POST", f"/v1/videos/{video_id}/cancel")
        for video_id in ledger.accepted:
            caller.wait_until(video_id)
        broken = check_installation(fleet.database, fleet.settings, ledger, strangers=fleet.strangers())
        caller.close()
    if tally.streams != STREAMS:
        broken.append(f"{STREAMS - tally.streams} of {STREAMS} event streams ended")
    broken += [f"{number} polls were answered {status}" for status, number in tally.statuses.items() if status >= 400]
    polls = sum(tally.statuses.values())
    rate = polls / seconds
    return {
        "polls per second": round(rate),
        "not modified, %": round(100 * tally.statuses[NOT_MODIFIED] / polls, 1),
        "processor time of the API for a poll, streams included, ms": round(1000 * used_s / polls, 3),
        "processor time of the caller for a poll, ms": round(1000 * callers_used_s / polls, 3),
        "median, ms": round(1000 * percentile(tally.seconds, 50), 1),
        "p99, ms": round(1000 * percentile(tally.seconds, 99), 1),
        "event streams": tally.streams,
        "events": tally.events,
        "at least 1,500 per second": rate >= TARGET_PER_S,
        "broken": broken,
    }


def _cpu_seconds(fleet: Fleet) -> float:
    """Processor time that all API processes have used: what a poll costs, however busy the machine is otherwise."""
    first = psutil.Process(fleet.pid("api"))
    used = [process.cpu_times() for process in (first, *first.children(recursive=True))]
    return sum(times.user + times.system for times in used)


async def _load(port: int, video_ids: list[str], seconds: float) -> Tally:
    tally = Tally()
    streams = [asyncio.create_task(_follow(port, video_ids[number % VIDEOS], tally)) for number in range(STREAMS)]
    await asyncio.wait_for(tally.are_open.wait(), OPENING_S)
    end = time.monotonic() + seconds
    await asyncio.gather(*(_poll(port, video_ids[number % VIDEOS], end, tally) for number in range(POLLERS)))
    for stream in streams:
        stream.cancel()
    await asyncio.gather(*streams, return_exceptions=True)
    tally.streams = sum(stream.cancelled() for stream in streams)
    return tally


async def _poll(port: int, video_id: str, end: float, tally: Tally) -> None:
    """Ask for one video again and again, each time with what was told last."""
    host = f"127.0.0.1:{port}"
    wire = Wire("127.0.0.1", port)
    await wire.open()
    etag = '""'
    while time.monotonic() < end:
        answer = await wire.ask(get(f"/v1/videos/{video_id}", host, If_None_Match=etag))
        tally.statuses[answer.status] += 1
        tally.seconds.append(answer.seconds)
        if answer.status == OK:
            etag = answer.fields[b"etag"].decode()
    await wire.close()


async def _follow(port: int, video_id: str, tally: Tally) -> None:
    """Read a video's events until told to stop."""
    wire = Wire("127.0.0.1", port)
    await wire.open()
    try:
        wire.writer.write(get(f"/v1/videos/{video_id}/events", f"127.0.0.1:{port}"))
        status, _ = read_head(await wire.reader.readuntil(END_OF_HEAD))
        if status != OK:
            return
        tally.streams += 1
        if tally.streams == STREAMS:
            tally.are_open.set()
        while line := await wire.reader.readline():
            tally.events += line.startswith(b"event:")
    finally:
        with suppress(OSError):
            await wire.close()
