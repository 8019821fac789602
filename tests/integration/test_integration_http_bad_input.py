"""Bad requests through the HTTP API: each gets its status and code, and leaves nothing behind."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import ServiceSettings
from tests import uploads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

JPEG = uploads.jpeg()
WAV = uploads.wav()
PARTS: dict[str, Any] = {"prompt": "a dog barks", "input_reference": JPEG, "audio": WAV}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the service writes."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def client(data_dir: Path) -> Iterator[TestClient]:
    """A service that has accepted nothing."""
    with TestClient(create_app(ServiceSettings(data_dir=data_dir, max_body_bytes=3_000_000))) as running:
        yield running


def send(client: TestClient, path: str = "/v1/videos", **parts: str | bytes) -> httpx.Response:
    """Post a form: text becomes a field, bytes become a file."""
    fields = [(name, (None, text)) for name, text in parts.items() if isinstance(text, str)]
    files = [(name, ("upload", data)) for name, data in parts.items() if isinstance(data, bytes)]
    return client.post(path, files=[*fields, *files])


def assert_refused(reply: httpx.Response, data_dir: Path, *, status: int, code: str) -> None:
    """The answer is a problem with this status and code, and neither file, job nor message was kept."""
    assert (reply.status_code, reply.json()["code"]) == (status, code), reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["error"]["code"] == code
    assert not [path for path in (data_dir / "blobs").rglob("*") if path.is_file()]
    assert not list((data_dir / "tmp").glob("*"))
    assert not list((data_dir / "broker").rglob("*.msg"))


def archive() -> bytes:
    """A zip file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("a", "b")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"just words", 415, "unsupported_media_type"),
        (JPEG[: len(JPEG) // 2], 422, "image_decode_failed"),
        (uploads.png_bomb(), 422, "image_too_large"),
        (uploads.jpeg(1, 1), 422, "image_too_small"),
        (uploads.animation("GIF"), 415, "unsupported_media_type"),
        (uploads.animation("WEBP"), 422, "image_decode_failed"),
        (uploads.SVG, 415, "unsupported_media_type"),
        (uploads.PDF, 415, "unsupported_media_type"),
        (archive(), 415, "unsupported_media_type"),
        (b"", 422, "image_decode_failed"),
        (b"\xff\xd8\xff" + b"\x00" * 5000, 422, "image_decode_failed"),
        (WAV, 415, "unsupported_media_type"),
    ],
    ids=["words", "cut", "bomb", "one pixel", "gif", "animated", "svg", "pdf", "zip", "nothing", "zeros", "sound"],
)
def test_bad_picture(client: TestClient, data_dir: Path, data: bytes, status: int, code: str) -> None:
    """A picture that cannot be used refuses the request, whatever it is called."""
    reply = send(client, **{**PARTS, "input_reference": data})

    assert_refused(reply, data_dir, status=status, code=code)
    assert reply.json()["error"]["param"] == "input_reference"


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"just words", 415, "unsupported_media_type"),
        (uploads.HLS_PLAYLIST, 415, "unsupported_media_type"),
        (b"RIFF\x00\x01\x00\x00WAVE" + uploads.HLS_PLAYLIST, 422, "audio_decode_failed"),
        (uploads.wav_of(np.zeros((0, 1), np.float32), rate=16_000), 422, "audio_too_short"),
        (uploads.float_wav(np.full((16_000, 1), np.nan, np.float32)), 422, "audio_decode_failed"),
        (uploads.hours_of_opus(), 422, "audio_too_long"),
        (uploads.wav(0.1), 422, "audio_too_short"),
        (WAV[: len(WAV) // 2], 422, "audio_decode_failed"),
        (b"", 422, "audio_decode_failed"),
        (JPEG, 415, "unsupported_media_type"),
    ],
    ids=["words", "playlist", "hidden", "no samples", "nan", "ten hours", "short", "cut", "nothing", "picture"],
)
def test_bad_sound(client: TestClient, data_dir: Path, data: bytes, status: int, code: str) -> None:
    """A sound that cannot be used refuses the request, picture included."""
    reply = send(client, **{**PARTS, "audio": data})

    assert_refused(reply, data_dir, status=status, code=code)
    assert reply.json()["error"]["param"] == "audio"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"seconds": "1e9"}, "seconds"),
        ({"seed": "-1"}, "seed"),
        ({"guidance_audio": "NaN"}, "guidance_audio"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": "a\x07b"}, "prompt"),
        ({"prompt": "x" * 2001}, "prompt"),
        ({"size": "99999x99999"}, "size"),
        ({"num_inference_steps": "1000000000"}, "num_inference_steps"),
        ({"audio_start": "1.5"}, "audio_start"),
        ({"sede": "5"}, "sede"),
        ({"output_path": "/etc/x"}, "output_path"),
        ({"input_reference": None}, "input_reference"),
        ({"audio": None}, "audio"),
        ({"prompt": None}, "prompt"),
        ({"image_file_id": "file_x"}, "input_reference"),
        ({"audio": None, "audio_file_id": "file_x"}, "audio_file_id"),
        ({"input_reference": "http://169.254.169.254/"}, "input_reference"),
        ({"extra": b"a file"}, "extra"),
        ({"metadata": '{"a": {"b": 1}}'}, "metadata"),
    ],
)
def test_bad_field(client: TestClient, data_dir: Path, change: dict[str, Any], param: str) -> None:
    """A field that is wrong, missing, unknown or contradictory is named."""
    parts = {name: value for name, value in {**PARTS, **change}.items() if value is not None}

    reply = send(client, **parts)

    assert_refused(reply, data_dir, status=422, code="validation_failed")
    assert reply.json()["error"]["param"] == param


def test_two_pictures(client: TestClient, data_dir: Path) -> None:
    """A field that comes twice is not guessed at."""
    files = [("input_reference", ("a", JPEG)), ("input_reference", ("b", JPEG)), ("audio", ("c", WAV))]

    reply = client.post("/v1/videos", data={"prompt": "p"}, files=files)

    assert_refused(reply, data_dir, status=422, code="validation_failed")


@pytest.mark.parametrize("length", [70_000, 5_000_000])
def test_endless_prompt(client: TestClient, data_dir: Path, length: int) -> None:
    """A prompt larger than a field may be is cut off while it arrives."""
    assert_refused(send(client, **{**PARTS, "prompt": "x" * length}), data_dir, status=413, code="payload_too_large")


FIFTY_THOUSAND_PARTS = b"".join(
    f'--edge\r\nContent-Disposition: form-data; name="{number}"\r\n\r\n\r\n'.encode() for number in range(50_000)
)


@pytest.mark.parametrize(
    ("content_type", "body", "code"),
    [
        ("application/json", b"{}", "unsupported_media_type"),
        ("multipart/form-data", b"", "malformed_multipart"),
        ("multipart/form-data; boundary=edge", b"words", "malformed_multipart"),
        ("multipart/form-data; boundary=" + "e" * 500, b"words", "malformed_multipart"),
        ("multipart/form-data; boundary=edge", b"--edge\r\nContent-Disposition: x\r\n\r\n", "malformed_multipart"),
        ("multipart/form-data; boundary=edge", FIFTY_THOUSAND_PARTS, "malformed_multipart"),
    ],
    ids=["json", "no boundary", "words", "long boundary", "no name", "fifty thousand parts"],
)
def test_bad_form(client: TestClient, data_dir: Path, content_type: str, body: bytes, code: str) -> None:
    """A body that is no form is refused as that."""
    reply = client.post("/v1/videos", content=body, headers={"Content-Type": content_type})

    assert_refused(reply, data_dir, status=415 if code == "unsupported_media_type" else 400, code=code)


@pytest.mark.parametrize("path", ["", "/content", "/content-url", "/events"])
@pytest.mark.parametrize("video_id", ["video_unknown", "..%2f..%2fetc", "x" * 1000, "%00", "%F0%9F%90%B1"])
def test_unknown_video(client: TestClient, data_dir: Path, video_id: str, path: str) -> None:
    """Whatever is asked of an id that does not exist, it is not found."""
    assert_refused(client.get(f"/v1/videos/{video_id}{path}"), data_dir, status=404, code="not_found")


def test_bad_file(client: TestClient, data_dir: Path) -> None:
    """Files sent alone are checked in the same way."""
    for parts, status, code in (
        ({"purpose": "audio", "file": b"words"}, 415, "unsupported_media_type"),
        ({"purpose": "user_data", "file": JPEG[:300]}, 422, "image_decode_failed"),
        ({"purpose": "world domination", "file": WAV}, 422, "validation_failed"),
        ({"file": WAV}, 422, "validation_failed"),
        ({"purpose": "audio"}, 422, "validation_failed"),
        ({"purpose": "user_data", "file": b""}, 422, "validation_failed"),
    ):
        assert_refused(send(client, "/v1/files", **parts), data_dir, status=status, code=code)


def test_odd_but_good_requests(tmp_path: Path) -> None:
    """All silence, a filename that climbs, and a prompt in another script are accepted."""
    with TestClient(create_app(ServiceSettings(data_dir=tmp_path))) as client:
        for name, prompt, sound in (
            ("../../x", "a dog", uploads.silence()),
            ('"; -i /etc/passwd', "\u72ac\u304c\u5420\u3048\u308b", WAV),
        ):
            files = {"input_reference": (name, JPEG), "audio": (name, sound)}
            reply = client.post("/v1/videos", data={"prompt": prompt}, files=files)
            assert (reply.status_code, reply.json().get("prompt")) == (202, prompt)
    kept = {path.name for path in tmp_path.rglob("*")}
    assert not [name for name in kept if "passwd" in name or name == "x"]
    assert not list((tmp_path / "tmp").glob("*"))
