"""Several API processes behind one port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest

from tests import uploads
from tests.process_tree import children_running
from tests.servers import free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psutil

PROCESSES = 2
START_S = 120.0  # generous: the machine may be busy
FILES = {"input_reference": ("a", uploads.jpeg()), "audio": ("b", uploads.wav())}
pytestmark = pytest.mark.timeout(400)


@contextmanager
def serving(data_dir: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`keyvid api --processes 2`, its first process and its address."""
    port = free_port()
    arguments = ["--port", str(port), "--data-dir", str(data_dir), "--processes", str(PROCESSES)]
    process = subprocess.Popen([sys.executable, "-m", "keyvid", "api", *arguments], env=dict(os.environ))
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(
            lambda: answers(url) and len(servers(process)) == PROCESSES, timeout_s=START_S, what="two API processes"
        )
        yield process, url
    finally:
        process.terminate()
        process.wait(30)


def answers(url: str) -> bool:
    """Whether somebody listens."""
    try:
        return httpx.get(f"{url}/livez", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def servers(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The processes that answer."""
    return children_running(process.pid, "spawn_main")


def test_processes_share_the_work_and_are_replaced(tmp_path: Path) -> None:
    """A video that one accepted is read from any, and when one dies the port goes on and there are soon two again.

    Whichever is asked tells what all of them have counted, those that died included.
    """
    with serving(tmp_path) as (process, url):
        video = httpx.post(f"{url}/v1/videos", data={"prompt": "p"}, files=FILES, timeout=60).json()
        lost = servers(process)[0]
        lost.kill()
        wait_until(
            lambda: len(servers(process)) == PROCESSES and lost.pid not in [child.pid for child in servers(process)],
            timeout_s=START_S,
            what="a new process",
        )
        wait_until(lambda: answers(url), timeout_s=START_S, what="an answer")

        replies = [httpx.get(f"{url}/v1/videos/{video['id']}", timeout=60) for _ in range(10)]

        assert {reply.status_code for reply in replies} == {200}
        told = httpx.get(f"{url}/metrics", timeout=60).text
        counted = 'keyvid_http_request_seconds_count{method="%s",route="%s",status="%d"} %d.0'
        assert counted % ("GET", "/v1/videos/{video_id}", 200, 10) in told
        assert counted % ("POST", "/v1/videos", 202, 1) in told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_none_is_left_behind(number: signal.Signals, tmp_path: Path) -> None:
    """However the first process ends, the others end too."""
    with serving(tmp_path) as (process, _):
        children = servers(process)

        process.send_signal(number)
        process.wait(30)

        wait_until(lambda: not any(child.is_running() for child in children), what="the end of all")
