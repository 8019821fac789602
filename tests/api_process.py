"""`keyvid api` as a process on a socket, for tests of what a client inside the process cannot show."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import psutil

from tests.servers import free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOG = "api.log"


@dataclass(frozen=True, slots=True)
class ApiProcess:
    """A running `keyvid api`."""

    process: subprocess.Popen[bytes]
    port: int
    data_dir: Path

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return (self.data_dir.parent / LOG).read_text()

    def rss(self) -> int:
        """Bytes of memory in use."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def files_in_the_making(self) -> list[Path]:
        """What is left of uploads: nothing while none is on its way."""
        return list((self.data_dir / "tmp").glob("*"))


@contextmanager
def api_process(folder: Path, **settings: str) -> Iterator[ApiProcess]:
    """`keyvid api` on a free port until the block ends, with its data and its log in `folder`."""
    port, data_dir = free_port(), folder / "data"
    variables = {f"KEYVID_{name.upper()}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "keyvid", "api", "--port", str(port), "--data-dir", str(data_dir)]
    with (folder / LOG).open("ab") as log:
        process = subprocess.Popen(command, env={**os.environ, **variables}, stdout=log, stderr=log)
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/livez"), timeout_s=120, what="the API's first answer")
        yield ApiProcess(process, port, data_dir)
    finally:
        process.terminate()
        process.wait(20)


def answers(url: str) -> bool:
    """Whether a GET succeeds."""
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.TransportError:
        return False
