"""The whole service on one machine: its processes as children, each restarted when it dies.

What they share is on disk under the data folder, so any of them may be killed at any time and nothing is lost.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from workers.database import Database
from workers.errors import StoreUnavailable
from workers.metrics import forget_gauges
from workers.parent import PARENT_VARIABLE
from workers.roster import Roster, WorkerState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

logger = structlog.get_logger(__name__)

POLL_S = 0.2
FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 30.0
HEALTHY_AFTER_S = 60.0  # a child that lived this long starts again with the first backoff
STOP_GRACE_S = 20.0
WORKER_BEAT_S = 10.0  # a worker that was not heard of for this long is not there


@dataclass(slots=True)
class Child:
    """One supervised process: its command, and when it may be started again."""

    name: str
    command: list[str]
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_after: float = 0.0
    backoff_s: float = field(default=FIRST_BACKOFF_S)

    def start(self) -> None:
        """Start the process in a session of its own, so that a terminal's Ctrl-C reaches only the supervisor."""
        self.process = subprocess.Popen(self.command, env=dict(self.environment), start_new_session=True)
        self.started_at = time.monotonic()

    def keep_alive(self) -> None:
        """Start the process again if it has ended, waiting longer after each early death."""
        now = time.monotonic()
        if self.process is None:
            if now >= self.start_after:
                self.start()
            return
        if self.process.poll() is None:
            return
        lived_s = now - self.started_at
        self.backoff_s = FIRST_BACKOFF_S if lived_s > HEALTHY_AFTER_S else min(self.backoff_s * 2, LONGEST_BACKOFF_S)
        logger.warning("child_ended", child=self.name, exit_status=self.process.returncode, restart_in_s=self.backoff_s)
        forget_gauges()
        self.process = None
        self.start_after = now + self.backoff_s

    def signal(self, number: signal.Signals) -> None:
        """Send a signal if the process lives."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)


def free_port(host: str) -> int:
    """A TCP port that nobody listens on at `host` now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def children(*, host: str, port: int, environment: Mapping[str, str]) -> list[Child]:
    """The processes of the service."""
    keyvid = [sys.executable, "-m", "keyvid"]
    # A supervisor that is killed outright takes its children along: they watch its process id.
    inherited = {**environment, PARENT_VARIABLE: str(os.getpid())}
    return [
        Child("api", [*keyvid, "api", "--host", host, "--port", str(port)], inherited),
        Child("worker", [*keyvid, "worker"], inherited),
        Child("listener", [*keyvid, "listener"], inherited),
        Child("reconciler", [*keyvid, "reconciler"], inherited),
        Child("dispatcher", [*keyvid, "dispatcher"], inherited),
    ]


def answers(url: str) -> bool:
    """Whether a GET of the URL succeeds."""
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:  # noqa: S310  (our own loopback address)
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def takes_jobs(url: str, database_url: str) -> bool:
    """Whether the API accepts jobs and a worker with a loaded model waits for them."""
    if not answers(f"{url}/readyz"):
        return False
    database = Database(database_url)
    try:
        workers = Roster(database).workers(within_s=WORKER_BEAT_S)
    except StoreUnavailable:
        return False
    finally:
        database.close()
    return any(worker.state in (WorkerState.READY, WorkerState.BUSY) for worker in workers)


def supervise(service: list[Child], *, is_ready: Callable[[], bool], on_ready: Callable[[], None]) -> None:
    """Run the children until SIGINT or SIGTERM, calling `on_ready` once when the service first takes jobs."""
    stopping = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    announced = False
    while not stopping:
        for child in service:
            child.keep_alive()
        if not announced and is_ready():
            announced = True
            on_ready()
        time.sleep(POLL_S)
    shut_down(service)


def shut_down(service: list[Child]) -> None:
    """Ask every child to drain, and kill what has not ended within the grace time."""
    for child in service:
        child.signal(signal.SIGTERM)
    deadline = time.monotonic() + STOP_GRACE_S
    for child in service:
        if child.process is None:
            continue
        try:
            child.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            logger.warning("child_killed", child=child.name, grace_s=STOP_GRACE_S)
            child.process.kill()
            child.process.wait()
