"""Sandboxes of this process: children of a fork server that decode one request's uploads each."""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import structlog

from service.errors import Busy
from service.media.forkserver import WALL_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from service.media.probe import ProbeRequest

logger = structlog.get_logger(__name__)

SERVER_COMMAND = (sys.executable, "-I", "-m", "service.media.forkserver")
AT_ONCE = 2
ATTEMPTS = 2  # the fork server may be killed by anybody while it works for us
MARGIN_SECONDS = 5.0
END_SECONDS = 5.0
MAX_ANSWER_BYTES = 1 << 16  # a few lines; a decoder that was taken over could write without end


@dataclass(frozen=True, slots=True)
class Answer:
    """What came through a connection: reports of the child, and how it ended; None when the fork server died."""

    lines: tuple[dict[str, Any], ...]
    end: dict[str, Any] | None


class Sandboxes:
    """Runs sandboxes, a few at once, through a fork server that is started when it is first needed.

    Called from many threads.
    """

    def __init__(self) -> None:
        self._turns = threading.BoundedSemaphore(AT_ONCE)
        self._lock = threading.Lock()
        self._server: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def start(self, *, at_once: int = AT_ONCE) -> None:
        """Start the fork server, unless it runs; from now on it has at most `at_once` children."""
        self._turns = threading.BoundedSemaphore(at_once)
        with self._lock:
            self._living_control()

    def run(self, request: ProbeRequest, files: Sequence[tuple[Path, Path]]) -> list[dict[str, Any]]:
        """Have a child decode uploads, from a source to a target each; reports stop short of the item that killed it.

        Raises: Busy when the machine is too slow to tell; OSError when a target cannot be made.
        """
        for _ in range(ATTEMPTS):
            with self._turns:
                answer = self._ask(request, files)
            if answer.end is not None:
                return _reports(answer.lines, answer.end)
            logger.warning("fork_server_lost")
        raise Busy("The server cannot check the upload now.")

    def close(self) -> None:
        """End the fork server, and all sandboxes with it."""
        with self._lock:
            if self._control is not None:
                self._control.close()
            if self._server is not None:
                _end(self._server)
            self._control = self._server = None

    def _ask(self, request: ProbeRequest, files: Sequence[tuple[Path, Path]]) -> Answer:
        ours, theirs = socket.socketpair()
        with ours:
            with theirs, ExitStack() as opened:
                descriptors = []
                for source, target in files:
                    descriptors += [opened.enter_context(source.open("rb")).fileno()]
                    descriptors += [opened.enter_context(target.open("wb")).fileno()]
                socket.send_fds(ours, [request.to_json()], descriptors)
                ours.shutdown(socket.SHUT_WR)
                self._hand_over(theirs)
            return _read_answer(ours)

    def _hand_over(self, connection: socket.socket) -> None:
        """Give a connection to the fork server, or to a new one if it has died; if none starts it ends unanswered."""
        with self._lock:
            for control in (self._living_control, self._restarted_control):
                with suppress(OSError):
                    socket.send_fds(control(), [b"\0"], [connection.fileno()])
                    return

    def _living_control(self) -> socket.socket:
        """Where the fork server takes connections. Needs the lock."""
        if self._control is not None and self._server is not None and self._server.poll() is None:
            return self._control
        return self._restarted_control()

    def _restarted_control(self) -> socket.socket:
        if self._control is not None:
            self._control.close()
        if self._server is not None:
            _end(self._server)
            logger.warning("fork_server_ended", exit_status=self._server.returncode)
        self._control, self._server = _start()
        return self._control


def _start() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    environment = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # who forks may have one thread only
    ours, theirs = socket.socketpair()
    with theirs:
        server = subprocess.Popen(
            SERVER_COMMAND, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, env=environment, start_new_session=True
        )
    return ours, server


def _end(server: subprocess.Popen[bytes]) -> None:
    """Wait for a fork server whose control socket is closed, and kill it and its children if it hangs."""
    try:
        server.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _read_answer(connection: socket.socket) -> Answer:
    """Read what a child and the fork server say until they hang up. Raises: Busy when they do not."""
    connection.settimeout(WALL_SECONDS + MARGIN_SECONDS)
    received = bytearray()
    try:
        # Who dies with the request unread resets the connection; what was said until then still counts.
        with suppress(ConnectionResetError):
            while piece := connection.recv(MAX_ANSWER_BYTES):
                received += piece
                if len(received) > MAX_ANSWER_BYTES:
                    return Answer((), {"exit_status": None, "is_overdue": False})
    except TimeoutError as error:
        raise Busy("The server is too busy to check the upload now.") from error
    *said, last = (_object(line) for line in bytes(received).splitlines() or [b""])
    return Answer(tuple(takewhile(bool, said)), last if "exit_status" in last else None)


def _object(line: bytes) -> dict[str, Any]:
    """A line of JSON; nothing when it is none, because a decoder that was taken over may write anything."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _reports(lines: Sequence[dict[str, Any]], end: dict[str, Any]) -> list[dict[str, Any]]:
    """What a child that has ended said of its files. Raises: Busy when it was stopped for being slow."""
    if end["is_overdue"]:
        raise Busy("The server is too busy to check the upload now.")
    if end["exit_status"] != 0:
        last_words = next((line["last_words"] for line in lines if "last_words" in line), "")
        logger.warning("probe_died", exit_status=end["exit_status"], last_words=last_words)
    return [line for line in lines if "last_words" not in line]


SANDBOXES = Sandboxes()
atexit.register(SANDBOXES.close)
