"""What a file is, told by its first bytes and never by its name or its declared type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["image", "audio"]

HEAD_BYTES = 64  # enough for every signature below

_IMAGE_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis")


@dataclass(frozen=True, slots=True)
class Signature:
    """A format that uploads may have; `decoder` is Pillow's format or ffmpeg's demuxer, the only one ever tried."""

    kind: Kind
    decoder: str
    name: str


JPEG = Signature("image", "JPEG", "JPEG")
PNG = Signature("image", "PNG", "PNG")
WEBP = Signature("image", "WEBP", "WebP")
WAV = Signature("audio", "wav", "WAV")
FLAC = Signature("audio", "flac", "FLAC")
MP3 = Signature("audio", "mp3", "MP3")
OGG = Signature("audio", "ogg", "Ogg")
M4A = Signature("audio", "mov", "M4A")


_MAGIC = ((b"\xff\xd8\xff", JPEG), (b"\x89PNG\r\n\x1a\n", PNG), (b"fLaC", FLAC), (b"OggS", OGG), (b"ID3", MP3))
_RIFF_FORMS = {b"WEBP": WEBP, b"WAVE": WAV}


def read_signature(head: bytes) -> Signature | None:
    """Name the format of a file that begins with `head` (16 bytes or more); None when it is not an allowed one."""
    for magic, signature in _MAGIC:
        if head.startswith(magic):
            return signature
    if head[:4] in (b"RIFF", b"RF64"):
        return _RIFF_FORMS.get(head[8:12])
    if head[4:8] == b"ftyp":
        return None if head[8:12] in _IMAGE_BRANDS else M4A
    return MP3 if _is_mp3_frame(head) else None


def _is_mp3_frame(head: bytes) -> bool:
    """Whether `head` is a frame header of MPEG layer III: sync, layer, a bit rate and a sample rate that exist."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return False
    bit_rate, sample_rate = head[2] >> 4, head[2] >> 2 & 3
    return 0 < bit_rate < 15 and sample_rate != 3
