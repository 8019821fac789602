"""A video's way through the HTTP API, with the real store and storage; the worker's side is played by hand."""

from __future__ import annotations

import hashlib

import pytest
from http_service import JPEG, Service

from workers.jobs import JobStage


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
