"""Many callers ask for a video at the same moment, each with a picture and a sound of its own, a megabyte together."""

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
SIDES = (720, 620)  # noise of this size is a JPEG of about 0.7 MB


def create_at_once(*, callers: int, say: Callable[[str], None]) -> Mapping[str, object]:
    """Send that many requests at once; answers how long they took, after every video is completed."""
    ledger = Ledger()
    with tempfile.TemporaryDirectory(prefix="keyvid-creates-") as folder, Fleet(Path(folder)) as fleet:
        forms = [_form(fleet.port, number) for number in range(callers)]
        size_mb = sum(map(len, forms)) / len(forms) / MB
        api = psutil.Process(fleet.pid("api"))
        before = api.memory_info().rss
        say(f"{callers} requests of {size_mb:.2f} MB at once")
        answers = asyncio.run(_send(fleet.port, forms))
        grown = api.memory_info().rss - before
        seconds = [answer.seconds for answer in answers]
        say(f"all are answered after {max(seconds):.1f} s")
        for answer in answers:
            ledger.count(answer.status)
            if answer.status == ACCEPTED:
                ledger.accept(json.loads(answer.body)["id"], COMPLETED)
        caller = Caller(fleet.url, ledger)
        for video_id in ledger.accepted:
            caller.wait_until(video_id, within_s=PATIENCE_S)
        broken = check_installation(fleet.database, fleet.settings, ledger, strangers=fleet.strangers())
        caller.close()
    if len(ledger.accepted) != callers:
        broken.append(f"{callers - len(ledger.accepted)} of {callers} requests were not accepted")
    p99_s = percentile(seconds, 99)
    return {
        "requests": callers,
        "request, MB": round(size_mb, 2),
        "median, s": round(percentile(seconds, 50), 3),
        "p99, s": round(p99_s, 3),
        "accepted per second": round(callers / max(seconds), 2),
        "p99 is under 0.5 s": p99_s < TARGET_S,
        "API memory grew by, MB": round(grown / MB, 1),
        "broken": broken,
    }


async def _send(port: int, forms: list[bytes]) -> list[Answer]:
    wires = [Wire("127.0.0.1", port) for _ in forms]
    await asyncio.gather(*(wire.open() for wire in wires))
    answers = await asyncio.gather(*(wire.ask(form) for wire, form in zip(wires, forms, strict=True)))
    await asyncio.gather(*(wire.close() for wire in wires))
    return list(answers)


def _form(port: int, number: int) -> bytes:
    """A request whose picture nobody else sends."""
    picture = uploads.encoded(uploads.noise(*SIDES, seed=number), "JPEG", quality=90)
    files = {"input_reference": picture, "audio": uploads.wav(2.0, rate=48_000, channels=2)}
    return post_form("/v1/videos", f"127.0.0.1:{port}", {"prompt": "step_ms=1 steps=1"}, files)
