"""Sandboxes of this process: children that decode one request's uploads each, one of them started in advance.

To load the decoders takes a child longer than to use them. A spare one has them loaded when a request comes, so that
a sound is checked in a few hundredths of a second also while a video takes all the cores.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import structlog

from service.errors import Busy

if TYPE_CHECKING:
    from service.media.probe import ProbeRequest

logger = structlog.get_logger(__name__)

PROBE_COMMAND = (sys.executable, "-I", "-m", "service.media.probe")
SPARE_COMMAND = (*PROBE_COMMAND, "--spare")
WALL_SECONDS = 60.0  # the processor limit ends hostile files long before; this one means that the machine is overloaded


class Sandboxes:
    """Runs sandboxes, and keeps one in reserve once it was asked to. Called from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keeps_spare = False
        self._spare: subprocess.Popen[str] | None = None

    def keep_spare(self) -> None:
        """Have one child ready from now on."""
        self._keeps_spare = True
        self._refill()

    def run(self, request: ProbeRequest) -> list[dict[str, Any]]:
        """Have a child decode uploads; a report is missing for the item that killed it and for those behind.

        Raises: Busy when the machine is too slow to tell.
        """
        child = self._take_spare() or _start(PROBE_COMMAND)
        try:
            output, errors = child.communicate(request.to_json(), timeout=WALL_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise Busy("The server is too busy to check the upload now.") from error
        finally:
            _end(child)
            self._refill()
        if child.returncode != 0:
            logger.warning("probe_died", exit_status=child.returncode, last_words=errors[-300:])
        return [json.loads(line) for line in output.splitlines()]

    def close(self) -> None:
        """End the spare child."""
        self._keeps_spare = False
        spare = self._take_spare()
        if spare is not None:
            _end(spare)

    def _take_spare(self) -> subprocess.Popen[str] | None:
        """The child in reserve, if it lives."""
        with self._lock:
            spare, self._spare = self._spare, None
        if spare is None or spare.poll() is None:
            return spare
        _end(spare)
        return None

    def _refill(self) -> None:
        with self._lock:
            if self._keeps_spare and self._spare is None:
                self._spare = _start(SPARE_COMMAND)


def _start(command: tuple[str, ...]) -> subprocess.Popen[str]:
    environment = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # threads cost address space
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
        start_new_session=True,
    )


def _end(child: subprocess.Popen[str]) -> None:
    """Kill a child that still runs, with all that it started, and close its pipes."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            pipe.close()
    child.wait()


SANDBOXES = Sandboxes()
atexit.register(SANDBOXES.close)
