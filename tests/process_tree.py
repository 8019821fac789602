"""Which processes another one has started."""

from __future__ import annotations

from contextlib import suppress

import psutil


def children_running(pid: int, words: str) -> list[psutil.Process]:
    """Children of a process whose command line holds `words`; who ends while one looks is not among them."""
    found = []
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(pid).children():
            with suppress(psutil.NoSuchProcess):
                if words in " ".join(child.cmdline()):
                    found.append(child)
    return found
