"""What a video is made from: a picture, a sound, and knobs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, TypeAlias, TypedDict

from keyvid_client.schemas import File

if TYPE_CHECKING:
    from contextlib import ExitStack

Content: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO
"""A picture or a sound: a path, the bytes of a file, or a file open for reading."""

Source: TypeAlias = Content | File
"""The same, or a File that was sent ahead."""


class VideoOptions(TypedDict, total=False):
    """Knobs of a request; what is absent is the service's to choose.

    `seed` (0 to 2**32 - 1) gives the same frames for the same request; `audio_start` is where in the sound the video
    begins, in seconds; `guidance_*` are 0 to 30 with 1 as no extra push; `motion_strength` is 0.25 to 3;
    `preset` trades time against fidelity;
    `keyframes` are twelve frames, ascending from 0 to at most 47, in place of those that are heard; `image_crop` is
    left, top, width and height of the part to animate, in pixels of the upright picture.
    """

    seed: int
    audio_start: float
    image_fit: Literal["cover", "contain", "stretch"]
    image_crop: Sequence[int]
    num_inference_steps: int
    guidance_text: float
    guidance_image: float
    guidance_audio: float
    interpolation_mode: Literal["freenoise", "released"]
    motion_strength: float
    preset: Literal["exact", "balanced", "fast"]
    keyframes: Sequence[int]
    reference_compat: bool
    model: str
    preview: bool
    priority: Literal["low", "normal", "high"]
    cache: Literal["use", "bypass"]
    deadline_seconds: float
    ttl_seconds: float
    metadata: Mapping[str, str]


def form_fields(options: VideoOptions) -> dict[str, str]:
    """Options as text fields of a form."""
    return {name: _text(value) for name, value in options.items() if value is not None}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return json.dumps(dict(value))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(str, value))
    return str(value)


class Upload:
    """A file as it is sent, as often as it takes."""

    def __init__(self, source: Content, *, name: str) -> None:
        """Look at a source; raises FileNotFoundError for a path without a file."""
        self.path: Path | None = None
        self.content = b""
        self.name = name
        if isinstance(source, bytes):
            self.content = source
        elif isinstance(source, (str, os.PathLike)):
            self.path = Path(source)
            self.name = self.path.name
            if not self.path.is_file():
                raise FileNotFoundError(f"There is no file {self.path}")
        else:
            self.content = source.read()
            self.name = Path(str(getattr(source, "name", name))).name

    def part(self, opened: ExitStack) -> tuple[str, bytes | BinaryIO]:
        """Name and content for one try; the file is open until `opened` ends."""
        return self.name, self.content if self.path is None else opened.enter_context(self.path.open("rb"))
