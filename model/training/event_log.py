"""What a run tells while it goes: lines of JSON, lines in the log, and TensorBoard's file where it is installed."""

from __future__ import annotations

import io
import json
import logging
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    Frames = npt.NDArray[np.uint8]

logger = logging.getLogger(__name__)


class EventLog:
    """Writes means and sample videos of one run below its folder."""

    def __init__(self, folder: Path, *, title: str) -> None:
        self._folder = folder
        self._title = title
        self._writer: EventFileWriter | None = None
        if find_spec("tensorboard") is not None:  # of the extra `train`
            from tensorboard.summary.writer.event_file_writer import EventFileWriter  # noqa: PLC0415

            self._writer = EventFileWriter(str(folder / "events"))

    def means(self, step: int, steps: int, values: Mapping[str, float], *, seconds: float) -> None:
        """Write means over the steps since the last call."""
        row = {"step": step, "seconds": round(seconds, 1)} | {name: round(value, 5) for name, value in values.items()}
        with (self._folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        shown = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
        logger.info("%s step %d of %d  %.0f s  %s", self._title, step, steps, seconds, shown)
        self._write(step, [(name, value) for name, value in values.items()])

    def videos(self, step: int, videos: Mapping[str, Frames], *, fps: int) -> None:
        """Write sample videos uint8 `[T, H, W, 3]` as animated pictures, below `samples/` and for TensorBoard."""
        folder = self._folder / "samples"
        folder.mkdir(exist_ok=True)
        animations = {name: _animation(frames, fps=fps) for name, frames in videos.items()}
        for name, animation in animations.items():
            (folder / f"step-{step:07d}-{name}.gif").write_bytes(animation)
        self._write(step, [(f"samples/{name}", animation) for name, animation in animations.items()])

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()

    def _write(self, step: int, values: list[tuple[str, float]] | list[tuple[str, bytes]]) -> None:
        if self._writer is None:
            return
        from tensorboard.compat.proto.event_pb2 import Event  # noqa: PLC0415  (of the extra `train`)
        from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: PLC0415

        entries = [_entry(tag, value) for tag, value in values]
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=entries)))
        self._writer.flush()


def _entry(tag: str, value: float | bytes) -> Summary.Value:
    from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: PLC0415  (of the extra `train`)

    if isinstance(value, bytes):
        return Summary.Value(tag=tag, image=Summary.Image(encoded_image_string=value))
    return Summary.Value(tag=tag, simple_value=value)


def _animation(frames: Frames, *, fps: int) -> bytes:
    """An endless GIF: what TensorBoard shows moving, without another encoder."""
    first, *rest = [Image.fromarray(frame) for frame in frames]
    buffer = io.BytesIO()
    first.save(buffer, "GIF", save_all=True, append_images=rest, duration=round(1000 / fps), loop=0)
    return buffer.getvalue()
