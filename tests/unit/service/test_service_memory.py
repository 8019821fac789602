"""Memory that a burst took goes back to the machine."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

BURST = """
import sys
import psutil
from service.memory import return_large_buffers

if sys.argv[1] == "returned":
    return_large_buffers()
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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_a_burst_of_large_buffers_leaves_nothing() -> None:
    """Ninety megabytes between small buffers that live on: kept by glibc as it is, given back once it is told."""
    left = {}
    for how in ("kept", "returned"):
        told = subprocess.run([sys.executable, "-c", BURST, how], capture_output=True, text=True, check=True)
        left[how] = float(told.stdout)

    assert left["kept"] > 80
    assert left["returned"] < 10
