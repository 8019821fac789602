"""The shortest way to a video: `animate(picture, sound, prompt).save(path)`."""

from __future__ import annotations

import base64
import os
import sys
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from keyvid_client.client import KeyVID

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Unpack

    from keyvid_client.options import Content, VideoOptions
    from keyvid_client.schemas import Video

NOWHERE_TO_RUN = (
    "There is nothing to animate with: set KEYVID_URL to the address of a KeyVID service (and KEYVID_API_KEY), or pass"
    " url=..., or install the model to run it here: pip install '.[worker]' in KeyVID's folder."
)


@dataclass(frozen=True, slots=True)
class Animation:
    """A finished video: the bytes of its MP4, and its Video object if a service made it."""

    content: bytes = field(repr=False)
    video: Video | None = None

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the MP4; returns its path."""
        destination = Path(path)
        destination.write_bytes(self.content)
        return destination

    def _repr_html_(self) -> str:
        """How notebooks show it."""
        source = f"data:video/mp4;base64,{base64.b64encode(self.content).decode()}"
        return f'<video controls loop src="{source}"></video>'


def animate(
    image: Content,
    audio: Content,
    prompt: str,
    *,
    url: str | None = None,
    api_key: str | None = None,
    timeout_s: float | None = None,
    on_progress: Callable[[int, str], object] | None = None,
    **options: Unpack[VideoOptions],
) -> Animation:
    """Animate a picture to a sound and wait for the video.

    A service does it: the one at `url`, or at KEYVID_URL. Without either the model runs in this process, if the
    package `keyvid` is installed with it.

    Args:
        image: a path, the bytes of a file, or a file open for reading.
        audio: the same.
        prompt: what happens in the video, in words.
        url: the service; KEYVID_URL by default.
        api_key: for the service; KEYVID_API_KEY by default.
        timeout_s: how long to wait for the service's video, in seconds.
        on_progress: told percent and stage as they change; by default a terminal shows them.
        options: see VideoOptions.
    Raises: KeyVIDError by its subclasses; RuntimeError when there is nothing to animate with; in this process also
        the errors of the package `keyvid`, and TypeError for options that need a service.
    """
    report = on_progress or _show_on_terminal()
    if url or os.environ.get("KEYVID_URL"):
        with KeyVID(url, api_key) as client:
            video = client.create(image, audio, prompt, **options)
            video = client.wait(
                video, timeout_s=timeout_s, on_progress=lambda seen: report(seen.progress, _doing(seen))
            )
            return Animation(client.content(video), video)
    if not _is_model_installed():
        raise RuntimeError(NOWHERE_TO_RUN)
    # Read once, when torch is loaded: idle threads that spin make a busy machine ten times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from keyvid_client.in_process import generate  # noqa: PLC0415  (it needs torch, which a client does without)

    return Animation(generate(image, audio, prompt, options, report=report))


def _is_model_installed() -> bool:
    """Whether the package `keyvid` is here with what its model needs."""
    try:
        distribution("keyvid")
    except PackageNotFoundError:
        return False
    return all(find_spec(name) for name in ("model", "torch", "diffusers"))


def _doing(video: Video) -> str:
    """The stage, or the place in the queue."""
    return f"queued, turn {video.queue_position}" if video.queue_position else video.stage


def _show_on_terminal() -> Callable[[int, str], object]:
    """Rewrite one line of standard error; say nothing where it is no terminal."""

    def show(percent: int, doing: str) -> None:
        if sys.stderr.isatty():
            end = "\n" if percent == 100 else ""
            print(f"\r{percent:3d} %  {doing:<24}", end=end, file=sys.stderr, flush=True)  # noqa: T201  (progress)

    return show
