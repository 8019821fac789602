"""Clients that were written for other services: the `openai` package, and multipart clients as of vllm-omni."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, get_args

import httpx
import openai
import pytest
from openai.types import FilePurpose

from tests import uploads
from tests.servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

PICTURE = ("dog.jpg", uploads.jpeg())
SOUND = ("bark.wav", uploads.wav(2.0))

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API is scheduled:DeprecationWarning")


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    """The package's client, pointed at the running service."""
    with openai.OpenAI(api_key="none", base_url=f"{url}/v1") as client:
        yield client


def test_create_and_poll_to_the_download(client: openai.OpenAI) -> None:
    """The sound goes first as a file, the rest in one call; then the MP4, its thumbnail, and the end of the video."""
    sound = client.files.create(file=SOUND, purpose="user_data")

    video = client.videos.create_and_poll(
        prompt="a dog barks",
        input_reference=PICTURE,
        extra_body={"audio_file_id": sound.id, "seed": 7, "metadata": {"app": "x"}, "reference_compat": False},
    )
    content = client.videos.download_content(video.id).read()
    thumbnail = client.videos.download_content(video.id, variant="thumbnail").read()

    assert (video.status, video.progress, video.seconds, video.size) == ("completed", 100, "2", "512x320")
    assert video.model_extra is not None
    assert (video.model_extra["seed"], video.model_extra["metadata"]) == (7, {"app": "x"})
    assert content[4:8] == b"ftyp"
    assert thumbnail.startswith(b"\xff\xd8")
    assert client.videos.retrieve(video.id).id == video.id
    assert client.videos.delete(video.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.videos.retrieve(video.id)


@pytest.mark.parametrize("purpose", get_args(FilePurpose))
def test_files_take_any_purpose(client: openai.OpenAI, purpose: FilePurpose) -> None:
    """What the package lets its users say is accepted; the content decides what it is."""
    file = client.files.create(file=SOUND, purpose=purpose)

    kept = client.files.retrieve(file.id)
    assert (kept.purpose, kept.bytes, kept.model_extra and kept.model_extra["kind"]) == (
        purpose,
        len(SOUND[1]),
        "audio",
    )
    assert client.files.delete(file.id).deleted


def test_lists_go_on_page_by_page(client: openai.OpenAI) -> None:
    """Iterating reads every page; models are listed as OpenAI's are."""
    sound = client.files.create(file=SOUND, purpose="user_data")
    made = [
        client.videos.create(prompt="x", input_reference=PICTURE, extra_body={"audio_file_id": sound.id}).id
        for _ in range(3)
    ]

    listed = [video.id for _, video in zip(range(3), client.videos.list(limit=1), strict=False)]

    assert listed == made[::-1]
    assert [model.id for model in client.models.list()] == ["keyvid-mini"]
    assert client.models.retrieve("keyvid-mini").owned_by == "keyvid"


def test_refusals_are_the_packages_own_errors(client: openai.OpenAI) -> None:
    """Codes, parameters and messages arrive where users of the package look for them."""
    sound = client.files.create(file=SOUND, purpose="user_data")
    slow = client.videos.create(
        prompt="step_ms=200 steps=100", input_reference=PICTURE, extra_body={"audio_file_id": sound.id}
    )

    with pytest.raises(openai.UnprocessableEntityError) as without_sound:
        client.videos.create(prompt="x", input_reference=PICTURE)
    with pytest.raises(openai.ConflictError) as too_early:
        client.videos.download_content(slow.id)
    with pytest.raises(openai.NotFoundError):
        client.videos.remix(slow.id, prompt="x")
    client.videos.delete(slow.id)

    assert (without_sound.value.code, without_sound.value.param) == ("validation_failed", "audio")
    assert "audio_file_id" in without_sound.value.message
    assert too_early.value.code == "not_ready"


def test_failed_video_ends_the_poll(client: openai.OpenAI) -> None:
    """The package returns failed videos: their error says why."""
    sound = client.files.create(file=SOUND, purpose="user_data")
    picture = ("poison.jpg", uploads.jpeg(80))  # of its own: after two such failures the pair is quarantined

    video = client.videos.create_and_poll(
        prompt="bad_input", input_reference=picture, extra_body={"audio_file_id": sound.id}
    )

    assert video.status == "failed"
    assert video.error is not None
    assert video.error.code


def test_both_files_in_one_request(client: openai.OpenAI) -> None:
    """The package's plain `post` sends picture and sound together."""
    video = client.post(
        "/videos",
        body={"prompt": "a dog barks"},
        files=[("input_reference", PICTURE), ("audio", SOUND)],
        options={"headers": {"Content-Type": "multipart/form-data"}},
        cast_to=openai.types.Video,
    )

    assert client.videos.poll(video.id).status == "completed"


def test_async_client_works(url: str) -> None:
    """The same in asyncio."""

    async def make() -> bytes:
        async with openai.AsyncOpenAI(api_key="none", base_url=f"{url}/v1") as client:
            sound = await client.files.create(file=SOUND, purpose="user_data")
            video = await client.videos.create_and_poll(
                prompt="a dog barks", input_reference=PICTURE, extra_body={"audio_file_id": sound.id}
            )
            return (await client.videos.download_content(video.id)).read()

    assert asyncio.run(make())[4:8] == b"ftyp"


def test_multipart_client_of_vllm_omni(url: str) -> None:
    """Its form works with a sound beside it, its size and length apart as it sends them, if they are what there is."""
    form = {"prompt": "a dog barks", "width": "512", "height": "320", "num_frames": "48", "fps": "24"}
    sampling = {"num_inference_steps": "4", "seed": "7"}
    files = {"input_reference": PICTURE, "audio": SOUND}
    with httpx.Client(base_url=url, timeout=30) as client:
        video = client.post("/v1/videos", data={**form, **sampling}, files=files).raise_for_status().json()
        wait_until(lambda: client.get(f"/v1/videos/{video['id']}").json()["status"] == "completed", what="a video")
        content = client.get(f"/v1/videos/{video['id']}/content").raise_for_status().content
        wider = client.post("/v1/videos", data={**form, "width": "1280"}, files=files)
        unknown = client.post("/v1/videos", data={**form, "guidance_scale": "5"}, files=files)
        deleted = client.delete(f"/v1/videos/{video['id']}").json()

    assert (video["seed"], video["parameters"]["num_inference_steps"]) == (7, 4)
    assert content[4:8] == b"ftyp"
    assert (wider.status_code, wider.json()["errors"][0]["pointer"]) == (422, "/width")
    assert (unknown.status_code, unknown.json()["errors"][0]["pointer"]) == (422, "/guidance_scale")
    assert deleted["object"] == "video.deleted"
