"""Waiting for a video by polls that cost nothing while nothing changes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from keyvid_client.errors import VideoCancelled, VideoFailed, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

    from keyvid_client.calls import Glance
    from keyvid_client.schemas import Video


class Wait:
    """One wait: what was seen last, and until when to go on."""

    def __init__(self, *, timeout_s: float | None, on_progress: Callable[[Video], object] | None) -> None:
        """Begin now."""
        self.etag: str | None = None
        self.pause_s = 0.0
        """Pause before the next poll, as the service asks."""
        self._video: Video | None = None
        self._timeout_s = timeout_s
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._on_progress = on_progress

    def take(self, glance: Glance) -> Video | None:
        """Take what a poll found; returns the video once it is completed.

        Raises: VideoFailed, VideoCancelled, WaitTimeout.
        """
        self.etag, self.pause_s = glance.etag, glance.pause_s
        if glance.video is not None:
            self._video = glance.video
            if self._on_progress is not None:
                self._on_progress(glance.video)
            if glance.video.status == "completed":
                return glance.video
            if glance.video.status == "failed":
                raise VideoFailed(glance.video)
            if glance.video.status == "cancelled":
                raise VideoCancelled(glance.video)
        if self._deadline is not None and self._timeout_s is not None:
            left_s = self._deadline - time.monotonic()
            if left_s <= 0 and self._video is not None:
                raise WaitTimeout(self._video, timeout_s=self._timeout_s)
            self.pause_s = min(self.pause_s, max(left_s, 0.0))
        return None
