"""Large uploads at once: how much memory the API takes for them, and whether anything of them is left."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from benchmarks.faults.callers import Ledger
from benchmarks.faults.fleet import Fleet
from benchmarks.faults.invariants import check_installation
from benchmarks.load.wire import Wire, post_form
from tests import uploads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self

    from benchmarks.load.wire import Answer

AT_ONCE = 5
MB = 1_000_000
BOUND_MB = 30
CREATED = 201
SPARE = 10_000  # for the rest of the form
FRAME = 2 * 4  # bytes of one moment: two channels of 32-bit floats
RATE = 192_000
SAMPLE_S = 0.02


def upload(*, megabytes: int, say: Callable[[str], None]) -> Mapping[str, object]:
    """Send five sounds of that size at once; answers how much the API grew."""
    ledger = Ledger()
    settings = {"max_audio_bytes": str(megabytes * MB), "max_body_bytes": str(megabytes * MB + SPARE)}
    with (
        tempfile.TemporaryDirectory(prefix="keyvid-uploads-") as folder,
        Fleet(Path(folder), settings=settings) as fleet,
    ):
        seconds = (megabytes * MB - SPARE) / (FRAME * RATE)
        sound = uploads.float_wav(uploads.tone(seconds, rate=RATE, channels=2), rate=RATE)
        form = post_form("/v1/files", f"127.0.0.1:{fleet.port}", {"purpose": "audio"}, {"file": sound})
        small = post_form("/v1/files", f"127.0.0.1:{fleet.port}", {"purpose": "audio"}, {"file": uploads.wav()})
        asyncio.run(_send(fleet.port, small, 1))  # what the first request of all costs is no matter of size
        say(f"{AT_ONCE} sounds of {len(sound) / MB:.1f} MB at once")
        with _Peak(psutil.Process(fleet.pid("api"))) as peak:
            answers = asyncio.run(_send(fleet.port, form, AT_ONCE))
        for answer in answers:
            ledger.count(answer.status)
        broken = [f"an upload was answered {answer.status}" for answer in answers if answer.status != CREATED]
        left = [path for path in fleet.settings.temp_dir.rglob("*") if path.is_file()]
        broken += [f"{path.name} is left of an upload" for path in left]
        broken += check_installation(fleet.database, fleet.settings, ledger, strangers=fleet.strangers())
    if peak.grown_mb > BOUND_MB:
        broken.append(f"the API grew by {peak.grown_mb:.0f} MB")
    return {
        "uploads": AT_ONCE,
        "each, MB": round(len(sound) / MB, 1),
        "slowest, s": round(max(answer.seconds for answer in answers), 1),
        "API memory grew by, MB": round(peak.grown_mb, 1),
        "broken": broken,
    }


async def _send(port: int, form: bytes, number: int) -> list[Answer]:
    wires = [Wire("127.0.0.1", port) for _ in range(number)]
    await asyncio.gather(*(wire.open() for wire in wires))
    answers = await asyncio.gather(*(wire.ask(form) for wire in wires))
    await asyncio.gather(*(wire.close() for wire in wires))
    return list(answers)


class _Peak:
    """Watches how much a process grows above what it had at first."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self._first = self._most = process.memory_info().rss
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def grown_mb(self) -> float:
        """The growth at its most."""
        return (self._most - self._first) / MB

    def __enter__(self) -> Self:
        """Begin to watch."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop watching."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_S):
            self._most = max(self._most, self._process.memory_info().rss)
