"""Previews of a job: encoded and stored beside the work, so that the work never waits for them."""

from __future__ import annotations

import io
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import structlog
from PIL import Image

from workers.errors import WorkerError
from workers.runner_messages import Previewed

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

    from workers.jobs import JobStage
    from workers.runner_messages import Report
    from workers.storage import BlobStore

logger = structlog.get_logger(__name__)

PERIOD_S = 0.5
LINGER_S = 1.0  # for a picture that is on its way when the job ends; storage that is slower is not waited for
QUALITY = 80


@dataclass(frozen=True, slots=True)
class _Picture:
    stage: JobStage
    frame: int
    pixels: npt.NDArray[np.uint8]


class Previews:
    """Takes pictures at most twice a second, and only while the one before is on its way no longer.

    A context: leaving it drops what was not stored yet. A picture that cannot be stored is left out.
    """

    def __init__(self, key: str, storage: BlobStore, send: Callable[[Report], None]) -> None:
        self._key = key
        self._storage = storage
        self._send = send
        self._taken_at = float("-inf")
        self._picture: _Picture | None = None
        self._news = threading.Condition()
        self._is_over = False
        self._thread = threading.Thread(target=self._publish, name="previews", daemon=True)

    def __enter__(self) -> Self:
        """Begin to publish."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop; no preview is told of after this."""
        with self._news:
            self._is_over = True
            self._news.notify()
        self._thread.join(LINGER_S)

    def is_due(self) -> bool:
        """Whether another picture is wanted now."""
        return self._picture is None and time.monotonic() - self._taken_at >= PERIOD_S

    def show(self, stage: JobStage, frame: int, pixels: npt.NDArray[np.uint8]) -> None:
        """Hand over a picture, uint8 `[H, W, 3]`, of a frame."""
        with self._news:
            self._taken_at = time.monotonic()
            self._picture = _Picture(stage, frame, pixels)
            self._news.notify()

    def _publish(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._is_over or self._picture is not None)
                picture = self._picture
                if self._is_over or picture is None:
                    return
            try:
                self._storage.put_bytes(self._key, _jpeg(picture.pixels), content_type="image/jpeg")
            except WorkerError as error:
                logger.warning("preview_not_stored", error=type(error).__name__)
            else:
                self._tell(picture)
            self._picture = None

    def _tell(self, picture: _Picture) -> None:
        height, width, _ = picture.pixels.shape
        with self._news:
            if not self._is_over:
                self._send(Previewed(picture.stage, picture.frame, width, height))


def _jpeg(pixels: npt.NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
