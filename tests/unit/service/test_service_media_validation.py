"""The sandbox around decoders, as the API uses it."""

from __future__ import annotations

import hashlib
import io
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import RefusedUpload, UnsupportedMedia
from service.media import sandbox
from service.media.audio import canonicalize_audio
from service.media.image import canonicalize_image
from service.media.limits import ProbeLimits
from service.media.refusal import Refused
from service.media.signature import read_signature
from service.media.validation import Upload, check_uploads
from tests import uploads

if TYPE_CHECKING:
    from pathlib import Path


def upload(folder: Path, data: bytes, *, name: str = "picture") -> Upload:
    """A received file."""
    path = folder / name
    path.write_bytes(data)
    return Upload(name, "../../x", path, len(data), hashlib.sha256(data).hexdigest())


def test_one_request_is_checked_in_one_go(tmp_path: Path) -> None:
    """A picture and a sound come back measured, each with its canonical file."""
    picture, sound = upload(tmp_path, uploads.jpeg()), upload(tmp_path, uploads.wav(), name="sound")

    image, audio = check_uploads([(picture, "image"), (sound, "audio")], limits=ProbeLimits())

    assert (image.kind, image.measured) == ("image", {"width": 64, "height": 48})
    assert (audio.kind, audio.measured["duration_s"]) == ("audio", 1.0)
    assert image.path.read_bytes().startswith(b"\x89PNG")
    assert audio.path.read_bytes().startswith(b"RIFF")


@pytest.mark.parametrize(
    "make",
    [
        lambda: uploads.encoded(uploads.picture(), "WEBP"),
        lambda: uploads.encoded(uploads.picture().quantize(4), "PNG", transparency=0),
        lambda: uploads.sound("flac", "flac"),
        lambda: uploads.sound("mp3", "libmp3lame"),
        lambda: uploads.sound("ogg", "libopus"),
        lambda: uploads.sound("ipod", "aac"),
        lambda: uploads.float_wav(uploads.tone(0.5)),
        lambda: uploads.sound("mp3", "libmp3lame", cover=uploads.encoded(uploads.picture())),
    ],
    ids=["webp", "palette", "flac", "mp3", "opus", "m4a", "float wav", "mp3 with cover"],
)
def test_confined_decoders_have_all_they_need(tmp_path: Path, make: object) -> None:
    """Inside the sandbox, where no module can be loaded any more, every accepted format still decodes."""
    (checked,) = check_uploads([(upload(tmp_path, make()), None)], limits=ProbeLimits())  # type: ignore[operator]

    assert checked.path.stat().st_size > 100


def test_refusal_names_the_field(tmp_path: Path) -> None:
    """The second upload's refusal carries its own field and code."""
    picture = upload(tmp_path, uploads.jpeg())
    sound = upload(tmp_path, uploads.wav(0.1), name="sound")

    with pytest.raises(RefusedUpload) as refused:
        check_uploads([(picture, "image"), (sound, "audio")], limits=ProbeLimits())

    assert (refused.value.code, refused.value.param) == ("audio_too_short", "sound")


@pytest.mark.parametrize("data", [uploads.SVG, uploads.PDF, uploads.animation("GIF"), uploads.wav(), b"words"])
def test_other_formats_are_not_even_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """What is no JPEG, PNG or WebP by content starts no decoder."""
    monkeypatch.setattr(sandbox, "SANDBOXES", None)

    with pytest.raises(UnsupportedMedia):
        check_uploads([(upload(tmp_path, data), "image")], limits=ProbeLimits())


def test_dead_sandbox_refuses_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that dies takes nothing along but its own file."""
    program = (
        "import os; from service.media import forkserver;"
        "forkserver.load_canonicalizers = lambda: {'image': lambda *_: os.abort()}; forkserver.main()"
    )
    monkeypatch.setattr(sandbox, "SANDBOXES", sandbox.Sandboxes())
    monkeypatch.setattr(sandbox, "SERVER_COMMAND", (sys.executable, "-I", "-c", program))

    with pytest.raises(RefusedUpload) as refused:
        check_uploads([(upload(tmp_path, uploads.jpeg()), "image")], limits=ProbeLimits())
    sandbox.SANDBOXES.close()

    assert refused.value.code == "image_decode_failed"


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\xff\xd8\xff\xe0" + bytes(12), "JPEG"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "WebP"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "WAV"),
        (b"\xff\xfb\x90\x00" + bytes(12), "MP3"),
        (b"\x00\x00\x00\x20ftypM4A ", "M4A"),
        (b"\x00\x00\x00\x20ftypheic", None),
        (b"\xff\xf1\x50\x80" + bytes(12), None),
        (b"#EXTM3U\n", None),
        (b"", None),
    ],
)
def test_signature_is_read_from_content(head: bytes, name: str | None) -> None:
    """The first bytes decide; playlists, raw AAC and HEIC are nothing."""
    signature = read_signature(head)

    assert (signature.name if signature else None) == name


SAMPLES = {
    "JPEG": uploads.jpeg(),
    "PNG": uploads.encoded(uploads.picture()),
    "WEBP": uploads.encoded(uploads.picture(), "WEBP"),
    "wav": uploads.wav(0.5),
    "flac": uploads.sound("flac", "flac", seconds=0.5),
    "mp3": uploads.sound("mp3", "libmp3lame", seconds=0.5),
    "ogg": uploads.sound("ogg", "libopus", seconds=0.5),
    "mov": uploads.sound("ipod", "aac", seconds=0.5),
}


@settings(max_examples=400, deadline=None)
@given(
    decoder=st.sampled_from(sorted(SAMPLES)),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=12),
    reach=st.sampled_from([128, 1 << 30]),
    kept=st.floats(0, 1),
)
def test_damaged_file_is_decoded_or_refused(
    decoder: str, changes: list[tuple[float, int]], reach: int, kept: float
) -> None:
    """Whatever is changed in a good file, the answer is a canonical file or a refusal, never another error."""
    data = bytearray(SAMPLES[decoder])
    for place, value in changes:
        data[int(place * min(reach, len(data)))] = value
    source = io.BytesIO(data if kept > 0.5 else data[: int(2 * kept * len(data))])
    canonicalize = canonicalize_image if decoder.isupper() else canonicalize_audio

    try:
        outcome = canonicalize(source, io.BytesIO(), decoder, ProbeLimits())
    except Refused as refused:
        outcome = {refused.code: 1}

    assert outcome
    assert all(value > 0 for value in outcome.values())
