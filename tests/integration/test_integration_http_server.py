"""The API as a process on a socket: what a test client inside the process cannot show."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from service.settings import ServiceSettings
from tests import uploads
from tests.api_process import ApiProcess, answers, api_process
from tests.servers import free_port, wait_until
from workers.job_store import open_job_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMIT = 5_000_000
MEMORY = 250e6


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiProcess]:
    """A server with small limits."""
    folder = tmp_path_factory.mktemp("data")
    limits = {"max_body_bytes": str(LIMIT), "body_idle_seconds": "1", "event_poll_seconds": "0.05"}
    with api_process(folder, **limits) as running:
        yield running


def form(sound: bytes) -> tuple[bytes, bytes]:
    """A request for a video: headers without a length, and the body."""
    parts = [
        (b'"prompt"', b"a dog"),
        (b'"input_reference"; filename="a"', uploads.jpeg()),
        (b'"audio"; filename="b"', sound),
    ]
    body = b"".join(
        b"--edge\r\nContent-Disposition: form-data; name=" + name + b"\r\n\r\n" + content + b"\r\n"
        for name, content in parts
    )
    head = b"POST /v1/videos HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=edge\r\n"
    return head, body + b"--edge--\r\n"


def chunk(data: bytes) -> bytes:
    """One piece of a chunked body."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def read_until_closed(connection: socket.socket) -> bytes:
    """Everything that the server still says."""
    received = b""
    while data := connection.recv(65536):
        received += data
    return received


def test_endless_body_is_cut_off(server: ApiProcess) -> None:
    """A chunked body without a length ends with 413 at the limit; the answer arrives, memory stays flat."""
    head, body = form(uploads.wav())
    before = server.rss()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(body[: -len(b"\r\n--edge--\r\n")]))
        sent = 0
        try:
            while sent < 20 * LIMIT:
                connection.sendall(chunk(bytes(65536)))
                sent += 65536
        except OSError:  # the server has closed
            pass
        answer = read_until_closed(connection)

    assert answer.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2].rpartition(b"}")[0] + b"}")["code"] == "payload_too_large"
    assert server.rss() - before < 30e6
    assert not server.files_in_the_making()


def test_declared_length_is_refused_without_waiting(server: ApiProcess) -> None:
    """A body that announces too much is refused before it is sent."""
    head, _ = form(b"")
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head + b"Content-Length: 10000000000\r\nExpect: 100-continue\r\n\r\n")
        connection.settimeout(5)
        answer = connection.recv(4096)

    assert answer.startswith(b"HTTP/1.1 413")


def test_stalled_body_is_let_go(server: ApiProcess) -> None:
    """A client that stops in mid-body gets 408 and leaves no file."""
    head, body = form(uploads.wav())
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head + f"Content-Length: {len(body)}\r\n\r\n".encode() + body[:20_000])
        answer = read_until_closed(connection)

    assert answer.startswith(b"HTTP/1.1 408")
    assert not server.files_in_the_making()


def problem_of(answer: bytes) -> tuple[bytes, str]:
    """Status line's beginning and code of an answer that ends the connection."""
    return answer[:12], json.loads(answer[answer.index(b"{") : answer.rindex(b"}") + 1])["code"]


@pytest.mark.parametrize(
    ("framing", "sent", "status", "code"),
    [
        (b"Content-Length: 4000000", b"{", b"HTTP/1.1 413", "payload_too_large"),
        (b"Transfer-Encoding: chunked", chunk(b" " * 70_000), b"HTTP/1.1 413", "payload_too_large"),
        (b"Content-Length: 100", b'{"api_key":', b"HTTP/1.1 408", "request_timeout"),
    ],
    ids=["declared", "chunked", "stalled"],
)
@pytest.mark.parametrize("media_type", [b"application/json", b"multipart/form-data; boundary=edge"])
def test_body_that_is_no_file_is_small_and_prompt(  # noqa: PLR0917
    server: ApiProcess, media_type: bytes, framing: bytes, sent: bytes, status: bytes, code: str
) -> None:
    """What is held in memory before anybody has shown a key may have 64 KB, and no longer pauses than a file."""
    head = b"POST /v1/session HTTP/1.1\r\nHost: x\r\nContent-Type: " + media_type + b"\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head + framing + b"\r\n\r\n" + sent)
        answer = read_until_closed(connection)

    assert problem_of(answer) == (status, code)


def test_client_that_leaves_leaves_nothing(server: ApiProcess) -> None:
    """A connection that breaks in mid-body is forgotten."""
    head, body = form(uploads.wav())
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head + f"Content-Length: {len(body)}\r\n\r\n".encode() + body[:20_000])
        wait_until(lambda: bool(server.files_in_the_making()), what="an upload in progress")

    wait_until(lambda: not server.files_in_the_making(), what="an empty folder of uploads")
    assert answers(f"{server.url}/livez")


def test_events_flow_while_they_happen(server: ApiProcess) -> None:
    """A stream over a socket delivers each event when it happens, and the end of the job ends it."""
    store = open_job_store(ServiceSettings(data_dir=server.data_dir))
    files = {"input_reference": ("a", uploads.jpeg()), "audio": ("b", uploads.wav())}
    video_id = httpx.post(f"{server.url}/v1/videos", data={"prompt": "p"}, files=files).json()["id"]
    names = []
    with httpx.stream("GET", f"{server.url}/v1/videos/{video_id}/events", timeout=20) as reply:
        for line in reply.iter_lines():
            if not line.startswith("event: "):
                continue
            names.append(line.removeprefix("event: "))
            if names == ["video.snapshot"]:
                store.request_cancel(video_id, tenant="default")
    store.close()

    assert names == ["video.snapshot", "video.cancelled"]


def test_memory_stays_small_under_uploads(server: ApiProcess) -> None:
    """After some dozen accepted requests of megabytes the API process is still under 250 MB."""
    sound = uploads.wav(20.0, rate=48_000, channels=2)
    files = {"input_reference": ("a", uploads.jpeg(2000, 1500)), "audio": ("b", sound)}
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for _ in range(12):
            assert client.post("/v1/videos", data={"prompt": "p"}, files=files).status_code == 202

    assert server.rss() < MEMORY


def test_sigterm_ends_it_even_with_an_open_stream(tmp_path: Path) -> None:
    """A stop does not wait for readers of events."""
    with api_process(tmp_path) as server:
        files = {"input_reference": ("a", uploads.jpeg()), "audio": ("b", uploads.wav())}
        video_id = httpx.post(f"{server.url}/v1/videos", data={"prompt": "p"}, files=files).json()["id"]
        with httpx.stream("GET", f"{server.url}/v1/videos/{video_id}/events", timeout=20) as reply:
            next(reply.iter_lines())
            server.process.send_signal(signal.SIGTERM)
            begun = time.monotonic()
            server.process.wait(15)

        assert time.monotonic() - begun < 8


def test_api_does_not_outlive_its_supervisor(tmp_path: Path) -> None:
    """When the process that started it is killed outright, the API ends by itself."""
    port = free_port()
    program = (
        "import os, subprocess, sys, time;"
        "os.environ['KEYVID_PARENT_PID'] = str(os.getpid());"
        f"child = subprocess.Popen([sys.executable, '-m', 'keyvid', 'api', '--port', '{port}',"
        f" '--data-dir', {str(tmp_path)!r}]); print(child.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    wait_until(lambda: answers(f"http://127.0.0.1:{port}/livez"), what="the API's first answer")

    parent.kill()
    parent.wait()
    parent.stdout.close()

    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, what="the API's end")
