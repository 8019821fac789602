"""`keyvid_client` against a running service: what an application does with it."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import av
import pytest
from keyvid_client import (
    VERSION,
    AsyncKeyVID,
    Conflict,
    InvalidRequest,
    KeyVID,
    NotFound,
    VideoCancelled,
    VideoFailed,
    VideoOptions,
    animate,
)

from model.config import tiny
from model.pipeline import KeyVIDPipeline
from tests import uploads

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "clients" / "python"
FRAMES = 48


@pytest.fixture
def client(url: str) -> Iterator[KeyVID]:
    """A client of the running service."""
    with KeyVID(url) as client:
        yield client


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture on disk."""
    path = tmp_path / "dog.jpg"
    path.write_bytes(uploads.jpeg())
    return path


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """A sound on disk."""
    path = tmp_path / "bark.wav"
    path.write_bytes(uploads.wav(2.0))
    return path


def frames_in(content: bytes) -> int:
    """How many frames an MP4 holds."""
    with av.open(io.BytesIO(content)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_video_from_upload_to_download(client: KeyVID, picture: Path, sound: Path, tmp_path: Path) -> None:
    """Create, wait with progress, download: the file holds the video."""
    seen: list[int] = []

    video = client.create(
        picture, sound, "a dog barks", seed=7, keyframes=range(0, 48, 4), metadata={"app": "x"}, reference_compat=False
    )
    done = client.wait(video, on_progress=lambda video: seen.append(video.progress))
    path = client.download(done, tmp_path / "dog.mp4")

    assert (video.status, done.status, done.seed, done.metadata) == ("queued", "completed", 7, {"app": "x"})
    assert done.output is not None
    assert path.stat().st_size == done.output.bytes
    assert seen == sorted(seen)
    assert seen[-1] == 100
    assert frames_in(path.read_bytes()) == FRAMES
    assert client.content(done, variant="thumbnail")
    assert client.content_url(done).startswith("http")


def test_options_are_those_of_the_contract() -> None:
    """Every knob of the form can be given to `create`; what has one value only, and the inputs, are not knobs."""
    form = json.loads((ROOT / "clients" / "openapi.json").read_text())["components"]["schemas"]["CreateVideo"]
    inputs = {"prompt", "input_reference", "audio", "image_file_id", "audio_file_id"}
    settled = {"seconds", "size", "width", "height", "num_frames", "fps"}

    assert set(VideoOptions.__annotations__) == form["properties"].keys() - inputs - settled


def test_files_sent_ahead_serve_many_videos(client: KeyVID, picture: Path) -> None:
    """A File stands in for a path; deleting it leaves its videos."""
    image = client.upload(picture, purpose="image")
    audio = client.upload(io.BytesIO(uploads.wav(1.0)), purpose="audio")

    videos = [client.create(image, audio, f"take {number}") for number in range(2)]
    client.delete_file(audio)

    assert (client.get_file(image.id).filename, audio.kind) == ("dog.jpg", "audio")
    assert [client.wait(video).status for video in videos] == ["completed", "completed"]
    with pytest.raises(NotFound):
        client.get_file(audio.id)


def test_events_tell_every_change_once(client: KeyVID, picture: Path, sound: Path) -> None:
    """A follower from the start has each number, to the end; one that comes back gets only what it missed."""
    video = client.create(picture, sound, "step_ms=5")

    events = list(client.events(video, after=0))
    missed = list(client.events(video, after=events[-3].seq))

    assert [event.seq for event in events[1:]] == list(range(1, events[-1].seq + 1))
    assert events[-1].type == "video.completed"
    assert [event.seq for event in missed[1:]] == [event.seq for event in events[-2:]]


def test_unwanted_videos_can_be_stopped_and_made_again(client: KeyVID, picture: Path, sound: Path) -> None:
    """Cancel ends a wait with its error; retry is a video of its own; delete forgets."""
    video = client.create(picture, sound, "step_ms=200 steps=200")
    client.cancel(video)

    with pytest.raises(VideoCancelled):
        client.wait(video)
    again = client.retry(video)
    client.delete(again)
    with pytest.raises(NotFound):
        client.get(again)


def test_failures_are_typed(client: KeyVID, picture: Path, sound: Path) -> None:
    """What the service refuses and what fails later are errors with codes."""
    with pytest.raises(InvalidRequest) as refused:
        client.create(picture, sound, "", guidance_text=99)
    with pytest.raises(InvalidRequest, match="unsupported_media_type"):
        client.create(sound, sound, "x")
    picture.write_bytes(uploads.jpeg(96))  # of its own: after two such failures the pair is quarantined
    failing = client.create(picture, sound, "bad_input")
    with pytest.raises(VideoFailed) as failed:
        client.wait(failing)
    with pytest.raises(Conflict) as not_ready:
        client.content(failing)

    assert {error.pointer for error in refused.value.errors} == {"/prompt", "/guidance_text"}
    assert failed.value.video.error is not None
    assert not_ready.value.code == "not_ready"


def test_repeated_request_is_one_video(client: KeyVID, picture: Path, sound: Path) -> None:
    """An Idempotency-Key of the caller's holds across clients."""
    first = client.create(picture, sound, "once", idempotency_key="order-66")
    second = client.create(picture, sound, "once", idempotency_key="order-66")

    assert first.id == second.id


def test_lists_are_read_to_their_end(client: KeyVID, picture: Path, sound: Path) -> None:
    """Pages follow one another; other operations are reached by their path."""
    made = [client.wait(client.create(picture, sound, f"list {number}")).id for number in range(3)]

    first = client.list(limit=2)
    listed = [video.id for video in client.iterate(status="completed")]

    assert [video.id for video in first.data] == made[:0:-1]
    assert first.has_more
    assert listed[:3] == made[::-1]
    assert client.request("GET", "/v1/models")["data"][0]["id"] == "keyvid-mini"


def test_async_client_makes_videos_side_by_side(url: str, picture: Path, sound: Path, tmp_path: Path) -> None:
    """The same in asyncio, from upload to file, with events."""

    async def make(client: AsyncKeyVID, name: str) -> Path:
        video = await client.create(picture, sound, name)
        types = [event.type async for event in client.events(video)]
        assert types[-1] == "video.completed"
        await client.wait(video, timeout_s=60)
        return await client.download(video, tmp_path / f"{name}.mp4")

    async def both() -> list[Path]:
        async with AsyncKeyVID(url) as client:
            paths = list(await asyncio.gather(make(client, "one"), make(client, "two")))
            assert (await client.list(limit=1)).has_more
            assert len([video async for video in client.iterate()]) >= 2
            return paths

    for path in asyncio.run(both()):
        assert frames_in(path.read_bytes()) == FRAMES


def test_animate_is_one_line(
    url: str, picture: Path, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With KEYVID_URL set, picture, sound and prompt are enough."""
    monkeypatch.setenv("KEYVID_URL", url)
    seen: list[tuple[int, str]] = []

    animation = animate(picture, sound, "dog barking", seed=3, on_progress=lambda *progress: seen.append(progress))

    assert frames_in(animation.save(tmp_path / "dog.mp4").read_bytes()) == FRAMES
    assert animation.video is not None
    assert animation.video.seed == 3
    assert seen[-1] == (100, "done")
    assert animation._repr_html_().startswith("<video")


def test_animate_without_a_service_runs_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `keyvid` is installed and no URL is given, the video is made in this process, here by the tiny model."""
    monkeypatch.delenv("KEYVID_URL", raising=False)
    KeyVIDPipeline.from_config(tiny()).save_pretrained(tmp_path / "tiny")
    seen: list[tuple[int, str]] = []

    animation = animate(
        uploads.jpeg(),
        uploads.wav(2.0),
        "dog barking",
        model=str(tmp_path / "tiny"),
        seed=7,
        on_progress=lambda *progress: seen.append(progress),
    )

    assert frames_in(animation.save(tmp_path / "dog.mp4").read_bytes()) == FRAMES
    assert [stage for _, stage in seen] == sorted(
        [stage for _, stage in seen], key=["localization", "keyframes", "interpolation", "mux"].index
    )
    assert seen[-1] == (100, "mux")
    with pytest.raises(TypeError, match="Without a service there is no priority"):
        animate(b"", b"", "x", priority="low")


def test_package_installs_alone(url: str, picture: Path, sound: Path, tmp_path: Path) -> None:
    """`pip install ./clients/python` gives a typed package that needs httpx, and not keyvid or torch."""
    target = tmp_path / "installed"
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", str(target)]
    copied = tmp_path / "source"
    for path in (PACKAGE / "pyproject.toml", PACKAGE / "README.md", *(PACKAGE / "keyvid_client").glob("*.*")):
        destination = copied / path.relative_to(PACKAGE)
        destination.parent.mkdir(parents=True, exist_ok=True)
        destination.write_bytes(path.read_bytes())
    subprocess.run([sys.executable, *install, str(copied)], check=True)
    script = """
import sys
sys.path.insert(0, sys.argv[1])
import keyvid_client
assert keyvid_client.__file__.startswith(sys.argv[1]), keyvid_client.__file__
keyvid_client.animate(*sys.argv[2:5], url=sys.argv[5]).save(sys.argv[6])
loaded = {name.partition(".")[0] for name in sys.modules}
assert not loaded & {"torch", "model", "service", "workers", "numpy"}, loaded
"""
    arguments = [str(target), str(picture), str(sound), "dog barking", url, str(tmp_path / "dog.mp4")]
    subprocess.run([sys.executable, "-c", script, *arguments], check=True, cwd=tmp_path)

    (metadata,) = target.glob("keyvid_client-*.dist-info")
    needed = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]["dependencies"]
    assert frames_in((tmp_path / "dog.mp4").read_bytes()) == FRAMES
    assert (target / "keyvid_client" / "py.typed").exists()
    assert metadata.name == f"keyvid_client-{VERSION}.dist-info"
    assert [line.partition(">")[0] for line in needed] == ["httpx", "httpx-sse"]
