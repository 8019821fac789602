"""The sandbox: a child process that decodes one request's uploads and writes them in canonical form.

`python -m service.media.probe` reads a `ProbeRequest` as JSON from standard input and writes one line of JSON per file;
with `--spare` it loads all decoders before the request comes.
It opens its files first and then gives up the right to open anything more (see `confinement`), so whatever a hostile
file makes a decoder do, it can reach no other file, process or network, and only so much memory and processor time.
A crash here means that the file is refused, no more.
"""

from __future__ import annotations

import codecs
import errno
import json
import os
import sys
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.media.confinement import confine
from service.media.limits import ProbeLimits
from service.media.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class ProbeItem:
    """One upload: where it is, which decoder its signature calls for, and where the canonical form goes."""

    kind: str
    decoder: str
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """Everything one child does."""

    items: tuple[ProbeItem, ...]
    limits: ProbeLimits

    def to_json(self) -> str:
        """The request as it travels to the child."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ProbeRequest:
        """The request as the child reads it."""
        raw = json.loads(text)
        return cls(tuple(ProbeItem(**item) for item in raw["items"]), ProbeLimits(**raw["limits"]))


def main() -> None:
    """Decode what standard input asks for and report on standard output; stop at the first refusal."""
    if "--spare" in sys.argv:
        for kind in ("image", "audio"):
            _canonicalizer(kind)
    asked = sys.stdin.read()
    if not asked:  # whoever started a spare one has ended
        return
    request = ProbeRequest.from_json(asked)
    canonicalizers = [_canonicalizer(item.kind) for item in request.items]
    files = [(Path(item.source).open("rb"), Path(item.target).open("wb")) for item in request.items]  # noqa: SIM115  (closed by exit)
    for name in ("ascii", "latin-1", "utf-8", "utf-16"):
        codecs.lookup(name)  # loaded from disk on first use, which is impossible below
    confine()

    for item, canonicalize, (source, target) in zip(request.items, canonicalizers, files, strict=True):
        try:
            report = canonicalize(source, target, item.decoder, request.limits)
            target.close()
        except Refused as refused:
            report = {"refused": {"code": refused.code, "detail": refused.detail}}
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            report = {"disk_full": True}
        sys.stdout.write(json.dumps(report) + "\n")
        sys.stdout.flush()  # a crash on the next file must not take this report along
        if "refused" in report or "disk_full" in report:
            return


@cache
def _canonicalizer(kind: str) -> Callable[[BinaryIO, BinaryIO, str, ProbeLimits], dict[str, Any]]:
    """The function for this kind of upload, rehearsed: decoders load parts of themselves only when first used."""
    if kind == "image":
        from service.media.image import canonicalize_image, rehearse  # noqa: PLC0415  (a sound alone needs no Pillow)

        rehearse()
        return canonicalize_image
    from service.media.audio import canonicalize_audio, rehearse  # noqa: PLC0415

    rehearse()
    return canonicalize_audio


if __name__ == "__main__":
    main()
    os._exit(0)  # all is written; to take the decoders down in order would take longer than to use them
