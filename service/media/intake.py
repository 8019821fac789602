"""From checked uploads to inputs of a job: canonical files in blob storage, named by their own content."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from service.media.limits import ProbeLimits
from workers.contract import AudioInput, ImageInput

if TYPE_CHECKING:
    from service.media.validation import CheckedUpload
    from service.settings import ServiceSettings
    from workers.storage import BlobStore

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
    storage.put_file(key, checked.path, content_type=_CONTENT_TYPES[checked.kind])
    upload = checked.upload
    own = {"key": key, "sha256": upload.sha256, "bytes": upload.size_bytes, **checked.measured}
    kind = ImageInput if checked.kind == "image" else AudioInput
    return kind.model_validate(own)
