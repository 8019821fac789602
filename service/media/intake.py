"""From checked uploads to inputs of a job: canonical files in blob storage, named by their own content."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, TypeVar

from service.errors import ValidationFailed
from service.media.limits import ProbeLimits
from service.videos.schemas import InputAudio
from workers.contract import CLIP_SECONDS, AudioInput, ImageInput
from workers.errors import FileNotKnown
from workers.failpoints import Failpoint, reach

if TYPE_CHECKING:
    from service.media.validation import CheckedUpload
    from service.settings import ServiceSettings
    from workers.file_store import FileStore
    from workers.storage import BlobStore

Input = TypeVar("Input", ImageInput, AudioInput)

_CONTENT_TYPES = {"image": "image/png", "audio": "audio/wav"}


def probe_limits(settings: ServiceSettings) -> ProbeLimits:
    """The limits that the operator set, for the sandbox."""
    return ProbeLimits(max_image_pixels=settings.max_image_pixels, max_audio_seconds=settings.max_audio_seconds)


def store_input(storage: BlobStore, checked: CheckedUpload) -> ImageInput | AudioInput:
    """Put the canonical file into storage and describe the caller's own.

    Raises: StorageUnavailable.
    """
    with checked.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    key = f"inputs/{digest}"
    reach(Failpoint.INPUT_UPLOADING)
    storage.put_file(key, checked.path, content_type=_CONTENT_TYPES[checked.kind])
    reach(Failpoint.INPUT_UPLOADED)
    upload = checked.upload
    own = {"key": key, "sha256": upload.sha256, "bytes": upload.size_bytes, **checked.measured}
    kind = ImageInput if checked.kind == "image" else AudioInput
    return kind.model_validate(own)


def kept_input(store: FileStore, kind: type[Input], file_id: str | None, *, tenant: str, param: str) -> Input | None:
    """A file that was sent before, as an input; None without an id.

    Raises: ValidationFailed when the tenant has no such file, or it is of the other kind.
    """
    if file_id is None:
        return None
    try:
        file = store.get_file(file_id, tenant=tenant)
    except FileNotKnown as error:
        raise ValidationFailed("There is no such file.", param=param) from error
    if ("width" in file.media) != (kind is ImageInput):
        noun = "a picture" if kind is ImageInput else "a sound"
        raise ValidationFailed(f"This file is not {noun}.", param=param)
    return kind.model_validate(dict(file.media))


def describe_audio(audio: AudioInput, *, start_s: float) -> InputAudio:
    """A sound as its caller sees it, with the part of it that a video which begins at `start_s` uses."""
    used_end_s = min(start_s + CLIP_SECONDS, audio.duration_s)
    return InputAudio(
        sha256=audio.sha256,
        duration_s=round(audio.duration_s, 6),
        sample_rate=audio.sample_rate,
        channels=audio.channels,
        bytes=audio.bytes,
        used_start_s=start_s,
        used_end_s=round(used_end_s, 6),
        padded_s=round(CLIP_SECONDS - (used_end_s - start_s), 6),
    )
