"""Videos of a data set decoded by PyAV: every frame, the sound at 16 kHz, and whether both can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import av
import numpy as np
import numpy.typing as npt
import torch

from model.clips import AudioClip
from model.datasets.errors import BrokenClip
from model.media.mel import SAMPLE_RATE_HZ, resample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from av.container import InputContainer

    from model.datasets.errors import Fault
    from model.datasets.layout import DataClip

Frame = npt.NDArray[np.uint8]

MIN_SECONDS = 2.0
_SLACK_SECONDS = 0.1  # codecs pad and trim by a frame or two
# Time stamps in milliseconds differ by 3 % at 30 frames a second; a phone that drops frames differs by 100 %.
_MAX_INTERVAL_DEVIATION = 0.25
_MAX_ODD_INTERVALS = 0.02
_SAME_RATE = 0.005


@dataclass(frozen=True, slots=True)
class Footage:
    """What is known of a clip once it is decoded.

    Args:
        fps: its own frame rate.
        num_frames: frames that could be decoded.
        size: height and width in pixels.
        sound: all of it, at 16 kHz.
    """

    fps: float
    num_frames: int
    size: tuple[int, int]
    sound: AudioClip

    @property
    def duration_s(self) -> float:
        """Length of the picture in seconds."""
        return self.num_frames / self.fps


class FootageReader:
    """Decodes one clip: first its frames, one by one, then `finish` tells the rest.

    Raises: BrokenClip, at once for a file that is no video, and while decoding or at the end for what shows only then.
    """

    def __init__(self, clip: DataClip) -> None:
        self._clip = clip
        self._times: list[float] = []
        self._size = (0, 0)
        self._nominal_fps = 0.0
        if not clip.path.is_file() or clip.path.stat().st_size == 0:
            raise self._broken("empty file")

    def frames(self) -> Iterator[Frame]:
        """Every frame in order, uint8 `[H, W, 3]`."""
        with self._opened(self._clip.path) as container:
            if not container.streams.video:
                raise self._broken("not a video", "there is no picture in it")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            self._nominal_fps = float(stream.guessed_rate or 0)
            try:
                for frame in container.decode(stream):
                    if frame.is_corrupt:
                        raise self._broken("damaged", f"frame {len(self._times)}")
                    picture = frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
                    self._times.append(float(frame.time or 0.0))
                    self._size = (picture.shape[0], picture.shape[1])
                    yield picture
            except av.FFmpegError as error:
                raise self._broken("damaged", f"after frame {len(self._times)}") from error
            if 0 < len(self._times) < stream.frames - 1:
                raise self._broken("cut short", f"{len(self._times)} of {stream.frames} frames")

    def finish(self) -> Footage:
        """Check what was decoded, and decode the sound. Call it when all frames have been read."""
        times = self._times
        if len(times) < 2:
            raise self._broken("too short", f"{len(times)} frames")
        fps = self._even_rate()
        duration = len(times) / fps
        if duration < MIN_SECONDS - _SLACK_SECONDS:
            raise self._broken("too short", f"{duration:.2f} s")
        sound = self._sound()
        if sound.duration_s < min(duration, MIN_SECONDS) - _SLACK_SECONDS:
            raise self._broken("sound too short", f"{sound.duration_s:.2f} s of sound for {duration:.2f} s of picture")
        return Footage(fps, len(times), self._size, sound)

    def _even_rate(self) -> float:
        intervals = np.diff(self._times)
        usual = median(intervals.tolist())
        odd = np.abs(intervals - usual) > _MAX_INTERVAL_DEVIATION * usual
        if usual <= 0 or odd.mean() > _MAX_ODD_INTERVALS:
            shortest, longest = 1000 * intervals.min(), 1000 * intervals.max()
            raise self._broken("variable frame rate", f"{shortest:.0f} to {longest:.0f} ms between frames")
        fps = float(len(intervals) / (self._times[-1] - self._times[0]))
        # Time stamps in whole milliseconds make 29.995 of 30.
        return self._nominal_fps if abs(self._nominal_fps / fps - 1) < _SAME_RATE else fps

    def _sound(self) -> AudioClip:
        path = self._clip.sound or self._clip.path
        chunks: list[npt.NDArray[np.float32]] = []
        with self._opened(path) as container:
            if not container.streams.audio:
                raise self._broken("no sound")
            stream = container.streams.audio[0]
            rate = stream.rate
            layout = "mono" if stream.channels == 1 else "stereo"
            resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
            try:
                for frame in container.decode(stream):
                    frame.pts = None  # gaps in time stamps are no silence
                    chunks += [part.to_ndarray().astype(np.float32) for part in resampler.resample(frame)]
            except av.FFmpegError as error:
                raise self._broken("damaged", "its sound cannot be decoded") from error
        if not chunks:
            raise self._broken("no sound", "the track is empty")
        samples = torch.from_numpy(np.concatenate(chunks, axis=1))
        if not torch.isfinite(samples).all():
            raise self._broken("damaged", "its sound holds values that are not numbers")
        return resample(AudioClip(samples.clamp(-1.0, 1.0), rate), SAMPLE_RATE_HZ)

    def _opened(self, path: Path) -> InputContainer:
        try:
            return av.open(str(path), mode="r")
        except (av.FFmpegError, OSError) as error:
            raise self._broken("not a video", "cut short or of another kind") from error

    def _broken(self, fault: Fault, detail: str = "") -> BrokenClip:
        return BrokenClip(self._clip.name, fault, detail)
