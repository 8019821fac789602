"""Many callers ask for a video, each with a picture and a sound of its own, a megabyte together.

First all at the same moment, then as many again one after the other at a steady rate.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from benchmarks.faults.callers import COMPLETED, Caller, Ledger
from benchmarks.faults.fleet import Fleet
from benchmarks.faults.invariants import check_installation
from benchmarks.load.wire import Wire, percentile, post_form
from tests import uploads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.load.wire import Answer

ACCEPTED = 202
MB = 1e6
TARGET_S = 0.5
PATIENCE_S = 1800.0
PER_SECOND = 25.0  # of the second part
SIDES = (720, 620)  # noise of this size is a JPEG of about 0.7 MB


def create(*, callers: int, say: Callable[[str], None]) -> Mapping[str, object]:
    """Send that many requests twice; answers how long they took, after every video is completed."""
    ledger = Ledger()
    with tempfile.TemporaryDirectory(prefix="keyvid-creates-") as folder, Fleet(Path(folder)) as fleet:
        forms = [_form(fleet.port, number) for number in range(2 * callers)]
        size_mb = sum(map(len, forms)) / len(forms) / MB
        api = psutil.Process(fleet.pid("api"))
        before = api.memory_info().rss
        caller = Caller(fleet.url, ledger)
        say(f"{callers} requests of {size_mb:.2f} MB at once")
        at_once = _seconds(asyncio.run(_send(fleet.port, forms[:callers])), ledger)
        grown = api.memory_info().rss - before
        say(f"all are answered after {max(at_once):.1f} s")
        _wait_for_all(caller)
        say(f"{callers} requests, {PER_SECOND:g} a second")
        spread = _seconds(asyncio.run(_send(fleet.port, forms[callers:], per_second=PER_SECOND)), ledger)
        _wait_for_all(caller)
        kept = api.memory_info().rss - before
        broken = check_installation(fleet.database, fleet.settings, ledger, strangers=fleet.strangers())
        caller.close()
    if len(ledger.accepted) != len(forms):
        broken.append(f"{len(forms) - len(ledger.accepted)} of {len(forms)} requests were not accepted")
    return {
        "requests": callers,
        "request, MB": round(size_mb, 2),
        **_figures("at once", at_once),
        "accepted per second": round(callers / max(at_once), 2),
        **_figures(f"{PER_SECOND:g} a second", spread),
        "API memory grew by, MB": round(grown / MB, 1),
        "of it kept to the end, MB": round(kept / MB, 1),
        "broken": broken,
    }


def _seconds(answers: list[Answer], ledger: Ledger) -> list[float]:
    """How long the answers took, once they are in the ledger."""
    for answer in answers:
        ledger.count(answer.status)
        if answer.status == ACCEPTED:
            ledger.accept(json.loads(answer.body)["id"], COMPLETED)
    return [answer.seconds for answer in answers]


def _wait_for_all(caller: Caller) -> None:
    for video_id in caller.ledger.accepted:
        caller.wait_until(video_id, within_s=PATIENCE_S)


def _figures(how: str, seconds: list[float]) -> Mapping[str, object]:
    p99_s = percentile(seconds, 99)
    return {
        f"{how}: median, s": round(percentile(seconds, 50), 3),
        f"{how}: p99, s": round(p99_s, 3),
        f"{how}: p99 is under {TARGET_S:g} s": p99_s < TARGET_S,
    }


async def _send(port: int, forms: list[bytes], *, per_second: float | None = None) -> list[Answer]:
    """Send every form on a connection of its own, all at once or at a rate that waits for no answer."""
    wires = [Wire("127.0.0.1", port) for _ in forms]

    async def ask(number: int) -> Answer:
        if per_second is not None:
            await asyncio.sleep(number / per_second)
            await wires[number].open()
        return await wires[number].ask(forms[number])

    if per_second is None:
        await asyncio.gather(*(wire.open() for wire in wires))
    answers = await asyncio.gather(*(ask(number) for number in range(len(forms))))
    await asyncio.gather(*(wire.close() for wire in wires))
    return list(answers)


def _form(port: int, number: int) -> bytes:
    """A request whose picture nobody else sends."""
    picture = uploads.encoded(uploads.noise(*SIDES, seed=number), "JPEG", quality=90)
    files = {"input_reference": picture, "audio": uploads.wav(2.0, rate=48_000, channels=2)}
    return post_form("/v1/videos", f"127.0.0.1:{port}", {"prompt": "step_ms=1 steps=1"}, files)
