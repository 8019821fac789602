"""Which seconds and which frames of a video are evaluated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


def clip_starts(duration_s: float, clip_s: float, num_clips: int) -> tuple[float, ...]:
    """Start times in seconds: one clip is centred (perhaps before 0), several are spread from beginning to end."""
    if num_clips == 1:
        return ((duration_s - clip_s) / 2,)
    return tuple(float(start) for start in np.linspace(0, duration_s - clip_s, num_clips))


def sample_frames(times_s: Sequence[float], *, start_s: float, fps: float, num_frames: int) -> tuple[int, ...]:
    """Numbers of the frames that a clip of a video is made of.

    Args:
        times_s: presentation times of all decoded frames, ascending. Rounding shows: 1/3 s stored as 0.333333 comes
            before its target.
        start_s: begin of the clip.
        fps: rate to sample at.
        num_frames: frames wanted; the last one is repeated where the video ends early.
    Returns: for each target time the first frame at or after it, but no frame twice.
    Raises: ValueError when no frame lies in the clip.
    Source: released behaviour, with targets summed up in float64.
    """
    last_s = start_s + num_frames / fps + 0.5 / fps
    target = start_s
    picked: list[int] = []
    for number, time_s in enumerate(times_s):
        if len(picked) == num_frames or time_s > last_s:
            break
        if time_s >= target:
            picked.append(number)
            target += 1 / fps
    if not picked:
        raise ValueError("the clip lies outside of the video")
    return (*picked, *picked[-1:] * (num_frames - len(picked)))
