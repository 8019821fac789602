"""Memory that a process needs for a moment goes back to the machine."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

BURST = """
import sys
import psutil
from workers.memory import settle_memory

if sys.argv[1] == "settled":
    settle_memory()
process = psutil.Process()
bytearray(30_000_000)  # a large buffer that is freed: from here on glibc keeps smaller ones
before = process.memory_info().rss
buffers, kept = [], []
for _ in range(300):
    buffers.append(bytearray(300_000))
    kept.append(bytearray(3_000))
buffers.clear()
print((process.memory_info().rss - before) / 1e6)
"""

NAMES = """
import sys
import psutil
from workers.memory import settle_memory

names = [sys.intern(f"loaded {number}") for number in range(50_000)]
if sys.argv[1] == "settled":
    settle_memory()
process = psutil.Process()
before = process.memory_info().rss
for number in range(60_000):
    sys.intern(f"of a job {number}")
print((process.memory_info().rss - before) / 1e6)
"""


def ran(script: str) -> dict[str, float]:
    """What the script prints in a process as it is, and in one whose memory is settled."""
    runs = {
        how: subprocess.run([sys.executable, "-c", script, how], capture_output=True, text=True, check=True)
        for how in ("as it is", "settled")
    }
    return {how: float(run.stdout) for how, run in runs.items()}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_a_burst_of_large_buffers_leaves_nothing() -> None:
    """Ninety megabytes between small buffers that live on: kept by glibc as it is, given back once it is told."""
    left = ran(BURST)

    assert left["as it is"] > 80
    assert left["settled"] < 10


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="later Pythons may keep such names for good")
def test_names_that_come_and_go_take_no_more_memory() -> None:
    """Each job interns a few names and drops them; Python's table of names does not grow for it any more."""
    grown = ran(NAMES)

    assert grown["as it is"] > 1
    assert grown["settled"] < 0.5
