"""The supervisor's hold on its runner: start it, talk to it, and end it with everything it started."""

from __future__ import annotations

import multiprocessing
import os
import secrets
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from workers.errors import WorkerError
from workers.runner_process import run_process

if TYPE_CHECKING:
    from workers.runner_messages import Command, Report
    from workers.settings import Settings

JOIN_S = 10.0


class RunnerDied(WorkerError):
    """The runner's process has ended."""


class RunnerHandle:
    """One spawned runner. Start it from a thread that outlives it: the kernel kills it when that thread ends."""

    def __init__(self, settings: Settings) -> None:
        # Not named by its process: containers that share a folder have processes of the same numbers.
        self._folder = settings.temp_dir / f"runner-{secrets.token_hex(8)}"
        context = multiprocessing.get_context("spawn")  # a forked child could not use a GPU
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=run_process,
            args=(theirs, settings, self._folder, os.getpid()),
            name="keyvid-runner",
            daemon=False,
        )
        self._process.start()
        theirs.close()  # so that its end of the pipe is open only in the runner, and closes when that dies
        self.started_at = time.monotonic()

    @property
    def pid(self) -> int:
        """Process id, which is also its group's."""
        return self._process.pid or 0

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.is_alive()

    @property
    def memory_bytes(self) -> int:
        """Resident memory of the process; 0 once it has ended."""
        try:
            pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        except (OSError, IndexError):
            return 0
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def send(self, command: Command) -> None:
        """Send a command. Raises: RunnerDied."""
        try:
            self._connection.send(command)
        except OSError as error:
            raise RunnerDied from error

    def receive(self, *, timeout_s: float) -> Report | None:
        """Wait for a report; None when there is none in time. Raises: RunnerDied."""
        try:
            if not self._connection.poll(timeout_s):
                return None
            report: Report = self._connection.recv()
        except (EOFError, OSError) as error:
            raise RunnerDied from error
        return report

    def kill(self) -> None:
        """End the runner and all that it started, and wait until it is gone."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.kill()  # in the first moments it is not yet the leader of its group
        self._process.join(JOIN_S)
        self._connection.close()
        shutil.rmtree(self._folder, ignore_errors=True)
