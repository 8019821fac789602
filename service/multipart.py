"""Forms with files, streamed to disk while they are counted and hashed.

The framework's own parser reads whole fields into memory and has no limit for files; this one knows which fields and
which files a form may have and stops at the first byte too many. Parsing and writing happen off the event loop.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import unicodedata
from collections import Counter
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool

from service.errors import (
    MalformedMultipart,
    PayloadTooLarge,
    UnsupportedMedia,
    ValidationFailed,
)
from service.media.validation import Upload
from workers.failpoints import Failpoint, reach

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from typing import BinaryIO

    from starlette.requests import Request

BATCH_BYTES = 256 * 1024  # handed to a thread at once
MAX_FILENAME = 255
MAX_NAME_BYTES = 256


@dataclass(frozen=True, slots=True)
class FormLimits:
    """What a form may hold; `max_file_bytes` names the file fields that exist."""

    max_file_bytes: Mapping[str, int]
    max_parts: int
    max_field_bytes: int


@dataclass(slots=True)
class Form:
    """A received form: text fields and files by name, each at most once."""

    fields: dict[str, str] = field(default_factory=dict)
    files: dict[str, Upload] = field(default_factory=dict)


@asynccontextmanager
async def receive_form(request: Request, folder: Path, limits: FormLimits) -> AsyncIterator[Form]:
    """Receive a multipart form; its files live in a folder of their own until the block ends.

    Raises: UnsupportedMedia, MalformedMultipart, PayloadTooLarge, ValidationFailed.
    """
    content_type, options = parse_options_header(request.headers.get("content-type"))
    if content_type != b"multipart/form-data":
        raise UnsupportedMedia("Send the fields as multipart/form-data.")
    boundary = options.get(b"boundary")
    if not boundary:
        raise MalformedMultipart("The content type names no boundary.")
    scratch = Path(await run_in_threadpool(_new_folder, folder))
    reader: FormReader | None = None
    try:
        reader = FormReader(boundary, scratch, limits)
        batch = bytearray()
        async for chunk in request.stream():
            batch += chunk
            if len(batch) >= BATCH_BYTES:
                await run_in_threadpool(reader.write, batch)
                batch = bytearray()
        await run_in_threadpool(reader.write, batch)
        form = reader.finish()
        reach(Failpoint.FORM_RECEIVED)
        yield form
    finally:
        if reader:
            reader.close()
        shutil.rmtree(scratch, ignore_errors=True)  # a few unlinked names; must also happen when the task is cancelled


def _new_folder(parent: Path) -> str:
    parent.mkdir(parents=True, exist_ok=True)
    return tempfile.mkdtemp(prefix="upload-", dir=parent)


class FormReader:
    """Takes a multipart body piece by piece."""

    def __init__(self, boundary: bytes, folder: Path, limits: FormLimits) -> None:
        self._folder = folder
        self._limits = limits
        self._form = Form()
        self._names: Counter[str] = Counter()
        self._is_complete = False
        self._header_name = b""
        self._header_value = b""
        self._disposition = b""
        self._name = ""
        self._filename: str | None = None
        self._text = bytearray()
        self._file: BinaryIO | None = None
        self._size = 0
        self._hash = hashlib.sha256()
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": self._add_header_name,
                    "on_header_value": self._add_header_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._begin_content,
                    "on_part_data": self._add_content,
                    "on_part_end": self._end_part,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise MalformedMultipart from error

    def write(self, data: bytes | bytearray) -> None:
        """Take the next bytes of the body.

        Raises: MalformedMultipart, PayloadTooLarge, ValidationFailed.
        """
        try:
            self._parser.write(bytes(data))
        except FormParserError as error:
            raise MalformedMultipart from error

    def finish(self) -> Form:
        """The form, once the body has ended.

        Raises: MalformedMultipart when the body broke off.
        """
        if not self._is_complete:
            raise MalformedMultipart("The body ends before its last boundary.")
        return self._form

    def close(self) -> None:
        """Let go of a file that was not received to its end."""
        if self._file:
            with suppress(OSError):  # a full disk may refuse the last bytes of what is thrown away
                self._file.close()

    def _begin_part(self) -> None:
        self._disposition = b""

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value
        self._header_name = self._header_value = b""

    def _begin_content(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"")
        if not name or len(name) > MAX_NAME_BYTES:
            raise MalformedMultipart("A part has no usable name.")
        self._name = name.decode(errors="replace")
        self._names[self._name] += 1
        if self._names.total() > self._limits.max_parts:
            raise MalformedMultipart(f"The form has more than {self._limits.max_parts} parts.")
        if self._names[self._name] > 1:
            raise ValidationFailed("Send this field only once.", param=self._name)
        self._filename = options[b"filename"].decode(errors="replace") if b"filename" in options else None
        self._size = 0
        if self._filename is None:
            self._text.clear()
            return
        if self._name not in self._limits.max_file_bytes:
            raise ValidationFailed("There is no file field of this name.", param=self._name)
        self._hash = hashlib.sha256()
        self._file = (self._folder / f"part-{len(self._form.files)}").open("wb")

    def _add_content(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._file is None:
            if self._size > self._limits.max_field_bytes:
                raise PayloadTooLarge(
                    f"A text field may have at most {self._limits.max_field_bytes} bytes.", param=self._name
                )
            self._text += data[start:end]
            return
        most = self._limits.max_file_bytes[self._name]
        if self._size > most:
            raise PayloadTooLarge(f"The file may have at most {most / 1e6:g} MB.", param=self._name)
        piece = data[start:end]
        self._hash.update(piece)
        self._file.write(piece)

    def _end_part(self) -> None:
        if self._file is None:
            try:
                self._form.fields[self._name] = self._text.decode()
            except UnicodeDecodeError as error:
                raise ValidationFailed("The text is not valid UTF-8.", param=self._name) from error
            return
        self._file.close()
        self._form.files[self._name] = Upload(
            field=self._name,
            filename=clean_filename(self._filename or ""),
            path=Path(self._file.name),
            size_bytes=self._size,
            sha256=self._hash.hexdigest(),
        )
        self._file = None

    def _end(self) -> None:
        self._is_complete = True


def clean_filename(name: str) -> str:
    """The caller's name for a file, fit to be shown: no folders, no control or formatting characters, at most 255."""
    base = name.replace("\\", "/").rpartition("/")[2]
    printable = "".join(character for character in base if unicodedata.category(character)[0] != "C")
    return printable[-MAX_FILENAME:]
