"""Sandboxes: a fork server stands ready, and each request has a child of its own that nothing else can reach."""

from __future__ import annotations

import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from service.errors import Busy
from service.media import sandbox
from service.media.limits import ProbeLimits
from service.media.probe import ProbeItem, ProbeRequest
from service.media.sandbox import Sandboxes
from tests import uploads

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUEST = ProbeRequest((ProbeItem("image", "JPEG"), ProbeItem("audio", "wav")), ProbeLimits())
PATIENCE_S = 60.0

DECODERS = """
import os, time
from service.media import forkserver
def decode(source, target, decoder, limits):
    {decoding}
forkserver.load_canonicalizers = lambda: {{"image": decode, "audio": decode}}
forkserver.WALL_SECONDS = {wall_seconds}
forkserver.main()
"""


def server_with(decoding: str, *, wall_seconds: float = 60.0) -> tuple[str, ...]:
    """The command of a fork server whose decoders do something else."""
    return (sys.executable, "-I", "-c", DECODERS.format(decoding=decoding, wall_seconds=wall_seconds))


@pytest.fixture
def sandboxes() -> Iterator[Sandboxes]:
    """Sandboxes of this test alone."""
    made = Sandboxes()
    yield made
    made.close()


@pytest.fixture
def files(tmp_path: Path) -> list[tuple[Path, Path]]:
    """A picture and a sound, with where their canonical forms go."""
    return upload(tmp_path)


def upload(folder: Path) -> list[tuple[Path, Path]]:
    """Put a picture and a sound into a folder."""
    folder.mkdir(exist_ok=True)
    (folder / "a").write_bytes(uploads.jpeg())
    (folder / "b").write_bytes(uploads.wav(0.5))
    return [(folder / name, folder / f"{name}.canonical") for name in ("a", "b")]


def server_of(sandboxes: Sandboxes) -> psutil.Process:
    """The fork server."""
    assert sandboxes._server is not None
    return psutil.Process(sandboxes._server.pid)


def children_of(sandboxes: Sandboxes, count: int) -> list[psutil.Process]:
    """The sandboxes that work now, once there are that many."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if sandboxes._server is not None and len(children := server_of(sandboxes).children()) == count:
            return children
        time.sleep(0.01)
    raise AssertionError(f"there were never {count} children")


def test_one_fork_server_serves_many_requests(sandboxes: Sandboxes, files: list[tuple[Path, Path]]) -> None:
    """It stays, single-threaded, and each of its children is gone when its request is answered."""
    sandboxes.start()
    server = server_of(sandboxes)

    for _ in range(3):
        reports = sandboxes.run(REQUEST, files)

        assert [sorted(report) for report in reports] == [
            ["height", "width"],
            ["channels", "duration_s", "sample_rate"],
        ]
        assert server.children() == []
    assert server_of(sandboxes).pid == server.pid
    assert server.num_threads() == 1


def test_requests_at_the_same_time_are_answered_apart(sandboxes: Sandboxes, tmp_path: Path) -> None:
    """Many threads ask at once, and each is told of its own files."""
    widths = range(40, 52)
    request = ProbeRequest((ProbeItem("image", "JPEG"),), ProbeLimits())

    def width(number: int) -> int:
        source = tmp_path / str(number)
        source.write_bytes(uploads.jpeg(number, 48))
        (report,) = sandboxes.run(request, [(source, source.with_suffix(".canonical"))])
        return int(report["width"])

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(width, widths)) == list(widths)


def test_requests_take_turns(
    sandboxes: Sandboxes, files: list[tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are never more children than may work at once; the next one begins when one has ended."""
    monkeypatch.setattr(sandbox, "SERVER_COMMAND", server_with("time.sleep(60)"))
    sandboxes.start(at_once=1)
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(sandboxes.run, REQUEST, files) for _ in range(2)]
        for _ in answers:
            (child,) = children_of(sandboxes, 1)
            child.kill()
            child.wait(PATIENCE_S)

        assert [answer.result(PATIENCE_S) for answer in answers] == [[], []]


def test_dead_fork_server_is_replaced(sandboxes: Sandboxes, files: list[tuple[Path, Path]]) -> None:
    """Its death while nobody needed it costs a request nothing but the time of a fresh one."""
    sandboxes.start()
    server = server_of(sandboxes)
    server.kill()

    assert len(sandboxes.run(REQUEST, files)) == 2
    assert server_of(sandboxes).pid != server.pid


def test_death_of_the_fork_server_in_a_request_costs_nobody_anything(
    sandboxes: Sandboxes, files: list[tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child that worked dies with it, and its request is done by another one."""
    with monkeypatch.context() as patched, ThreadPoolExecutor(1) as pool:
        patched.setattr(sandbox, "SERVER_COMMAND", server_with("time.sleep(60)"))
        answer = pool.submit(sandboxes.run, REQUEST, files)
        (child,) = children_of(sandboxes, 1)
        patched.undo()
        server_of(sandboxes).kill()

        assert len(answer.result(PATIENCE_S)) == 2
    child.wait(PATIENCE_S)


def test_nothing_is_left_when_who_keeps_it_ends(
    sandboxes: Sandboxes, files: list[tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal to the whole group stops no request; the end of who asks ends the fork server and its children."""
    monkeypatch.setattr(sandbox, "SERVER_COMMAND", server_with("time.sleep(60)"))
    monkeypatch.setattr(sandbox, "ATTEMPTS", 1)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(sandboxes.run, REQUEST, files)
        (child,) = children_of(sandboxes, 1)
        server = server_of(sandboxes)
        server.send_signal(signal.SIGTERM)
        server.send_signal(signal.SIGINT)

        assert server.is_running()
        assert sandboxes._control is not None
        sandboxes._control.close()  # as the kernel does for a dead parent

        server.wait(PATIENCE_S)
        child.wait(PATIENCE_S)
        assert isinstance(answer.exception(PATIENCE_S), Busy)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_child_holds_nothing_but_its_own_files(
    sandboxes: Sandboxes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No descriptor, environment or secret of the API, and no file of a request that is decoded beside it."""
    monkeypatch.setattr(sandbox, "SERVER_COMMAND", server_with("time.sleep(60)"))
    monkeypatch.setattr(sandbox, "ATTEMPTS", 1)
    monkeypatch.setenv("KEYVID_SIGNING_SECRET", "canary")
    folders = [tmp_path / "one", tmp_path / "two"]
    with ThreadPoolExecutor(2) as pool, (tmp_path / "inheritable").open("wb") as own:
        os.set_inheritable(own.fileno(), True)
        answers = [pool.submit(sandboxes.run, REQUEST, upload(folder)) for folder in folders]
        children = children_of(sandboxes, 2)
        held = []
        deadline = time.monotonic() + PATIENCE_S
        for child in children:
            while True:
                names = _descriptors(child)
                own_files = {name for name in names if str(tmp_path) in name}
                if len(own_files) == 4 or time.monotonic() > deadline:
                    break
                time.sleep(0.01)  # it has yet to let go of what the fork server has, and to receive its files
            held.append(own_files)

            assert [name for name in names if name not in held[-1] and name != os.devnull] == ["socket"]
            assert child.environ().keys() <= {"PATH", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"}
            assert child.num_threads() == 1
        sandboxes.close()
        assert all(isinstance(answer.exception(PATIENCE_S), Busy) for answer in answers)
    assert sorted(held, key=min) == [{str(path) for pair in upload(folder) for path in pair} for folder in folders]


def _descriptors(process: psutil.Process) -> list[str]:
    """What a process has open: paths, and `socket`; nothing while it closes some of them."""
    folder = Path("/proc", str(process.pid), "fd")
    try:
        return [str(link.readlink()).partition(":")[0] for link in folder.iterdir()]
    except FileNotFoundError:
        return []


@pytest.mark.parametrize(
    "decoding",
    [
        "os.abort()",
        "raise KeyError('x')",
        "os.write(0, b'{\"width\"')",
        "os.write(0, b'\\xff\\n[1]\\n7\\n')\n    os.abort()",
        "os.write(0, b'[' * 60_000 + b'\\n')",
        "while True: os.write(0, bytes(1000))",
    ],
    ids=["crash", "error", "half a line", "no JSON", "deep JSON", "endless answer"],
)
def test_broken_decoder_reports_nothing(
    sandboxes: Sandboxes, files: list[tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch, decoding: str
) -> None:
    """However a decoder ends, or whatever it writes once it was taken over, its file has no report, and that is all."""
    monkeypatch.setattr(sandbox, "SERVER_COMMAND", server_with(decoding))

    assert sandboxes.run(REQUEST, files) == []
    assert server_of(sandboxes).is_running()


def test_sandbox_that_takes_too_long_is_ended(
    sandboxes: Sandboxes, files: list[tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that waits without end, and computes nothing, is killed; its request may come again."""
    monkeypatch.setattr(sandbox, "SERVER_COMMAND", server_with("time.sleep(60)", wall_seconds=0.2))

    with pytest.raises(Busy):
        sandboxes.run(REQUEST, files)

    assert server_of(sandboxes).children() == []


def test_fork_server_that_cannot_start_refuses_no_file(
    sandboxes: Sandboxes, files: list[tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where sandboxes are broken the caller may come again: it is not said that the file was bad."""
    monkeypatch.setattr(sandbox, "SERVER_COMMAND", (sys.executable, "-c", "raise SystemExit(1)"))

    with pytest.raises(Busy):
        sandboxes.run(REQUEST, files)
