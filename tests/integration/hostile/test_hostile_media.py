"""Hostile inputs 4 to 13: pictures and sounds."""

from __future__ import annotations

import io
import struct
import zipfile
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageCms

from tests import uploads

if TYPE_CHECKING:
    from hostile_caller import Attacker

JPEG, WAV = uploads.jpeg(), uploads.wav()
PNG = uploads.encoded(uploads.picture())


def wav_header(*, rate: int = 16_000, channels: int = 1, stated: int, data: bytes = bytes(2000)) -> bytes:
    """A 16-bit WAV whose header says what it likes."""
    layout = struct.pack("<HHIIHH", 1, channels, rate, (rate * channels * 2) % 2**32, channels * 2, 16)
    chunks = b"WAVEfmt " + struct.pack("<I", len(layout)) + layout + b"data" + struct.pack("<I", stated) + data
    return b"RIFF" + struct.pack("<I", 0xFFFFFFFF) + chunks


def test_04_picture_bomb(attacker: Attacker) -> None:
    """A PNG of kilobytes that promises 19000x19000 pixels is refused by its header, before a pixel is decoded."""
    attacker.refused(attacker.create(input_reference=uploads.png_bomb()), 422, "image_too_large")
    attacker.refused(attacker.create(input_reference=uploads.png_bomb(200_000, 200_000)), 422, "image_too_large")


def test_05_animations(attacker: Attacker) -> None:
    """Moving pictures are refused, whatever the format; GIF and TIFF are not even opened."""
    frames = [Image.new("RGB", (32, 32), color) for color in ("red", "blue")]
    apng = uploads.encoded(frames[0], "PNG", save_all=True, append_images=frames[1:])
    tiff = uploads.encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    for data, status, code in (
        (uploads.animation("GIF"), 415, "unsupported_media_type"),
        (tiff, 415, "unsupported_media_type"),
        (uploads.animation("WEBP"), 422, "image_decode_failed"),
        (apng, 422, "image_decode_failed"),
    ):
        attacker.refused(attacker.create(input_reference=data), status, code)


def test_06_odd_but_honest_pictures(attacker: Attacker) -> None:
    """Turned, CMYK, 16-bit, profiled and transparent pictures are converted, and their metadata goes no further."""
    turned = Image.Exif()
    turned[0x0112], turned[0x010E] = 6, "secret place"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pictures = {
        "turned": (uploads.encoded(uploads.picture(), "JPEG", exif=turned), (48, 64)),
        "cmyk": (uploads.encoded(uploads.picture().convert("CMYK"), "JPEG"), (64, 48)),
        "16 bit": (uploads.encoded(Image.fromarray(np.full((48, 64), 40_000, np.uint16))), (64, 48)),
        "profile": (uploads.encoded(uploads.picture(), "PNG", icc_profile=profile), (64, 48)),
        "alpha": (uploads.encoded(uploads.picture().convert("RGBA"), "WEBP"), (64, 48)),
    }
    for name, (data, size) in pictures.items():
        answer = attacker.send_file(data, purpose="image")
        assert answer.status_code == 201, name
        media = answer.json()["media"]
        assert (media["width"], media["height"]) == size
    stored = [path.read_bytes() for path in (attacker.api.data_dir / "blobs" / "inputs").iterdir()]
    assert not [data for data in stored if b"secret place" in data or b"Exif" in data or b"iCCP" in data]


def test_07_polyglots_and_other_formats(attacker: Attacker) -> None:
    """What a file is called decides nothing; foreign formats are 415, and what hides behind a picture is dropped."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("evil.html", "<script>")
    heic = b"\x00\x00\x00\x20ftypheic" + bytes(100)
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n(" + str(attacker.canary).encode() + b") run\n"
    for data in (uploads.SVG, uploads.PDF, heic, postscript, archive.getvalue(), b"<html>", b"GIF89a" + JPEG):
        attacker.refused(attacker.create(input_reference=data), 415, "unsupported_media_type")
    answer = attacker.send_file(JPEG + archive.getvalue(), filename="x.zip", purpose="image")
    assert answer.status_code == 201
    stored = [path.read_bytes() for path in (attacker.api.data_dir / "blobs" / "inputs").iterdir()]
    assert not [data for data in stored if b"evil.html" in data]


def test_08_truncated_and_empty_files(attacker: Attacker) -> None:
    """Half a picture, half a sound, and nothing at all are 422."""
    for data in (JPEG[: len(JPEG) // 2], PNG[:-40], PNG[:20], b""):
        attacker.refused(attacker.create(input_reference=data), 422, "image_decode_failed")
    for data in (WAV[: len(WAV) // 2], WAV[:40], uploads.sound("flac", "flac")[:3000], b""):
        attacker.refused(attacker.create(audio=data), 422, "audio_decode_failed")


def test_09_playlists_named_wav(attacker: Attacker) -> None:
    """Playlists and recipes that name a local file are no sounds, and open nothing, also behind another's magic."""
    target = attacker.canary.as_uri()
    recipes = (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n",
        f'<?xml version="1.0"?><MPD><Period><BaseURL>{target}</BaseURL></Period></MPD>',
        f"ffconcat version 1.0\nfile {attacker.canary}\n",
        f"subfile,,start,0,end,99,,:{attacker.canary}",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=audio 9 RTP/AVP 0\n",
        f"concat:{attacker.canary}|{attacker.canary}",
    )
    for recipe in recipes:
        attacker.refused(attacker.create(audio=recipe.encode()), 415, "unsupported_media_type")
        for magic in (b"RIFF\x00\x10\x00\x00WAVE", b"ID3\x04\x00\x00\x00\x00\x00\x00", b"OggS", b"fLaC"):
            answer = attacker.create(audio=magic + recipe.encode())
            assert (answer.status_code, answer.json()["code"][:6]) == (422, "audio_")


def test_10_film_with_a_subtitle_that_reads_files(attacker: Attacker) -> None:
    """An AVI whose subtitle is a playlist (GAB2) is no sound, also where it says that it is a WAV."""
    playlist = f"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:10,\n{attacker.canary.as_uri()}\n".encode()
    subtitle = b"GAB2\x00\x02\x00" + struct.pack("<I", 0) + struct.pack("<HI", 4, len(playlist)) + playlist
    stream = b"00tx" + struct.pack("<I", len(subtitle)) + subtitle
    body = b"LIST" + struct.pack("<I", len(stream) + 4) + b"movi" + stream
    for kind, status in ((b"AVI ", 415), (b"WAVE", 422)):
        film = b"RIFF" + struct.pack("<I", len(body) + 4) + kind + body
        answer = attacker.create(audio=film)
        assert answer.status_code == status


def test_11_headers_that_lie(attacker: Attacker) -> None:
    """Impossible rates, 255 channels and 2^32 bytes of sound are refused by what can be decoded."""
    for data in (
        wav_header(rate=1, stated=2000),
        wav_header(rate=10_000_000, stated=2000),
        wav_header(rate=0, stated=2000),
        wav_header(channels=255, stated=510 * 100, data=bytes(51_000)),
        wav_header(channels=0, stated=2000),
        wav_header(stated=0xFFFFFFFF),
    ):
        answer = attacker.create(audio=data)
        assert (answer.status_code, answer.json()["code"][:6]) == (422, "audio_")


def test_12_sounds_that_expand(attacker: Attacker) -> None:
    """Ten hours in a few hundred kilobytes end after sixty seconds of them."""
    attacker.refused(attacker.create(audio=uploads.hours_of_opus()), 422, "audio_too_long")
    silence = uploads.sound("flac", "flac", seconds=61.0, rate=8000, channels=1)
    attacker.refused(attacker.create(audio=silence), 422, "audio_too_long")


def test_13_samples_that_are_no_sound(attacker: Attacker) -> None:
    """NaN and infinity are refused; silence, a constant and full scale are sounds."""
    for value in (np.nan, np.inf, -np.inf):
        data = uploads.float_wav(np.full((16_000, 1), value, np.float32))
        attacker.refused(attacker.create(audio=data), 422, "audio_decode_failed")
    for value in (0.0, 0.5, 1.0, -1.0, 1e30):
        assert attacker.create(audio=uploads.float_wav(np.full((16_000, 1), value, np.float32))).status_code == 202
