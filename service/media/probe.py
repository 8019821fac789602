"""The sandbox: a child process that decodes one request's uploads and writes them in canonical form.

It is given its request and the open files of it through a connection, and then gives up the right to open anything
(see `confinement`), so whatever a hostile file makes a decoder do, it can reach no other file, process or network, and
only so much memory and processor time. It answers one line of JSON per file. A crash here means that the file is
refused, no more.
"""

from __future__ import annotations

import codecs
import errno
import json
import os
import socket
import traceback
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from service.media.limits import ProbeLimits
from service.media.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import BinaryIO

    from service.media.confinement import Confinement

    Canonicalize = Callable[[BinaryIO, BinaryIO, str, ProbeLimits], dict[str, Any]]

MAX_FILES = 8  # of one request, sources and targets together
_CHUNK_BYTES = 1 << 16
_LAST_WORDS = 300


@dataclass(frozen=True, slots=True)
class ProbeItem:
    """One upload: what it is, and which decoder its signature calls for."""

    kind: str
    decoder: str


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """Everything one child does; the open files travel beside it, a source and a target for each item."""

    items: tuple[ProbeItem, ...]
    limits: ProbeLimits

    def to_json(self) -> bytes:
        """The request as it travels to the child."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, text: bytes) -> ProbeRequest:
        """The request as the child reads it."""
        raw = json.loads(text)
        return cls(tuple(ProbeItem(**item) for item in raw["items"]), ProbeLimits(**raw["limits"]))


def load_canonicalizers() -> Mapping[str, Canonicalize]:
    """The function for each kind of upload, with all that decoders load on first use: inside nothing can be loaded."""
    from service.media import audio, image  # noqa: PLC0415  (the API knows this module and needs no decoder)

    for kind in (image, audio):
        kind.rehearse()
    for name in ("ascii", "latin-1", "utf-8", "utf-16"):
        codecs.lookup(name)
    return {"image": image.canonicalize_image, "audio": audio.canonicalize_audio}


def probe(connection: socket.socket, canonicalizers: Mapping[str, Canonicalize], confinement: Confinement) -> bool:
    """Decode what a connection asks for and report on it, up to the first refusal; False when a decoder broke."""
    request, files = _receive(connection)
    confinement.put_on()
    for item, source, target in zip(request.items, files[::2], files[1::2], strict=True):
        try:
            report = canonicalizers[item.kind](source, target, item.decoder, request.limits)
            target.close()
        except Refused as refused:
            report = {"refused": {"code": refused.code, "detail": refused.detail}}
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                return _broken(connection)
            report = {"disk_full": True}
        except Exception:  # noqa: BLE001  (whatever it is, it is told to the log, and the file is refused)
            return _broken(connection)
        _tell(connection, report)  # at once: a crash on the next file must not take this report along
        if "refused" in report or "disk_full" in report:
            break
    return True


def _receive(connection: socket.socket) -> tuple[ProbeRequest, list[BinaryIO]]:
    text, descriptors = b"", []
    while True:
        piece, received, _, _ = socket.recv_fds(connection, _CHUNK_BYTES, MAX_FILES)
        descriptors += received
        if not piece:
            break
        text += piece
    files = [os.fdopen(file, "wb" if place % 2 else "rb") for place, file in enumerate(descriptors)]
    return ProbeRequest.from_json(text), files


def _broken(connection: socket.socket) -> bool:
    _tell(connection, {"last_words": traceback.format_exc()[-_LAST_WORDS:]})
    return False


def _tell(connection: socket.socket, report: dict[str, Any]) -> None:
    """Write one line; by `write`, because the calls that are made for sockets are given up."""
    os.write(connection.fileno(), json.dumps(report).encode() + b"\n")
