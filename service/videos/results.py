"""Copies of finished videos for requests that ask for what was made before."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import structlog

from workers.errors import BlobNotFound
from workers.failpoints import Failpoint, reach
from workers.ids import new_id
from workers.result_cache import CachedResult

if TYPE_CHECKING:
    from workers.jobs import Job
    from workers.storage import BlobStore

logger = structlog.get_logger(__name__)


def copy_result(source: Job, storage: BlobStore, *, temp_dir: Path) -> CachedResult | None:
    """Copy a finished video, so that each job's blobs live and end with it; None where the video is not whole.

    Raises: StorageUnavailable.
    """
    output = source.output
    if output is None:
        return None
    job_id = new_id("video")
    temp_dir.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="copy-", dir=temp_dir) as folder:
        path = Path(folder, "video.mp4")
        try:
            storage.get_to_file(output.key, path)
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != output.sha256:
                    logger.warning("stored_video_damaged", job_id=source.id)
                    return None
            thumbnail_key = _copy_picture(output.thumbnail_key, storage, job_id, folder=Path(folder))
            spritesheet_key = _copy_picture(output.spritesheet_key, storage, job_id, folder=Path(folder))
        except BlobNotFound:
            return None
        key = f"outputs/{job_id}/0/video.mp4"
        if storage.put_file(key, path, content_type="video/mp4").size != output.bytes:
            return None
    copy = replace(output, key=key, thumbnail_key=thumbnail_key, spritesheet_key=spritesheet_key)
    reach(Failpoint.RESULT_COPIED)
    return CachedResult(job_id, source.id, copy)


def _copy_picture(key: str | None, storage: BlobStore, job_id: str, *, folder: Path) -> str | None:
    """Copy a still picture, if there is one; answers the copy's key."""
    if key is None:
        return None
    picture = folder / "picture"
    storage.get_to_file(key, picture)
    copy_key = f"outputs/{job_id}/0/{key.rpartition('/')[2]}"
    storage.put_file(copy_key, picture, content_type="image/jpeg")
    return copy_key
