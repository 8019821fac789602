"""Broken multipart forms without end: each follows from a seed and its number, so that a failure can be repeated."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from tests import uploads

if TYPE_CHECKING:
    from collections.abc import Callable

Framing = Literal["length", "chunked", "cut"]

MEDIA_SHARE = 0.02  # of forms that are whole but for their files: each of them costs a child process
PICTURES = (uploads.jpeg(), uploads.encoded(uploads.picture()), uploads.encoded(uploads.picture(), "WEBP"))
SOUNDS = (uploads.wav(0.5), uploads.sound("flac", "flac", seconds=0.5), uploads.sound("mp3", "libmp3lame", seconds=0.5))
FIELDS = (
    *("prompt", "seed", "size", "seconds", "model", "priority", "cache", "metadata", "metadata[a]", "keyframes"),
    *("num_inference_steps", "guidance_audio", "audio_start", "image_fit", "motion_strength", "deadline_seconds"),
    *("image_file_id", "audio_file_id", "input_reference", "audio", "file", "purpose", "ttl_seconds", "unknown"),
)
VALUES = (
    *(b"", b" ", b"0", b"-1", b"1", b"2", b"1e309", b"-0", b"NaN", b"Infinity", b"9" * 400, b"0x10", b"1_000", b"1.5"),
    *(
        b"true",
        b"null",
        b"[]",
        b"{}",
        b'{"a":' * 200,
        b'{"a": {"b": 1}}',
        b"\x00",
        b"a\x07b",
        b"\xff\xfe",
        b"\xed\xa0\x80",
    ),
    *(b"%s%n%x", b"${jndi:ldap://x}", b"'; DROP TABLE jobs; --", b"<script>alert(1)</script>", b"../../etc/passwd"),
    *(b"a\r\nSet-Cookie: x=1", b"line\nlevel=error", "\u202egnp.x".encode(), "e\u0301".encode() * 500, b"x" * 70_000),
    *(
        b"http://169.254.169.254/",
        b"file:///etc/passwd",
        b"0,4,8,12,16,20,24,28,32,36,40,44",
        b"0s,1e400s",
        b"99999x99999",
    ),
)
FILENAMES = (
    *(
        b"a.jpg",
        b"",
        b"../../etc/cron.d/x",
        b"a\x00b",
        b"C:\\windows\\x",
        b"-i",
        b"x" * 4096,
        b"\xff\xfe",
        b"a;b",
        b'a\\"b',
    ),
    *(b"${PATH}", "\u202egpj.exe".encode(), b"con", b"%00", b"a\tb"),
)


@dataclass(frozen=True, slots=True)
class FuzzedForm:
    """A request body: where it goes, how its type is given, and how it is framed (`cut` ends in the middle)."""

    path: str
    content_type: bytes
    body: bytes
    framing: Framing


@dataclass(frozen=True, slots=True)
class _Part:
    head: bytes
    content: bytes


def fuzzed_form(seed: int, number: int) -> FuzzedForm:
    """The `number`th form of a seed."""
    dice = random.Random(f"{seed}-{number}")
    path = dice.choice(("/v1/videos", "/v1/videos", "/v1/files"))
    if dice.random() < MEDIA_SHARE:
        parts = _whole(dice, path, is_refused=False)
        parts = [
            replace(part, content=_damaged(dice, part.content)) if b"filename" in part.head else part for part in parts
        ]
        return FuzzedForm(path, b"multipart/form-data; boundary=edge", _assembled(parts), "length")
    parts = _whole(dice, path, is_refused=True)
    for _ in range(dice.randrange(5)):
        parts = dice.choice(_CHANGES)(dice, parts)
    body = _assembled(parts)
    if dice.random() < 0.4:
        body = _damaged(dice, body)
    if dice.random() < 0.05:
        body = body.replace(b"\r\n", dice.choice((b"\n", b"\r", b"\r\n\r\n", b"\r\n ")))
    return FuzzedForm(path, _content_type(dice), body, dice.choice(("length", "length", "chunked", "cut")))


def _whole(dice: random.Random, path: str, *, is_refused: bool) -> list[_Part]:
    """A good form; one that `is_refused` has a field out of its range, so that it ends before its files are decoded."""
    picture, sound = _file(dice, b"input_reference", PICTURES), _file(dice, b"audio", SOUNDS)
    if path == "/v1/files":
        purpose = b"none" if is_refused else b"user_data"
        return [_text(b"purpose", purpose), replace(dice.choice((picture, sound)), head=_disposition(b"file", b"f"))]
    return [_text(b"prompt", b"a dog"), *([_text(b"size", b"1x1")] if is_refused else []), picture, sound]


def _text(name: bytes, content: bytes) -> _Part:
    return _Part(_disposition(name), content)


def _file(dice: random.Random, name: bytes, contents: tuple[bytes, ...]) -> _Part:
    return _Part(_disposition(name, b"f"), dice.choice(contents))


def _disposition(name: bytes, filename: bytes | None = None) -> bytes:
    file = b"" if filename is None else b'; filename="' + filename + b'"'
    return b'Content-Disposition: form-data; name="' + name + b'"' + file


def _assembled(parts: list[_Part]) -> bytes:
    body = b"".join(b"--edge\r\n" + part.head + b"\r\n\r\n" + part.content + b"\r\n" for part in parts)
    return body + b"--edge--\r\n"


def _damaged(dice: random.Random, data: bytes) -> bytes:
    """Bytes with a few changes: bits turned, pieces taken out, doubled, put in from elsewhere, or the end cut off."""
    damaged = bytearray(data)
    for _ in range(dice.randrange(1, 8)):
        if not damaged:
            break
        place = dice.randrange(len(damaged))
        piece = damaged[place : place + dice.choice((1, 2, 16, 300))]
        match dice.randrange(6):
            case 0:
                damaged[place] ^= 1 << dice.randrange(8)
            case 1:
                del damaged[place : place + len(piece)]
            case 2:
                damaged[place:place] = piece
            case 3:
                damaged[place:place] = dice.choice(
                    (b"\r\n", b"--edge", b"--edge--", b"\x00", b"\r\n--edge\r\n", b"\xff" * 9)
                )
            case 4:
                damaged[place : place + len(piece)] = dice.randbytes(len(piece))
            case _ if dice.random() < 0.3:
                del damaged[place:]
    return bytes(damaged)


def _content_type(dice: random.Random) -> bytes:
    if dice.random() < 0.85:
        return b"multipart/form-data; boundary=edge"
    return dice.choice(
        (
            *(b"multipart/form-data", b"multipart/form-data; boundary=", b'multipart/form-data; boundary="edge"'),
            *(b"multipart/form-data; boundary=other", b"multipart/form-data; boundary=" + b"e" * 300, b"text/plain"),
            *(b"multipart/mixed; boundary=edge", b"application/json", b"", b"MULTIPART/FORM-DATA; BOUNDARY=edge"),
            *(b"multipart/form-data; boundary=\xff\xfe", b"multipart/form-data; boundary=edge; boundary=other"),
            *(b"multipart/form-data; boundary*=utf-8''edge", b"application/x-www-form-urlencoded"),
        )
    )


def _drop(dice: random.Random, parts: list[_Part]) -> list[_Part]:
    return [part for part in parts if dice.random() < 0.7]


def _double(dice: random.Random, parts: list[_Part]) -> list[_Part]:
    return [*parts, dice.choice(parts)] if parts else parts


def _shuffle(dice: random.Random, parts: list[_Part]) -> list[_Part]:
    return dice.sample(parts, len(parts))


def _add_field(dice: random.Random, parts: list[_Part]) -> list[_Part]:
    return [_text(dice.choice(FIELDS).encode(), dice.choice(VALUES)), *parts]


def _rename_file(dice: random.Random, parts: list[_Part]) -> list[_Part]:
    return [*parts, _Part(_disposition(dice.choice(FIELDS).encode(), dice.choice(FILENAMES)), dice.choice(VALUES))]


def _change_head(dice: random.Random, parts: list[_Part]) -> list[_Part]:
    """Give one part another head: none, too long, without a name, with a colon missing, nested, or encoded."""
    heads = (
        *(
            b"",
            b"Content-Disposition",
            b"Content-Disposition: ",
            b"Content-Disposition: attachment",
            b": x",
            b"\x00: x",
        ),
        *(b'Content-Disposition: form-data; name="', b"Content-Disposition: form-data; name=" + b"n" * 100_000),
        b"Content-Disposition: form-data; name*=utf-8''prompt; filename*=utf-8''%2e%2e%2fx",
        _disposition(b"prompt") + b"\r\nContent-Type: multipart/mixed; boundary=inner",
        _disposition(b"prompt") + b"\r\nContent-Transfer-Encoding: base64\r\nContent-Type: text/plain; charset=utf-7",
        _disposition(b"prompt") + b"".join(b"\r\nX-%d: y" % number for number in range(2000)),
        b"X: " + b"y" * 100_000 + b"\r\n" + _disposition(b"prompt"),
        _disposition(b"n" * 1_000_000),
    )
    place = dice.randrange(len(parts) + 1)
    return [*parts[:place], _Part(dice.choice(heads), dice.choice(VALUES)), *parts[place + 1 :]]


def _many(dice: random.Random, parts: list[_Part]) -> list[_Part]:
    return [*parts, *(_text(b"%d" % number, b"") for number in range(dice.choice((5, 30, 3000))))]


_CHANGES: tuple[Callable[[random.Random, list[_Part]], list[_Part]], ...] = (
    _drop,
    _double,
    _shuffle,
    _add_field,
    _add_field,
    _rename_file,
    _change_head,
    _many,
)
