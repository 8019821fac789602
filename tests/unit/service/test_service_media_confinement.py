"""What a confined process can no longer do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from service.media import confinement
from service.media.validation import measures_that_hold

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import os, signal, socket, sys, threading
from service.media import confinement
victim, file = int(sys.argv[1]), sys.argv[2]
{change}
print(*confinement.confine())
attempts = {{
    "open": lambda: open(file),
    "write": lambda: open(file + "-new", "w"),
    "unlink": lambda: os.unlink(file),
    "rename": lambda: os.rename(file, file + "-moved"),
    "socket": socket.socket,
    "fork": os.fork,
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "kill": lambda: os.kill(victim, signal.SIGKILL),
    "thread": lambda: threading.Thread(target=print).start(),
    "memory": lambda: bytearray(2 << 30),
}}
for name in sys.argv[3:]:
    try:
        attempts[name]()
    except (OSError, MemoryError, RuntimeError):
        print(name)
"""
WITHOUT_LIBRARY = 'confinement._SECCOMP = "no such library"'


def run(folder: Path, *attempts: str, change: str = "") -> tuple[list[str], list[str], bool]:
    """Confine a process and let it try things: what holds, what it could not do, and whether its victim lives."""
    file = folder / "file"
    file.write_text("kept")
    with subprocess.Popen(["sleep", "60"]) as victim:
        command = [sys.executable, "-I", "-c", PROGRAM.format(change=change), str(victim.pid), str(file), *attempts]
        reply = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        is_alive = victim.poll() is None
        victim.kill()
    holds, *failed = reply.stdout.splitlines()
    return holds.split(), failed, is_alive


@pytest.mark.skipif(sys.platform != "linux", reason="system calls are filtered on Linux only")
def test_confined_process_reaches_nothing(tmp_path: Path) -> None:
    """It gets no file, socket, process, program, thread or gigabyte, and can harm neither files nor processes."""
    attempts = ("open", "write", "unlink", "rename", "socket", "fork", "exec", "kill", "thread", "memory")

    holds, failed, is_victim_alive = run(tmp_path, *attempts)

    assert {"limits", "calls"} <= set(holds)
    assert tuple(failed) == attempts
    assert is_victim_alive
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_limits_alone_keep_files_and_network_away(tmp_path: Path) -> None:
    """Where system calls cannot be filtered, nothing can be opened all the same, and it is told what is missing."""
    holds, failed, _ = run(tmp_path, "open", "write", "socket", "memory", change=WITHOUT_LIBRARY)

    assert "calls" not in holds
    assert failed == ["open", "write", "socket", "memory"]


def test_what_holds_is_told() -> None:
    """The API can say at its start what confines decoders on its machine."""
    holds = measures_that_hold()

    assert holds[0] == "limits"
    assert set(holds) <= set(confinement.MEASURES)


def test_endless_computing_is_ended(tmp_path: Path) -> None:
    """The kernel ends a decoder that computes without end."""
    program = (
        "from service.media import confinement\nconfinement.CPU_SECONDS = 1\nconfinement.confine()\nwhile True: pass"
    )
    begun = time.monotonic()

    ended = subprocess.run([sys.executable, "-I", "-c", program], check=False, timeout=120, cwd=tmp_path)

    assert ended.returncode < 0
    assert time.monotonic() - begun < 100


def test_output_ends_at_its_limit(tmp_path: Path) -> None:
    """A file cannot grow beyond what a canonical form needs, whatever a decoder writes."""
    target = tmp_path / "out"
    program = (
        f"from service.media import confinement\nfile = open({str(target)!r}, 'wb')\nconfinement.confine()\n"
        "for _ in range(200): file.write(bytes(1 << 20))"
    )

    ended = subprocess.run([sys.executable, "-I", "-c", program], check=False, capture_output=True, timeout=60)

    assert ended.returncode != 0
    assert os.stat(target).st_size <= confinement.OUTPUT_BYTES  # noqa: PTH116
