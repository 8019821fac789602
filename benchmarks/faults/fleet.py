"""A whole installation as an operator runs it: processes that are started again whenever they die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil

from service.settings import ServiceSettings
from tests.process_tree import children_running
from tests.servers import free_port
from workers.database import Database, upgrade
from workers.errors import StoreUnavailable
from workers.parent import PARENT_VARIABLE
from workers.roster import Roster, WorkerState

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping
    from typing import Self

ENGINE_FOLDER = Path(__file__).parents[2] / "tests" / "integration"  # where the paced engine is
RESTART_S = 0.3
LOOK_S = 0.1
START_S = 600.0  # generous: the machine may be busy
BEAT_S = 10.0

QUICK = {  # a fault is over in seconds, so that hundreds of them fit into minutes
    "engine": "paced_engine:load",
    "device": "cpu",
    "lease_seconds": "3",
    "lease_renew_seconds": "0.5",
    "cancel_poll_seconds": "0.1",
    "idle_poll_seconds": "0.5",
    "reconcile_seconds": "0.3",
    "dispatch_seconds": "0.3",
    "cancel_grace_seconds": "3",
    "retry_backoff_seconds": "[0, 0, 0]",
    "webhook_private_hosts": '["127.0.0.1"]',
    "log_format": "json",
    "log_level": "warning",
}


@dataclass
class Member:
    """One process of the installation."""

    name: str
    arguments: tuple[str, ...]
    process: subprocess.Popen[bytes] | None = None
    died_at: float = 0.0
    deaths: int = 0
    pids: set[int] = field(default_factory=set)

    @property
    def is_alive(self) -> bool:
        """Whether the process runs now."""
        return self.process is not None and self.process.poll() is None


class Fleet:
    """The processes of one installation in one folder, kept alive until the fleet is closed.

    settings: by their names without the prefix, on top of `QUICK`.
    """

    def __init__(self, folder: Path, *, workers: int = 1, settings: Mapping[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        chosen = {**QUICK, "data_dir": str(folder), "port": str(self.port), **(settings or {})}
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ENGINE_FOLDER),
            PARENT_VARIABLE: str(os.getpid()),
            **{f"KEYVID_{name.upper()}": value for name, value in chosen.items()},
        }
        self.settings = _settings_of(self.environment)
        names = [("api", "api"), *((f"worker-{number}", "worker") for number in range(workers))]
        names += [("reconciler", "reconciler"), ("dispatcher", "dispatcher")]
        self.members = {name: Member(name, (command,)) for name, command in names}
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._keeper = threading.Thread(target=self._keep_alive, name="keeper", daemon=True)
        upgrade(self.settings.database_url)
        self.database = Database(self.settings.database_url)

    def __enter__(self) -> Self:
        """Start everything, and wait until it takes jobs."""
        self._keeper.start()
        try:
            self.wait_until_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End everything."""
        self.close()

    def wait_until_ready(self) -> None:
        """Wait until the API answers and every worker is warm."""
        count = sum(name.startswith("worker") for name in self.members)
        wait_for(lambda: self.answers() and self.warm_workers() >= count, what="a ready installation", within_s=START_S)

    def answers(self) -> bool:
        """Whether the API is there."""
        try:
            return httpx.get(f"{self.url}/livez", timeout=2).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def warm_workers(self) -> int:
        """How many workers of now have a warm runner; none that one could know of while the database is away."""
        living = {member.process.pid for member in self.members.values() if member.is_alive and member.process}
        try:
            records = Roster(self.database).workers(within_s=BEAT_S)
        except StoreUnavailable:
            return 0
        return sum(record.pid in living and record.state in (WorkerState.READY, WorkerState.BUSY) for record in records)

    def pid(self, name: str) -> int | None:
        """The process id of a member, if it runs."""
        member = self.members[name]
        return member.process.pid if member.is_alive and member.process else None

    def runner(self, name: str) -> psutil.Process | None:
        """The runner of a worker, if it has one."""
        pid = self.pid(name)
        return next(iter(children_running(pid, "spawn_main")), None) if pid else None

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a member a signal."""
        pid = self.pid(name)
        if pid is not None:
            os.kill(pid, number)

    def kill_one(self, chance: random.Random) -> str:
        """`kill -9` of a random member, or of a random worker's runner; says whose."""
        victims = [name for name in self.members if self.members[name].is_alive]
        victims += [f"runner of {name}" for name in self.members if name.startswith("worker")]
        victim = chance.choice(victims)
        if victim.startswith("runner of "):
            runner = self.runner(victim.removeprefix("runner of "))
            if runner is not None:
                runner.kill()
        else:
            self.signal(victim, signal.SIGKILL)
        return victim.rstrip("-0123456789")

    def strangers(self) -> list[int]:
        """Processes of this installation that no living member has started."""
        known: set[int] = set()
        for member in self.members.values():
            if member.is_alive and member.process:
                known |= {member.process.pid, *_descendants(member.process.pid)}
        return [pid for pid in _processes_of(self.folder) if pid not in known]

    def close(self) -> None:
        """End every process: each drains, and what does not end in time is killed."""
        self._closing.set()
        if self._keeper.is_alive():
            self._keeper.join()
        for name in self.members:
            self.signal(name, signal.SIGTERM)
        for member in self.members.values():
            if member.process is not None:
                try:
                    member.process.wait(20)
                except subprocess.TimeoutExpired:
                    member.process.kill()
                    member.process.wait()
        self.database.close()

    def _keep_alive(self) -> None:
        while not self._closing.wait(LOOK_S):
            for member in self.members.values():
                if member.is_alive:
                    continue
                now = time.monotonic()
                if member.process is not None:
                    member.process, member.died_at, member.deaths = None, now, member.deaths + 1
                elif now - member.died_at >= RESTART_S:
                    self._start(member)

    def _start(self, member: Member) -> None:
        with (self.folder / f"{member.name}.log").open("ab") as log:
            command = [sys.executable, "-m", "keyvid", *member.arguments]
            # In a session of its own, as `keyvid serve` does it: a terminal's Ctrl-C is for us, and we end the others.
            member.process = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )


def wait_for(is_so: Callable[[], bool], *, what: str, within_s: float, every_s: float = 0.1) -> None:
    """Wait for a condition. Raises: TimeoutError, saying what did not come."""
    deadline = time.monotonic() + within_s
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {what} within {within_s:g} s")
        time.sleep(every_s)


def _settings_of(environment: Mapping[str, str]) -> ServiceSettings:
    """The settings as the processes read them."""
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        return ServiceSettings()
    finally:
        os.environ.clear()
        os.environ.update(before)


def _descendants(pid: int) -> set[int]:
    try:
        return {child.pid for child in psutil.Process(pid).children(recursive=True)}
    except psutil.NoSuchProcess:
        return set()


def _processes_of(folder: Path) -> list[int]:
    """Every living process whose environment names this data folder, besides ourselves."""
    found = []
    for process in psutil.process_iter(["status"]):
        try:
            is_ours = process.environ().get("KEYVID_DATA_DIR") == str(folder)
        except psutil.Error:
            continue
        if is_ours and process.pid != os.getpid() and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process.pid)
    return found
