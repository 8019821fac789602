"""Waiting, events and downloads over connections that break."""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from keyvid_client import (
    BrokenContent,
    Conflict,
    ConnectionFailed,
    Retries,
    VideoCancelled,
    VideoFailed,
    WaitTimeout,
)
from scripted_service import video_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from scripted_service import Caller

CONTENT = bytes(range(256)) * 40
ETAG = f'"{hashlib.sha256(CONTENT).hexdigest()}"'


class Breaking(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that ends in a broken connection."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        """Send, then break."""
        yield self._content
        raise httpx.ReadError("reset")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The same for asyncio."""
        yield self._content
        raise httpx.ReadError("reset")


def sse(*events: tuple[int, str, dict[str, Any]]) -> bytes:
    """Server-sent events, with a ping between."""
    blocks = [f"id: {seq}\r\nevent: {name}\r\ndata: {json.dumps(data)}\r\n\r\n" for seq, name, data in events]
    return ": ping\r\n\r\n".join(blocks).encode()


def stream(body: bytes, *, breaks: bool = False) -> httpx.Response:
    """One connection of an event stream."""
    headers = {"content-type": "text/event-stream"}
    return (
        httpx.Response(200, headers=headers, stream=Breaking(body))
        if breaks
        else httpx.Response(200, headers=headers, content=body)
    )


def test_events_go_on_where_the_connection_broke(caller: Caller) -> None:
    """Every event comes once, in order, and the stream ends with the video."""
    snapshot = (2, "video.snapshot", video_json(seq=2))
    caller.script.turns += [
        stream(b"retry: 3000\r\n" + sse(snapshot, (3, "video.progress", {"progress": 50})), breaks=True),
        httpx.ConnectError("refused"),
        stream(sse((3, "video.snapshot", video_json(seq=5)), (4, "video.progress", {"progress": 60}))),
        stream(sse((4, "video.snapshot", video_json(seq=5)), (5, "video.completed", {"progress": 100}))),
    ]

    events = caller.do(lambda client: client.events("video_1"))

    asked = [request.headers.get("last-event-id") for request in caller.script.requests]
    assert [(event.seq, event.type) for event in events] == [
        (2, "video.snapshot"),
        (3, "video.progress"),
        (4, "video.progress"),
        (5, "video.completed"),
    ]
    assert asked == [None, "3", "3", "4"]
    assert all(pause >= 3 for pause in caller.pauses)


def test_events_of_a_finished_video_are_its_snapshot(caller: Caller) -> None:
    """Nothing follows the end, and a reader who saw it gets nothing."""
    done = video_json(seq=9, status="completed")
    caller.script.turns += [stream(sse((9, "video.snapshot", done))), httpx.Response(204)]

    assert [event.seq for event in caller.do(lambda client: client.events("video_1"))] == [9]
    assert caller.do(lambda client: client.events("video_1", after=9)) == []


def test_events_end_in_an_error_when_nobody_answers(caller: Caller) -> None:
    """A stream that cannot go on says so instead of ending as if all were told."""
    caller.script.turns += [stream(sse((2, "video.snapshot", video_json(seq=2)))), httpx.ConnectError("refused")]

    with pytest.raises(ConnectionFailed):
        caller.do(lambda client: client.events("video_1"), retries=Retries(tries=2))


def test_wait_polls_as_the_service_asks(caller: Caller) -> None:
    """Unchanged answers cost no progress call; the pause is the service's."""
    headers = {"etag": 'W/"3"', "openai-poll-after-ms": "250"}
    caller.script.turns += [
        httpx.Response(200, json=video_json(progress=40), headers=headers),
        httpx.Response(304, headers=headers),
        httpx.ReadTimeout("slow"),
        httpx.Response(200, json=video_json(status="completed", progress=100)),
    ]
    seen: list[int] = []

    video = caller.do(lambda client: client.wait("video_1", on_progress=lambda video: seen.append(video.progress)))

    asked = [request.headers.get("if-none-match") for request in caller.script.requests]
    assert (video.status, seen) == ("completed", [40, 100])
    assert asked == [None, 'W/"3"', 'W/"3"', 'W/"3"']
    assert caller.pauses[:2] == [0.25, 0.25]


def test_wait_raises_what_became_of_the_video(caller: Caller) -> None:
    """A failed and a cancelled video are errors that hold it."""
    reason = {"code": "out_of_memory", "message": "Too large."}
    caller.script.turns += [
        httpx.Response(200, json=video_json(status="failed", error=reason)),
        httpx.Response(200, json=video_json(status="cancelled")),
    ]

    with pytest.raises(VideoFailed, match="out_of_memory: Too large") as failed:
        caller.do(lambda client: client.wait("video_1"))
    with pytest.raises(VideoCancelled):
        caller.do(lambda client: client.wait("video_1"))
    assert failed.value.video.error is not None


def test_wait_ends_in_time(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the timeout the error says how far the video is; no pause goes beyond it."""
    clock = iter([0.0, 0.0, 1.6, 2.1])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock, 3.0))
    caller.script.turns += [httpx.Response(200, json=video_json()) for _ in range(3)]

    with pytest.raises(WaitTimeout, match=r"in_progress \(40 %\) after 2 s"):
        caller.do(lambda client: client.wait("video_1", timeout_s=2))


def test_download_goes_on_where_it_broke_off(caller: Caller, tmp_path: Path) -> None:
    """The rest is asked for by range, if it is still the same content."""

    def rest(request: httpx.Request) -> httpx.Response:
        assert (request.headers["range"], request.headers["if-range"]) == ("bytes=1000-", ETAG)
        return httpx.Response(206, content=CONTENT[1000:], headers={"etag": ETAG})

    caller.script.turns += [httpx.Response(200, stream=Breaking(CONTENT[:1000]), headers={"etag": ETAG}), rest]

    path = caller.do(lambda client: client.download("video_1", tmp_path / "dog.mp4"))

    assert path.read_bytes() == CONTENT
    assert [file.name for file in tmp_path.iterdir()] == ["dog.mp4"]


def test_download_begins_anew_where_the_content_changed(caller: Caller) -> None:
    """An answer with the whole replaces what had arrived."""
    caller.script.turns += [
        httpx.Response(200, stream=Breaking(b"another"), headers={"etag": '"x"'}),
        httpx.Response(200, content=CONTENT, headers={"etag": ETAG}),
    ]

    assert caller.do(lambda client: client.content("video_1")) == CONTENT


def test_broken_download_leaves_nothing(caller: Caller, tmp_path: Path) -> None:
    """Content that is not what the service names is an error, and an old file stays as it was."""
    (tmp_path / "dog.mp4").write_bytes(b"old")
    caller.script.turns += [
        httpx.Response(200, content=b"changed", headers={"etag": ETAG}),
        httpx.Response(409, json={"code": "not_ready"}),
    ]

    with pytest.raises(BrokenContent):
        caller.do(lambda client: client.download("video_1", tmp_path / "dog.mp4"))
    with pytest.raises(Conflict):
        caller.do(lambda client: client.download("video_1", tmp_path / "new.mp4"))
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("dog.mp4", b"old")]
