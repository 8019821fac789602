"""Whether uploads can be used: the sandbox's verdict, and the canonical files it wrote."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from service.errors import RefusedUpload, Unavailable, UnsupportedMedia
from service.media import sandbox
from service.media.forkserver import WALL_SECONDS
from service.media.probe import ProbeItem, ProbeRequest
from service.media.signature import HEAD_BYTES, Kind, Signature, read_signature

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from service.media.limits import ProbeLimits

CONFINE_COMMAND = (sys.executable, "-I", "-m", "service.media.confinement")
_CRASHED = {"image": "image_decode_failed", "audio": "audio_decode_failed"}
_ACCEPTED = {"image": "JPEG, PNG and WebP", "audio": "WAV, FLAC, MP3, Ogg (Vorbis, Opus) and M4A"}
_NOUNS = {"image": "picture", "audio": "sound"}


@dataclass(frozen=True, slots=True)
class Upload:
    """One file of a request as it arrived: `field` is its name in the form, `filename` the caller's (never a path)."""

    field: str
    filename: str
    path: Path
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class CheckedUpload:
    """An upload that can be used: its canonical form at `path`, and what the sandbox measured in the caller's file."""

    upload: Upload
    kind: Kind
    path: Path
    measured: dict[str, Any]


def measures_that_hold() -> list[str]:
    """What confines decoders on this machine: `limits`, and where the kernel allows it `network` and `calls`."""
    confined = subprocess.run(CONFINE_COMMAND, capture_output=True, text=True, check=False, timeout=WALL_SECONDS)
    return confined.stdout.split()


def signature_of(upload: Upload, *, kind: Kind | None) -> Signature:
    """Tell an upload's format by content; `kind` None allows both kinds.

    Raises: RefusedUpload when it is empty, UnsupportedMedia when it is none of the allowed formats.
    """
    if upload.size_bytes == 0:
        code = _CRASHED[kind] if kind else "validation_failed"
        raise RefusedUpload("The file is empty.", code=code, param=upload.field)
    with upload.path.open("rb") as file:
        signature = read_signature(file.read(HEAD_BYTES))
    if signature is None or (kind and signature.kind != kind):
        expected = _ACCEPTED[kind] if kind else " and ".join(_ACCEPTED.values())
        noun = _NOUNS[kind] if kind else "file"
        raise UnsupportedMedia(f"The {noun} is not in an accepted format: {expected} are.", param=upload.field)
    return signature


def check_uploads(uploads: Sequence[tuple[Upload, Kind | None]], *, limits: ProbeLimits) -> list[CheckedUpload]:
    """Decode uploads in one sandboxed child process, which leaves their canonical forms beside them.

    Raises: RefusedUpload, UnsupportedMedia; Busy when the machine is too slow to tell.
    """
    signatures = [signature_of(upload, kind=kind) for upload, kind in uploads]
    targets = [upload.path.with_suffix(".canonical") for upload, _ in uploads]
    items = tuple(ProbeItem(signature.kind, signature.decoder) for signature in signatures)
    files = [(upload.path, target) for (upload, _), target in zip(uploads, targets, strict=True)]
    reports = sandbox.SANDBOXES.run(ProbeRequest(items, limits), files)
    checked: list[CheckedUpload] = []
    for position, (upload, _) in enumerate(uploads):
        kind = signatures[position].kind
        if position >= len(reports):  # the sandbox died on this one
            raise RefusedUpload(f"The {_NOUNS[kind]} cannot be decoded.", code=_CRASHED[kind], param=upload.field)
        report = reports[position]
        if "disk_full" in report:
            raise Unavailable("There is not enough free disk.")
        if refused := report.get("refused"):
            raise RefusedUpload(refused["detail"], code=refused["code"], param=upload.field)
        checked.append(CheckedUpload(upload, kind, targets[position], report))
    return checked
