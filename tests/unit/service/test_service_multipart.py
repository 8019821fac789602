"""Forms, received piece by piece."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import MalformedMultipart, PayloadTooLarge, ServiceError, ValidationFailed
from service.multipart import Form, FormLimits, FormReader, clean_filename

LIMITS = FormLimits(max_file_bytes={"audio": 5000}, max_parts=4, max_field_bytes=100)


def part(name: str, content: bytes, *, filename: str | None = None) -> bytes:
    """One part of a body whose boundary is `edge`."""
    disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename is not None else "")
    return f"--edge\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + content + b"\r\n"


def receive(body: bytes, folder: Path, *, piece: int = 1 << 20) -> Form:
    """Read a body in pieces of a size."""
    reader = FormReader(b"edge", folder, LIMITS)
    try:
        for start in range(0, len(body), piece):
            reader.write(body[start : start + piece])
        return reader.finish()
    finally:
        reader.close()


@given(content=st.binary(max_size=400), piece=st.integers(1, 97))
def test_pieces_do_not_matter(content: bytes, piece: int) -> None:
    """However the network cuts a body, fields and files arrive whole, files with their hash."""
    body = part("prompt", "h\u00e9".encode()) + part("audio", content, filename="a.wav") + b"--edge--\r\n"

    with tempfile.TemporaryDirectory() as folder:
        form = receive(body, Path(folder), piece=piece)

        assert form.fields == {"prompt": "h\u00e9"}
        assert form.files["audio"].path.read_bytes() == content
        assert form.files["audio"].sha256 == hashlib.sha256(content).hexdigest()
        assert form.files["audio"].size_bytes == len(content)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (part("a", b"1") + part("a", b"2") + b"--edge--", ValidationFailed),
        (part("audio", b"1", filename="x") + part("audio", b"2", filename="y") + b"--edge--", ValidationFailed),
        (part("other", b"1", filename="x") + b"--edge--", ValidationFailed),
        (part("a", b"\xff\xfe") + b"--edge--", ValidationFailed),
        (part("a", bytes(101)) + b"--edge--", PayloadTooLarge),
        (part("audio", bytes(5001), filename="x") + b"--edge--", PayloadTooLarge),
        (b"".join(part(f"f{number}", b"") for number in range(5)) + b"--edge--", MalformedMultipart),
        (part("", b"1") + b"--edge--", MalformedMultipart),
        (part("n" * 300, b"1") + b"--edge--", MalformedMultipart),
        (part("a", b"1"), MalformedMultipart),
        (b"no form at all", MalformedMultipart),
        (b"", MalformedMultipart),
    ],
    ids=[
        "field twice", "file twice", "unknown file", "not utf-8", "long field", "large file", "parts",
        "no name", "long name", "cut", "words", "empty",
    ],
)  # fmt: skip
def test_bad_form_is_refused(tmp_path: Path, body: bytes, error: type[ServiceError]) -> None:
    """Each kind of bad form has its answer."""
    with pytest.raises(error):
        receive(body, tmp_path)


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\fake\\a.wav", "a.wav"),
        ("a\x00b\u202e.wav", "ab.wav"),
        ("x" * 300, "x" * 255),
        ("..", ".."),
    ],
)
def test_filename_is_only_a_label(sent: str, shown: str) -> None:
    """Folders and invisible characters of a caller's filename are dropped."""
    assert clean_filename(sent) == shown
