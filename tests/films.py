"""Small films for tests: a picture that moves when its sound clicks, written by PyAV, whole or broken on purpose."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

RATE_HZ = 16_000


def texture(height: int, width: int, *, seed: int = 0) -> np.ndarray:
    """Smooth coloured noise, uint8 `[height, width, 3]`, which wraps around."""
    noise = np.random.default_rng(seed).normal(size=(height, width, 3))
    for axis in (0, 1):
        for _ in range(3):
            noise = (noise + np.roll(noise, 1, axis) + np.roll(noise, -1, axis)) / 3
    noise = (noise - noise.min()) / (noise.max() - noise.min())
    return (noise * 255).astype(np.uint8)


def moving_frames(shifts: Sequence[int], *, height: int = 64, width: int = 96, seed: int = 0) -> list[np.ndarray]:
    """Frames of a texture that has moved right by the sum of the shifts so far."""
    picture = texture(height, width, seed=seed)
    return [np.roll(picture, int(total), axis=1) for total in np.cumsum(shifts)]


def click_track(seconds: float, times_s: Sequence[float]) -> np.ndarray:
    """Clicks of 50 ms on faint noise, float32 mono at 16 kHz."""
    samples = 0.003 * np.random.default_rng(1).normal(size=round(seconds * RATE_HZ))
    for time_s in times_s:
        first = round(time_s * RATE_HZ)
        click = np.random.default_rng(2).normal(size=800) * np.exp(-np.arange(800) / 160)
        samples[first : first + 800] += 0.3 * click[: max(len(samples) - first, 0)]
    return samples.astype(np.float32)


def write_film(
    path: Path,
    frames: Sequence[np.ndarray],
    *,
    fps: int = 24,
    samples: np.ndarray | None = None,
    times_ms: Sequence[int] | None = None,
) -> None:
    """Write an MP4 of H.264 and AAC; `times_ms` overrides the even spacing of frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=fps)
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = "yuv420p"
        video.options = {"crf": "12", "preset": "ultrafast"}
        video.codec_context.time_base = Fraction(1, 1000)
        audio = container.add_stream("aac", rate=RATE_HZ, layout="mono") if samples is not None else None
        times = times_ms or [round(1000 * index / fps) for index in range(len(frames))]
        for picture, time_ms in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            sound = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
            sound.sample_rate = RATE_HZ
            sound.pts = 0
            container.mux(audio.encode(sound))
            container.mux(audio.encode(None))


def write_clip(path: Path, *, seconds: float = 2.5, fps: int = 24, seed: int = 0) -> None:
    """A sound film that moves by 3 px a frame for a sixth of a second after each of three clicks."""
    times = (0.4, 1.0, 1.7)
    shifts = [
        3 if any(0 <= index / fps - time_s < 1 / 6 for time_s in times) else 0 for index in range(round(seconds * fps))
    ]
    write_film(path, moving_frames(shifts, seed=seed), fps=fps, samples=click_track(seconds, times))


def write_class_folder(
    root: Path, *, per_class: int = 2, classes: Sequence[str] = ("dog_barking", "hammering")
) -> None:
    """A folder as AVSync15 publishes it, all of it for training."""
    for number, name in enumerate(classes):
        for index in range(per_class):
            write_clip(root / "train" / name / f"clip_{index}_0.0_9.0.mp4", seed=10 * number + index)
