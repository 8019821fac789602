"""Previews and stills as they leave the runner."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
from PIL import Image

from tests.servers import wait_until
from workers.errors import StorageUnavailable
from workers.jobs import JobStage
from workers.previews import Previews
from workers.runner_messages import Previewed
from workers.stills import Stills
from workers.storage_local import LocalBlobStore

if TYPE_CHECKING:
    from pathlib import Path

    from workers.runner_messages import Report

KEY = "outputs/video_a/1/preview.jpg"
PIXELS = np.full((16, 32, 3), 200, np.uint8)


@pytest.fixture
def storage(tmp_path: Path) -> LocalBlobStore:
    """An empty storage."""
    return LocalBlobStore(tmp_path, signing_key=b"key")


def test_picture_is_stored_and_then_told(storage: LocalBlobStore) -> None:
    """Whoever hears of a preview finds it: a JPEG of the size that was told."""
    told: list[Report] = []
    with Previews(KEY, storage, told.append) as previews:
        assert previews.is_due()
        previews.show(JobStage.KEYFRAMES, 8, PIXELS)
        wait_until(lambda: bool(told), what="a preview")

    assert told == [Previewed(JobStage.KEYFRAMES, 8, width=32, height=16)]
    with Image.open(io.BytesIO(storage.get_bytes(KEY))) as picture:
        assert (picture.format, picture.size) == ("JPEG", (32, 16))


def test_no_more_than_two_a_second_are_due(storage: LocalBlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one is due half a second after the last one was taken."""
    now = [100.0]
    monkeypatch.setattr("workers.previews.time.monotonic", lambda: now[0])
    told: list[Report] = []
    with Previews(KEY, storage, told.append) as previews:
        previews.show(JobStage.KEYFRAMES, 8, PIXELS)
        pause = threading.Event()
        while previews._picture is not None:  # until it is stored; the clock stands still meanwhile
            pause.wait(0.01)
        now[0] += 0.4
        assert not previews.is_due()
        now[0] += 0.11
        assert previews.is_due()


def test_job_never_waits_for_slow_storage(storage: LocalBlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a picture is on its way none is due, and what could not be stored is told of to nobody."""
    go_on = threading.Event()
    told: list[Report] = []

    def fail(*_: object, **__: object) -> None:
        go_on.wait(10)
        raise StorageUnavailable

    monkeypatch.setattr(LocalBlobStore, "put_bytes", fail)
    monkeypatch.setattr("workers.previews.PERIOD_S", 0.0)
    with Previews(KEY, storage, told.append) as previews:
        previews.show(JobStage.KEYFRAMES, 8, PIXELS)
        assert not previews.is_due()
        go_on.set()
        wait_until(previews.is_due, what="the next turn")

    assert told == []


def test_end_of_the_job_waits_for_no_preview(storage: LocalBlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture that storage still holds up when the job ends is told of to nobody, however it ends."""
    go_on, stored = threading.Event(), threading.Event()
    told: list[Report] = []

    def hang(*_: object, **__: object) -> None:
        go_on.wait(30)
        stored.set()

    monkeypatch.setattr(LocalBlobStore, "put_bytes", hang)
    monkeypatch.setattr("workers.previews.LINGER_S", 0.0)
    with Previews(KEY, storage, told.append) as previews:
        previews.show(JobStage.KEYFRAMES, 8, PIXELS)

    assert not stored.is_set()
    go_on.set()
    previews._thread.join(30)
    assert told == []


def test_spritesheet_holds_the_keyframes_in_rows_of_four(tmp_path: Path) -> None:
    """Twelve keyframes make three rows of half-size tiles in their order; the thumbnail is the first frame."""
    keyframes = tuple(range(0, 48, 4))
    stills = Stills(keyframes)
    for index in range(48):
        stills.look(index, av.VideoFrame.from_ndarray(np.full((32, 64, 3), 5 * index, np.uint8), format="rgb24"))

    stills.save_spritesheet(tmp_path / "sheet.jpg")
    stills.save_thumbnail(tmp_path / "first.jpg")

    with Image.open(tmp_path / "sheet.jpg") as sheet, Image.open(tmp_path / "first.jpg") as first:
        assert (sheet.size, first.size) == ((4 * 32, 3 * 16), (64, 32))
        for number, index in enumerate(keyframes):
            row, column = divmod(number, 4)
            tone = sheet.getpixel((column * 32 + 16, row * 16 + 8))
            assert abs(tone[0] - 5 * index) < 6
