"""The events of a video over HTTP, as they happen and replayed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from http_service import Service, events_of

from service.videos.service import VideoService
from workers.jobs import Failure, JobStage, Keyframes

if TYPE_CHECKING:
    import pytest

    from workers.jobs import JobEvent


def test_events_begin_with_a_snapshot_and_end_with_the_job(service: Service) -> None:
    """A stream opened early sees everything in order, numbered without gaps, and closes by itself."""
    video_id = service.create()["id"]
    streaming = threading.Event()

    def work() -> None:
        streaming.wait(10)
        lease = service.claim()
        service.store.report(lease, stage=JobStage.LOCALIZATION, step=1, total=1, progress=5)
        service.store.save_checkpoint(
            lease,
            stage=JobStage.LOCALIZATION,
            key="checkpoints/x",
            sha256="0" * 64,
            keyframes=Keyframes((0, 4), (0.0, 1.0), (4,), (), "keyvid-mini"),
            engine_digest="d",
        )
        service.store.fail(lease, Failure("internal", "It broke."))

    worker = threading.Thread(target=work)
    worker.start()
    streaming.set()
    events = events_of(service.client.get(f"/v1/videos/{video_id}/events"))
    worker.join()

    assert events[0][1] == "video.snapshot"
    assert events[-1][1] == "video.failed"
    numbers = [number for number, _, _ in events]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert all(data["id"] == video_id for _, _, data in events)


def test_progress_tells_how_long_it_will_take(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a video's stages were measured, events of the next one tell their step and the seconds that are left."""
    told = threading.Event()
    forecast = VideoService.eta_after

    def noticed(videos: VideoService, event: JobEvent, *, model: str) -> float | None:
        left_s = forecast(videos, event, model=model)
        if left_s is not None:
            told.set()
        return left_s

    monkeypatch.setattr(VideoService, "eta_after", noticed)
    service.create()
    first = service.claim()
    for step in range(2):
        service.store.report(first, stage=JobStage.KEYFRAMES, step=step, total=4, progress=10)
    service.complete(first)
    video_id = service.create()["id"]

    def work() -> None:
        lease = service.claim()
        for step in range(1000):  # until the reader has caught up with the worker
            service.store.report(lease, stage=JobStage.KEYFRAMES, step=step, total=1000, progress=10)
            if told.wait(0.05):
                break
        service.complete(lease)

    worker = threading.Thread(target=work)
    worker.start()
    events = events_of(service.client.get(f"/v1/videos/{video_id}/events"))
    worker.join()

    steps = [data for _, name, data in events if name == "video.progress"]
    assert all(data["total"] == 1000 and data["stage"] == "keyframes" for data in steps)
    assert any(data.get("eta_seconds", -1) >= 0 for data in steps)


def test_reader_that_comes_back_gets_what_it_missed(service: Service) -> None:
    """`Last-Event-ID` replays from there; a reader that has seen the end gets 204 and stops."""
    video_id = service.create()["id"]
    service.finish()
    path = f"/v1/videos/{video_id}/events"

    fresh = events_of(service.client.get(path))
    replayed = events_of(service.client.get(path, headers={"Last-Event-ID": "1"}))
    done = service.client.get(path, headers={"Last-Event-ID": str(fresh[0][0])})

    assert [name for _, name, _ in fresh] == ["video.snapshot"]
    assert fresh[0][2]["status"] == "completed"
    assert replayed[0][:2] == (1, "video.snapshot")
    assert [number for number, _, _ in replayed[1:]] == list(range(2, fresh[0][0] + 1))
    assert replayed[-1][1] == "video.completed"
    assert done.status_code == 204


def test_long_history_is_replayed_without_pauses(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is many batches behind an ended video is told all of it at once."""

    def never(*_: object) -> None:
        raise AssertionError("waits for news of a video that has ended")

    video_id = service.create()["id"]
    service.finish()
    monkeypatch.setattr("service.videos.events.REPLAY_BATCH", 1)
    monkeypatch.setattr("service.videos.events._next_events", never)

    told = events_of(service.client.get(f"/v1/videos/{video_id}/events?after=0"))

    assert [seq for seq, name, _ in told if name != "video.snapshot"] == list(range(1, len(told)))
    assert told[-1][1] == "video.completed"


def test_event_stream_asks_proxies_not_to_hold_it_back(service: Service) -> None:
    """The headers that make events arrive when they happen."""
    video_id = service.create()["id"]
    service.client.post(f"/v1/videos/{video_id}/cancel")

    reply = service.client.get(f"/v1/videos/{video_id}/events")

    assert reply.headers["content-type"].startswith("text/event-stream")
    assert (reply.headers["cache-control"], reply.headers["x-accel-buffering"]) == ("no-cache", "no")
