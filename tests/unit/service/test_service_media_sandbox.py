"""Sandboxes: one is ready before it is asked for, and none is used twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
import pytest

from service.media.limits import ProbeLimits
from service.media.probe import ProbeItem, ProbeRequest
from service.media.sandbox import Sandboxes
from tests import uploads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def sandboxes() -> Iterator[Sandboxes]:
    """Sandboxes with one in reserve."""
    made = Sandboxes()
    made.keep_spare()
    yield made
    made.close()


def spare_of(sandboxes: Sandboxes) -> psutil.Process:
    """The child in reserve."""
    assert sandboxes._spare is not None
    return psutil.Process(sandboxes._spare.pid)


def request(folder: Path) -> ProbeRequest:
    """To check a picture and a sound."""
    (folder / "a").write_bytes(uploads.jpeg())
    (folder / "b").write_bytes(uploads.wav(0.5))
    items = (
        ProbeItem("image", "JPEG", str(folder / "a"), str(folder / "a.canonical")),
        ProbeItem("audio", "wav", str(folder / "b"), str(folder / "b.canonical")),
    )
    return ProbeRequest(items, ProbeLimits())


def test_spare_serves_one_request_and_is_replaced(sandboxes: Sandboxes, tmp_path: Path) -> None:
    """The child that waited does the work and ends; the next one waits already."""
    first = spare_of(sandboxes)

    reports = sandboxes.run(request(tmp_path))

    assert [sorted(report) for report in reports] == [["height", "width"], ["channels", "duration_s", "sample_rate"]]
    assert not first.is_running()
    assert spare_of(sandboxes).pid != first.pid


def test_spare_that_died_is_passed_over(sandboxes: Sandboxes, tmp_path: Path) -> None:
    """Its death while it waited costs a request nothing but the time of a fresh one."""
    spare = spare_of(sandboxes)
    spare.kill()
    spare.wait(60)

    assert len(sandboxes.run(request(tmp_path))) == 2


def test_spare_ends_with_whoever_keeps_it(sandboxes: Sandboxes) -> None:
    """Closing leaves no process behind, and neither does the end of the process that started it."""
    spare = spare_of(sandboxes)
    assert sandboxes._spare is not None
    assert sandboxes._spare.stdin is not None

    sandboxes._spare.stdin.close()  # as the kernel does for a dead parent

    assert spare.wait(60) == 0
    sandboxes.close()
