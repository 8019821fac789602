"""The content of a video over HTTP: download, signed links, and what is said when there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from http_service import JPEG, MP4, SHEET, Service, events_of

from workers.jobs import Failure, JobStage
from workers.runner_messages import Previewed
from workers.storage import preview_key

if TYPE_CHECKING:
    from pathlib import Path


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
    assert service.client.get(f"/v1/videos/{video_id}/content?variant=spritesheet").content == SHEET


def test_previews_are_told_and_served_while_the_video_is_made(service: Service) -> None:
    """Each event has an address of its own for the newest picture; before there is one it is not ready."""
    video_id = service.create(preview="true")["id"]
    address = f"/v1/videos/{video_id}/content?variant=preview"
    lease = service.claim()
    assert service.client.get(address).json()["code"] == "not_ready"

    service.storage.put_bytes(preview_key(lease.job_id, lease.fence), JPEG, content_type="image/jpeg")
    service.store.note_preview(lease, Previewed(JobStage.KEYFRAMES, 8, width=256, height=160))
    picture = service.client.get(address)
    service.complete(lease)
    stream = service.client.get(f"/v1/videos/{video_id}/events?after=0")

    told = next(data for _, name, data in events_of(stream) if name == "video.preview")
    assert (picture.content, picture.headers["content-type"]) == (JPEG, "image/jpeg")
    assert (told["frame"], told["preview_stage"], told["width"], told["height"]) == (8, "keyframes", 256, 160)
    assert service.client.get(told["url"]).content == JPEG
    assert told["url"].startswith(address)


def test_video_without_previews_has_none(service: Service) -> None:
    """They are made only where the request asks for them."""
    reply = service.client.get(f"/v1/videos/{service.create()['id']}/content?variant=preview")

    assert (reply.status_code, reply.json()["code"]) == (404, "not_found")


def test_inputs_can_be_had_back(service: Service) -> None:
    """The picture and the sound that a video is made from are served while it waits, as checked: PNG and WAV."""
    video = service.create(image_crop="8,4,40,30")
    address = f"/v1/videos/{video['id']}/content?variant="

    picture, sound = service.client.get(address + "image"), service.client.get(address + "audio")

    assert (picture.content[:4], picture.headers["content-type"]) == (b"\x89PNG", "image/png")
    assert (sound.content[:4], sound.headers["content-type"]) == (b"RIFF", "audio/wav")
    assert video["parameters"]["image_crop"] == [8, 4, 40, 30]


def test_crop_must_lie_within_the_picture(service: Service) -> None:
    """One that reaches out is refused before anything is kept."""
    reply = service.post(prompt="a dog", image_crop="30,0,40,30")

    assert (reply.status_code, reply.json()["error"]["param"]) == (422, "image_crop")
    assert "64x48" in reply.json()["detail"]
    assert list(service.storage.list_prefix("inputs/")) == []


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
