"""The files of a video that can be downloaded."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

from service.content import Content
from service.errors import NotFound, NotReady
from workers.errors import BlobNotFound
from workers.storage import preview_key

if TYPE_CHECKING:
    from workers.jobs import Job
    from workers.storage import BlobStore

Variant = Literal["video", "thumbnail", "spritesheet", "preview", "image", "audio"]


def find_content(job: Job, variant: Variant, storage: BlobStore) -> Content:
    """Find a finished video's file, the newest preview of one in the making, or what any of them is made from.

    Raises: NotReady, NotFound; StorageUnavailable.
    """
    request = job.request
    if variant == "image":
        return Content(request.image.key, f'"{request.image.sha256}"', "image/png", f"{job.id}-image.png")
    if variant == "audio":
        return Content(request.audio.key, f'"{request.audio.sha256}"', "audio/wav", f"{job.id}-audio.wav")
    if variant == "preview":
        return _preview(job, storage)
    if job.output is None:
        raise NotReady(_why_not_ready(job))
    if variant == "video":
        return Content(job.output.key, f'"{job.output.sha256}"', "video/mp4", f"{job.id}.mp4")
    key = job.output.thumbnail_key if variant == "thumbnail" else job.output.spritesheet_key
    if key is None:
        raise NotFound(f"This video has no {variant}.")
    return Content(key, f'"{job.output.sha256}-{variant}"', "image/jpeg", f"{job.id}-{variant}.jpg")


def _preview(job: Job, storage: BlobStore) -> Content:
    if not job.request.preview:
        raise NotFound("This video has no previews: ask for them with preview=true.")
    key = preview_key(job.id, job.fence)
    try:
        picture = storage.get_bytes(key)
    except BlobNotFound as error:
        raise NotReady("There is no preview yet.") from error
    etag = f'"{hashlib.sha256(picture).hexdigest()}"'
    return Content(key, etag, "image/jpeg", f"{job.id}-preview.jpg", picture)


def _why_not_ready(job: Job) -> str:
    if job.status.is_terminal:
        return f"The video is {job.status.value}: it has no content."
    return f"The video is {job.status.value}: ask again when it is completed."
