"""Real servers for tests, each started on a free port with its data in a folder of its own, and stopped at the end."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mypy_boto3_s3.client import S3Client

START_TIMEOUT_S = 30.0
S3_REGION = "us-east-1"
S3_KEY_ID = "keyvid:tests"
S3_SECRET = "only-the-tests-know-this"


def free_port() -> int:
    """A TCP port on the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], *, timeout_s: float = START_TIMEOUT_S, what: str = "condition") -> None:
    """Return as soon as `condition()` holds; fail after `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not hold within {timeout_s:g} s")
        time.sleep(0.02)


def accepts_connections(port: int) -> bool:
    """Whether something listens on the loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def redis_binary() -> str | None:
    """Where redis-server is, if it is installed."""
    return shutil.which("redis-server")


def postgres_folder() -> str | None:
    """The folder of initdb and postgres, if they are installed (Debian keeps them off the PATH)."""
    on_path = shutil.which("initdb")
    if on_path:
        return str(Path(on_path).parent)
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return str(installed[-1]) if installed else None


class Server:
    """One server process on a port of its own, which can be killed and started again on the same data."""

    def __init__(self, name: str, command: Sequence[str], port: int, log: Path) -> None:
        self.port = port
        self._name = name
        self._command = command
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, start_new_session=True)
        wait_until(lambda: accepts_connections(self.port), what=self._name)

    def stop(self) -> None:
        """Ask it to end, and wait."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait()

    def crash(self) -> None:
        """End it as a power cut would."""
        assert self._process is not None
        for process in psutil.Process(self._process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # it ended by itself
                process.kill()
        self._process.kill()
        self._process.wait()


def make_redis(folder: Path) -> Server:
    """A Redis without persistence: what was in it is gone when it ends."""
    binary = redis_binary()
    assert binary is not None
    port = free_port()
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    return Server("Redis", [binary, *arguments], port, folder / "redis.log")


def redis_url_of(server: Server) -> str:
    """Where a Redis of ours answers."""
    return f"redis://127.0.0.1:{server.port}/0"


def make_postgres(folder: Path, *, is_durable: bool = False) -> Server:
    """A PostgreSQL cluster with one empty database; only a durable one keeps its data through a crash."""
    binaries = postgres_folder()
    assert binaries is not None
    data = folder / "data"
    port = free_port()
    as_user: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        shutil.chown(folder, "postgres", "postgres")
        for parent in folder.parents[:3]:
            parent.chmod(parent.stat().st_mode | 0o011)
        as_user = ["runuser", "-u", "postgres", "--"]
    subprocess.run(
        [*as_user, f"{binaries}/initdb", "-D", str(data), "-U", "keyvid", "--auth=trust", "--no-sync"],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=folder,
    )
    options = ["-p", str(port), "-h", "127.0.0.1", "-k", str(folder), *([] if is_durable else ["-F"])]
    return Server("PostgreSQL", [*as_user, f"{binaries}/postgres", "-D", str(data), *options], port, folder / "log")


def postgres_url_of(server: Server) -> str:
    """The SQLAlchemy URL of a PostgreSQL of ours."""
    return f"postgresql+psycopg://keyvid@127.0.0.1:{server.port}/postgres"


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """A running Redis; yields its URL."""
    server = make_redis(folder)
    server.start()
    try:
        yield redis_url_of(server)
    finally:
        server.stop()


@contextmanager
def postgres_server(folder: Path) -> Iterator[str]:
    """A running PostgreSQL; yields its SQLAlchemy URL."""
    server = make_postgres(folder)
    server.start()
    try:
        yield postgres_url_of(server)
    finally:
        server.stop()


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running S3 server that checks signatures."""

    endpoint: str

    def client(self, *, key_id: str = S3_KEY_ID, secret: str = S3_SECRET) -> S3Client:
        """A client of the server."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=S3_REGION,
            aws_access_key_id=key_id,
            aws_secret_access_key=secret,
        )

    def new_bucket(self, name: str) -> dict[str, str]:
        """Make a bucket; returns the settings, without their prefix, of an installation that uses it."""
        self.client().create_bucket(Bucket=name)
        return {
            "storage": "s3",
            "s3_bucket": name,
            "s3_endpoint_url": self.endpoint,
            "s3_region": S3_REGION,
            "s3_access_key_id": S3_KEY_ID,
            "s3_secret_access_key": S3_SECRET,
        }


def keeps_attributes(folder: Path) -> bool:
    """Whether files in the folder may have user extended attributes, which Swift needs."""
    try:
        os.setxattr(folder, "user.keyvid", b"1")
    except OSError:
        return False
    return True


@contextmanager
def swift_server(folder: Path) -> Iterator[S3Server]:
    """OpenStack Swift with its S3 interface, in a folder that keeps attributes."""
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "tests.swift_server", str(folder / "swift"), str(port)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=log, stderr=log)
    try:
        wait_until(lambda: accepts_connections(port), what="Swift")
        yield S3Server(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait()
