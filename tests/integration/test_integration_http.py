"""A video's way through the HTTP API, with the real store and storage; the worker's side is played by hand."""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import openai
import pytest
import structlog
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import ServiceSettings
from tests import uploads
from workers.job_store import JobStore, open_job_store
from workers.jobs import Failure, JobStage, Keyframes, Lease, Output
from workers.storage import BlobStore, open_storage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

MP4 = b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 8
JPEG = uploads.jpeg()
WAV = uploads.wav(1.5)


@dataclass
class Service:
    """A running API, and what a worker would reach."""

    client: TestClient
    store: JobStore
    storage: BlobStore

    def create(self, **fields: str) -> dict[str, Any]:
        """Send a good request; answers the video object."""
        reply = self.post(prompt="a dog barks", **fields)
        assert reply.status_code == 202, reply.text
        body: dict[str, Any] = reply.json()
        return body

    def post(self, **fields: str) -> httpx.Response:
        """Send a picture and a sound."""
        files = {"input_reference": ("cat.jpg", JPEG), "audio": ("meow.wav", WAV)}
        return self.client.post("/v1/videos", data=fields, files=files)

    def claim(self) -> Lease:
        """Begin the next job, as a worker does."""
        claimed = self.store.claim("worker-1", model="keyvid-mini", lease_s=60)
        assert claimed is not None
        return claimed[1]

    def finish(self) -> str:
        """Make the next job a finished video; answers its id."""
        return self.complete(self.claim())

    def complete(self, lease: Lease) -> str:
        """End a claimed job with a video; answers its id."""
        key = f"outputs/{lease.job_id}/{lease.fence}/video.mp4"
        thumbnail_key = f"outputs/{lease.job_id}/{lease.fence}/thumbnail.jpg"
        self.storage.put_bytes(key, MP4, content_type="video/mp4")
        self.storage.put_bytes(thumbnail_key, JPEG, content_type="image/jpeg")
        output = Output(
            key=key,
            sha256=hashlib.sha256(MP4).hexdigest(),
            bytes=len(MP4),
            frames=48,
            fps=24,
            width=512,
            height=320,
            duration_s=2.0,
            thumbnail_key=thumbnail_key,
        )
        self.store.complete(lease, output, usage={"queue_s": 0.5}, engine={"device": "cpu"})
        return lease.job_id


@contextmanager
def serving(settings: ServiceSettings) -> Iterator[Service]:
    """A service with its own connections to the same database and storage."""
    store = open_job_store(settings)
    with TestClient(create_app(settings)) as client:
        yield Service(client, store, open_storage(settings))
    store.close()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service with nothing in it."""
    with serving(ServiceSettings(data_dir=tmp_path, event_poll_seconds=0.02)) as running:
        yield running


def events_of(reply: httpx.Response) -> list[tuple[int, str, dict[str, Any]]]:
    """Id, name and data of server-sent events."""
    found = []
    for block in reply.text.replace("\r\n", "\n").strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if lines:
            found.append((int(lines["id"]), lines["event"], json.loads(lines["data"])))
    return found


def test_accepted_video_says_what_it_will_be_made_from(service: Service) -> None:
    """202 comes with a place to look, the knobs, and the part of the sound that is used."""
    reply = service.post(prompt="a dog barks", seed="5", audio_start="0.5", guidance_audio="2", metadata='{"a": "b"}')

    video = reply.json()
    assert reply.status_code == 202
    assert reply.headers["location"] == f"/v1/videos/{video['id']}"
    assert (video["object"], video["status"], video["stage"], video["progress"]) == ("video", "queued", "queued", 0)
    assert (video["seed"], video["seconds"], video["size"], video["metadata"]) == (5, "2", "512x320", {"a": "b"})
    assert video["parameters"]["guidance_audio"] == 2.0
    assert video["parameters"]["guidance_text"] is None
    assert video["queue_position"] == 1
    audio, image = video["input"]["audio"], video["input"]["image"]
    assert image == {"sha256": hashlib.sha256(JPEG).hexdigest(), "width": 64, "height": 48, "bytes": len(JPEG)}
    assert (audio["duration_s"], audio["used_start_s"], audio["used_end_s"], audio["padded_s"]) == (1.5, 0.5, 1.5, 1.0)
    assert [stage["name"] for stage in video["stages"]] == ["localization", "keyframes", "interpolation", "mux"]


def test_chosen_keyframes_reach_the_worker(service: Service) -> None:
    """The caller's frames and the reference's defects are told back, and stand in the job."""
    frames = list(range(0, 48, 4))

    video = service.create(keyframes=",".join(map(str, frames)), reference_compat="true")

    request = service.store.get(video["id"], tenant="default").request
    assert (video["parameters"]["keyframes"], video["parameters"]["reference_compat"]) == (frames, True)
    assert (request.keyframes, request.reference_compat) == (tuple(frames), True)
    assert service.create()["parameters"]["keyframes"] is None


def test_motion_strength_reaches_the_worker(service: Service) -> None:
    """How far things move is told back and stands in the job; by itself it is the model's own."""
    video = service.create(motion_strength="1.5")

    assert video["parameters"]["motion_strength"] == 1.5
    assert service.store.get(video["id"], tenant="default").request.motion_strength == 1.5
    assert service.create()["parameters"]["motion_strength"] == 1


def test_seed_is_picked_and_told(service: Service) -> None:
    """Without a seed each video gets one of its own."""
    assert service.create()["seed"] != service.create()["seed"]


def test_job_holds_canonical_inputs(service: Service) -> None:
    """A worker finds an upright PNG and a PCM WAV under the hashes of their own bytes."""
    video = service.create()

    request = service.store.get(video["id"], tenant="default").request
    for item, magic in ((request.image, b"\x89PNG"), (request.audio, b"RIFF")):
        blob = service.storage.get_bytes(item.key)
        assert blob.startswith(magic)
        assert item.key == f"inputs/{hashlib.sha256(blob).hexdigest()}"


def test_poll_with_an_etag_is_304_until_something_changes(service: Service) -> None:
    """Polling costs nothing while nothing happens, and says when to come again."""
    path = f"/v1/videos/{service.create()['id']}"
    first = service.client.get(path)
    again = service.client.get(path, headers={"If-None-Match": first.headers["etag"]})
    lease = service.claim()
    service.store.report(lease, stage=JobStage.KEYFRAMES, step=1, total=4, progress=30)
    changed = service.client.get(path, headers={"If-None-Match": first.headers["etag"]})

    assert (again.status_code, again.content) == (304, b"")
    assert first.headers["openai-poll-after-ms"] == "1000"
    assert first.headers["retry-after"] == "1"
    assert changed.status_code == 200
    assert (changed.json()["status"], changed.json()["stage"], changed.json()["progress"]) == (
        "in_progress",
        "keyframes",
        30,
    )
    assert changed.json()["queue_position"] is None


def test_finished_video_can_be_downloaded(service: Service) -> None:
    """The content comes whole, in ranges, and as a thumbnail, with the file's own hash as its validator."""
    video_id = service.create()["id"]
    service.finish()

    video = service.client.get(f"/v1/videos/{video_id}").json()
    whole = service.client.get(f"/v1/videos/{video_id}/content")
    part = service.client.get(f"/v1/videos/{video_id}/content", headers={"Range": "bytes=0-1"})
    thumbnail = service.client.get(f"/v1/videos/{video_id}/content?variant=thumbnail")

    assert (video["status"], video["progress"], video["output"]["frames"]) == ("completed", 100, 48)
    assert (whole.content, whole.headers["content-type"]) == (MP4, "video/mp4")
    assert whole.headers["etag"] == f'"{video["output"]["sha256"]}"'
    assert f"{video_id}.mp4" in whole.headers["content-disposition"]
    assert (part.status_code, part.content) == (206, MP4[:2])
    assert (thumbnail.content, thumbnail.headers["content-type"]) == (JPEG, "image/jpeg")


def test_content_url_works_alone_and_expires(service: Service, tmp_path: Path) -> None:
    """A signed link needs nothing else; a changed one, and one that has expired, lead nowhere."""
    service.create()
    video_id = service.finish()
    link = service.client.get(f"/v1/videos/{video_id}/content-url").json()

    reply = service.client.get(link["url"])
    assert (reply.content, reply.headers["content-type"]) == (MP4, "video/mp4")
    assert link["url"].startswith("http://testserver/v1/blobs/outputs/")
    for forged in (
        link["url"].replace("expires=", "expires=9"),
        link["url"].replace("video.mp4?", "thumbnail.jpg?"),
        link["url"][:-1] + ("0" if link["url"][-1] != "0" else "1"),
        "/v1/blobs/../keyvid.db?expires=1&signature=x",
        "/v1/blobs/%2e%2e/keyvid.db?expires=1&signature=x",
    ):
        assert service.client.get(forged).status_code == 404


def test_content_before_the_end_is_409(service: Service) -> None:
    """Asking too early is told apart from asking wrongly, and clients are told not to repeat by themselves."""
    reply = service.client.get(f"/v1/videos/{service.create()['id']}/content")

    assert (reply.status_code, reply.json()["code"]) == (409, "not_ready")
    assert reply.headers["x-should-retry"] == "false"
    assert reply.headers["content-type"] == "application/problem+json"


def test_failed_video_says_why(service: Service) -> None:
    """A failure has its code and words, and there is no content."""
    video_id = service.create()["id"]
    service.store.fail(service.claim(), Failure("out_of_memory", "The device ran out of memory."))

    video = service.client.get(f"/v1/videos/{video_id}").json()
    assert video["status"] == "failed"
    assert video["error"] == {"code": "out_of_memory", "message": "The device ran out of memory."}
    assert service.client.get(f"/v1/videos/{video_id}/content").status_code == 409


def test_queued_video_is_cancelled_at_once(service: Service) -> None:
    """Nobody works on it: the answer is final, and asking again changes nothing."""
    path = f"/v1/videos/{service.create()['id']}/cancel"

    first, again = service.client.post(path), service.client.post(path)

    assert (first.status_code, first.json()["status"]) == (200, "cancelled")
    assert (again.status_code, again.json()["seq"]) == (200, first.json()["seq"])


def test_running_video_is_asked_to_stop(service: Service) -> None:
    """The answer says that the wish is known; the worker makes it true."""
    video_id = service.create()["id"]
    lease = service.claim()

    reply = service.client.post(f"/v1/videos/{video_id}/cancel")

    assert reply.status_code == 202
    assert (reply.json()["status"], reply.json()["cancel_requested_at"] is None) == ("in_progress", False)
    service.store.cancelled(lease)
    assert service.client.get(f"/v1/videos/{video_id}").json()["status"] == "cancelled"


def test_deleted_video_is_gone(service: Service) -> None:
    """After a delete every way to the video is 404."""
    service.create()
    video_id = service.finish()

    reply = service.client.delete(f"/v1/videos/{video_id}")

    assert reply.json() == {"id": video_id, "object": "video.deleted", "deleted": True}
    for method, path in (("GET", ""), ("GET", "/content"), ("GET", "/events"), ("POST", "/cancel"), ("DELETE", "")):
        assert service.client.request(method, f"/v1/videos/{video_id}{path}").status_code == 404, path
    assert service.client.get("/v1/videos").json()["data"] == []


def test_list_is_paged_without_gaps(service: Service) -> None:
    """Pages follow each other by id in either order, and can be narrowed by status."""
    ids = [service.create()["id"] for _ in range(5)]
    service.client.post(f"/v1/videos/{ids[2]}/cancel")

    first = service.client.get("/v1/videos?limit=2").json()
    second = service.client.get(f"/v1/videos?limit=3&after={first['last_id']}").json()
    oldest = service.client.get("/v1/videos?limit=1&order=asc").json()
    cancelled = service.client.get("/v1/videos?status=cancelled").json()

    assert [video["id"] for video in first["data"] + second["data"]] == ids[::-1]
    assert (first["has_more"], second["has_more"], first["first_id"]) == (True, False, ids[4])
    assert oldest["data"][0]["id"] == ids[0]
    assert [video["id"] for video in cancelled["data"]] == [ids[2]]


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "order=up", "status=done", "after=video_unknown"])
def test_bad_list_query_is_422(service: Service, query: str) -> None:
    """A query that means nothing is not ignored."""
    assert service.client.get(f"/v1/videos?{query}").status_code == 422


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


def test_event_stream_asks_proxies_not_to_hold_it_back(service: Service) -> None:
    """The headers that make events arrive when they happen."""
    video_id = service.create()["id"]
    service.client.post(f"/v1/videos/{video_id}/cancel")

    reply = service.client.get(f"/v1/videos/{video_id}/events")

    assert reply.headers["content-type"].startswith("text/event-stream")
    assert (reply.headers["cache-control"], reply.headers["x-accel-buffering"]) == ("no-cache", "no")


def test_sound_can_be_sent_first(service: Service) -> None:
    """A client that can send one file at a time sends the sound as a file and names it in the form."""
    file = service.client.post("/v1/files", data={"purpose": "user_data"}, files={"file": ("../a.wav", WAV)}).json()
    reply = service.client.post(
        "/v1/videos",
        data={"prompt": "a dog barks", "audio_file_id": file["id"]},
        files={"input_reference": ("cat.jpg", JPEG)},
    )

    assert (file["object"], file["kind"], file["filename"], file["bytes"]) == ("file", "audio", "a.wav", len(WAV))
    assert file["media"]["duration_s"] == 1.5
    assert reply.status_code == 202
    assert reply.json()["input"]["audio"]["sha256"] == hashlib.sha256(WAV).hexdigest()


def test_file_of_the_wrong_kind_is_refused(service: Service) -> None:
    """A picture is no sound, whichever way it is named."""
    picture = service.client.post("/v1/files", data={"purpose": "vision"}, files={"file": ("x", JPEG)}).json()
    as_sound = service.client.post(
        "/v1/videos",
        data={"prompt": "p", "audio_file_id": picture["id"], "image_file_id": picture["id"]},
        files={"unused": ("x", b"")},
    )
    as_audio_file = service.client.post("/v1/files", data={"purpose": "audio"}, files={"file": ("x", JPEG)})
    both = service.client.post(
        "/v1/videos", data={"prompt": "p", "audio_file_id": picture["id"]}, files={"audio": ("x", WAV)}
    )

    assert as_sound.status_code == 422
    assert as_audio_file.status_code == 415
    assert {error["pointer"] for error in both.json()["errors"]} == {"/input_reference", "/audio"}


def test_file_can_be_read_and_deleted(service: Service) -> None:
    """A deleted file is 404, and naming it in a request is 422."""
    path = (
        "/v1/files/"
        + service.client.post("/v1/files", data={"purpose": "audio"}, files={"file": ("x", WAV)}).json()["id"]
    )

    assert service.client.get(path).json()["status"] == "processed"
    assert service.client.delete(path).json()["deleted"] is True
    assert service.client.get(path).status_code == service.client.delete(path).status_code == 404
    reply = service.client.post(
        "/v1/videos",
        data={"prompt": "p", "audio_file_id": path.rpartition("/")[2]},
        files={"input_reference": ("x", JPEG)},
    )
    assert (reply.status_code, reply.json()["error"]["param"]) == (422, "audio_file_id")


def test_models_say_what_they_take(service: Service) -> None:
    """The default model is listed with its limits; another name is 404, and 422 in a request."""
    (model,) = service.client.get("/v1/models").json()["data"]

    assert (model["id"], model["object"], model["sizes"], model["num_frames"]) == (
        "keyvid-mini",
        "model",
        ["512x320"],
        48,
    )
    assert service.client.get("/v1/models/keyvid-mini").json() == model
    assert service.client.get("/v1/models/sora-2").status_code == 404
    assert service.post(prompt="p", model="sora-2").json()["error"]["param"] == "model"
    assert service.create(model="keyvid-mini")["model"] == "keyvid-mini"


def test_health_tells_what_works(service: Service) -> None:
    """Alive and ready, with each dependency by name."""
    assert service.client.get("/livez").json() == {"status": "ok"}
    ready = service.client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["checks"] == {"database": "ok", "storage": "ok", "disk": "ok", "broker": "ok"}


def test_dead_broker_only_degrades(tmp_path: Path) -> None:
    """Without a broker a video is accepted all the same."""
    with serving(ServiceSettings(data_dir=tmp_path, broker_url="redis://127.0.0.1:1/0")) as service:
        ready = service.client.get("/readyz")

        assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
        assert service.create()["status"] == "queued"


def test_full_disk_refuses_before_reading(tmp_path: Path) -> None:
    """Without room nothing is accepted, and the service says that it is not ready."""
    with serving(ServiceSettings(data_dir=tmp_path, min_free_bytes=1 << 60)) as service:
        reply = service.post(prompt="p")

        assert (reply.status_code, reply.json()["code"]) == (503, "storage_unavailable")
        assert reply.headers["retry-after"]
        assert service.client.get("/readyz").status_code == 503


def test_requests_carry_an_id(service: Service) -> None:
    """A caller's id is kept, a strange one replaced, and problems repeat it."""
    kept = service.client.get("/livez", headers={"X-Request-Id": "mine-1"})
    replaced = service.client.get("/v1/videos/none", headers={"X-Request-Id": "a b\tc"})

    assert kept.headers["x-request-id"] == "mine-1"
    assert replaced.json()["request_id"] == replaced.headers["x-request-id"] != "a b\tc"


def test_other_sites_may_not_write(service: Service) -> None:
    """A page elsewhere cannot make its visitor's browser post here."""
    reply = service.client.delete("/v1/videos/x", headers={"Sec-Fetch-Site": "cross-site"})

    assert (reply.status_code, reply.json()["code"]) == (403, "cross_site_request")


def test_unexpected_error_is_500_without_a_trace(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody foresaw is answered in words that give nothing away."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret at /srv/private")

    monkeypatch.setattr(JobStore, "get", broken)
    with structlog.testing.capture_logs() as logs:
        reply = service.client.get("/v1/videos/x")

    assert (reply.status_code, reply.json()["code"]) == (500, "internal")
    assert "request_failed" in [line["event"] for line in logs]
    assert reply.headers["content-type"] == "application/problem+json"
    assert "secret" not in reply.text


@pytest.mark.filterwarnings("ignore:The Sora API is scheduled:DeprecationWarning")
def test_openai_client_works(service: Service) -> None:
    """The `openai` package creates, polls, lists, downloads and deletes, and understands our errors."""
    client = openai.OpenAI(api_key="none", base_url="http://testserver/v1", http_client=service.client, max_retries=0)

    file = client.files.create(file=("meow.wav", WAV), purpose="user_data")
    video = client.videos.create(
        prompt="a dog barks",
        input_reference=("cat.jpg", JPEG),
        seconds="2",  # type: ignore[arg-type]
        size="512x320",  # type: ignore[arg-type]
        extra_body={"audio_file_id": file.id, "metadata": {"key": "value"}},
    )
    with pytest.raises(openai.ConflictError) as too_early:
        client.videos.download_content(video.id)
    service.finish()

    assert video.status == "queued"
    assert too_early.value.code == "not_ready"
    assert client.videos.retrieve(video.id).status == "completed"
    assert client.videos.retrieve(video.id).model_extra["metadata"] == {"key": "value"}  # type: ignore[index]
    assert client.videos.list(limit=1).data[0].id == video.id
    assert client.videos.download_content(video.id).read() == MP4
    assert client.videos.delete(video.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.videos.retrieve(video.id)
