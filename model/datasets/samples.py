"""What training sees of a clip: two seconds from a random start, twelve frames of it, and its sound.

Every draw comes from the generator that is passed in. Source: KeyVID sec. 4.1; the rest is released behaviour, and
where the paper says otherwise the choice is an argument.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.localization.labels import label_window, motion_label, normalise_label
from model.localization.plan import NUM_KEYFRAMES, find_peaks_and_valleys, motion_curve, plan_keyframes, smooth
from model.localization.released_plan import ReleasedPlan, training_plan, uniform_training_plan
from model.media.mel import SAMPLE_RATE_HZ, WINDOW_SAMPLES, log_mel

if TYPE_CHECKING:
    from model.datasets.cache import CachedClip

KeyframeRule = Literal["released", "paper"]

_GRID_FPS = 24
_GRID_FRAMES = 48
_WINDOW_S = 2
_LISTENING_MEL_FRAMES = 198


@dataclass(frozen=True, slots=True)
class VideoSample:
    """Twelve frames of a clip.

    Args:
        name: of the clip, for messages.
        caption: its prompt.
        frames: uint8 `[12, H, W, 3]`.
        indices: of the frames on the clip's grid of 48 frames, ascending; short clips repeat some.
        fps: frame rate that the network is told.
        is_keyframe: which frames the interpolation stage is given.
        mel: normalised log-mel `[1, 128, mel_frames]` of the two seconds.
    """

    name: str
    caption: str
    frames: npt.NDArray[np.uint8]
    indices: tuple[int, ...]
    fps: int
    is_keyframe: tuple[bool, ...]
    mel: Tensor


@dataclass(frozen=True, slots=True)
class ListeningSample:
    """Two seconds of sound, how much moves in each frame, and how loud it is there.

    Args:
        mel: normalised log-mel `[1, 128, mel_frames]`.
        curve: float32 `[48]` in [0, 1], the localizer's target.
        loudness: float32 `[48]` in [0, 1], the mean of the mel over its bins.
    """

    name: str
    mel: Tensor
    curve: Tensor
    loudness: Tensor


@dataclass(frozen=True, slots=True)
class ClipText:
    """What a clip is called in messages, and its prompt."""

    name: str
    caption: str


def keyframe_sample(
    clip: CachedClip,
    scores: npt.NDArray[np.float32] | None,
    text: ClipText,
    *,
    draws: np.random.RandomState,
    keyframe_share: float,
    rule: KeyframeRule,
    mel_frames: int,
) -> VideoSample:
    """A sample of the keyframe stage: keyframes in `keyframe_share` of the cases, else consecutive frames.

    `scores` are those of the whole clip, needed unless `keyframe_share` is 0. The rule `released` draws peaks and
    valleys of their curve from numpy's legacy generator; `paper` is Algorithm 1.
    """
    start = _window_start(clip, draws)
    if draws.random_sample() < keyframe_share:
        plan = _keyframes(clip, _required(scores), start, rule=rule, draws=draws)
        fps = _mean_rate(clip.fps, plan.strides)
    else:
        plan = uniform_training_plan(start=start, fps=clip.fps)
        fps = _mean_rate(clip.fps, plan.strides[1:])  # the release leaves the first one out
    return _sample(clip, text, plan, start, fps=fps, is_keyframe=(True,) * NUM_KEYFRAMES, mel_frames=mel_frames)


def interpolation_sample(
    clip: CachedClip,
    scores: npt.NDArray[np.float32] | None,
    text: ClipText,
    *,
    draws: np.random.RandomState,
    rule: KeyframeRule,
    mel_frames: int,
) -> VideoSample:
    """A sample of the interpolation stage: twelve frames at a stride of one or two, those of a keyframe plan marked."""
    start = _window_start(clip, draws)
    fits_twice = start + 2 * NUM_KEYFRAMES <= clip.num_frames
    stride = int(draws.randint(1, 3)) if fits_twice else 1
    frames = tuple(start + stride * index for index in range(NUM_KEYFRAMES))
    grid = tuple(int((frame - start) * _GRID_FPS / clip.fps) for frame in frames)
    keyframes = set(_keyframes(clip, _required(scores), start, rule=rule, draws=draws).conditioned)
    marked = [index in keyframes for index in grid]
    if sum(marked) <= 1:
        marked = [index in (0, NUM_KEYFRAMES - 1) for index in range(NUM_KEYFRAMES)]
    strides = [right - left for left, right in pairwise(grid)]
    plan = ReleasedPlan(frames, grid, (*strides, strides[-1]))
    fps = _mean_rate(clip.fps, plan.strides[1:])
    return _sample(clip, text, plan, start, fps=fps, is_keyframe=tuple(marked), mel_frames=mel_frames)


def listening_sample(
    clip: CachedClip,
    scores: npt.NDArray[np.float32],
    text: ClipText,
    *,
    draws: np.random.RandomState | None,
    mel_frames: int,
) -> ListeningSample:
    """A sample of the localizer; without `draws` it is the first two seconds."""
    last = max(clip.num_samples - WINDOW_SAMPLES, 0)
    start = int(draws.randint(0, last + 1)) if draws is not None else 0
    sound = clip.sound(start, WINDOW_SAMPLES)
    first, end = label_window(start, max(clip.num_samples, WINDOW_SAMPLES), len(scores))
    # A target needs two scores after the first, which is dropped.
    window = scores[min(first, len(scores) - 3) : max(end, first + 3)]
    heard = log_mel(sound, num_frames=_LISTENING_MEL_FRAMES)[0, 0].mean(dim=0).numpy()
    return ListeningSample(
        text.name,
        log_mel(sound, num_frames=mel_frames)[0],
        torch.from_numpy(np.asarray(normalise_label(motion_label(window)))),
        torch.from_numpy(np.asarray(normalise_label(motion_label(heard)))),
    )


def _keyframes(
    clip: CachedClip,
    scores: npt.NDArray[np.float32],
    start: int,
    *,
    rule: KeyframeRule,
    draws: np.random.RandomState,
) -> ReleasedPlan:
    """Keyframes of the two seconds from frame `start`."""
    if rule == "released":
        peaks, valleys = find_peaks_and_valleys(smooth(scores.astype(np.float64)))
        return training_plan(peaks, valleys, start=start, fps=clip.fps, draws=draws)
    window = scores[start : start + round(_WINDOW_S * clip.fps)]
    curve = normalise_label(motion_label(window))
    grid = plan_keyframes(motion_curve(curve.astype(np.float64))).indices
    frames = tuple(start + round(index * clip.fps / _GRID_FPS) for index in grid)
    strides = [right - left for left, right in pairwise(grid)]
    return ReleasedPlan(frames, grid, (strides[0], *strides))


def _sample(
    clip: CachedClip,
    text: ClipText,
    plan: ReleasedPlan,
    start: int,
    *,
    fps: int,
    is_keyframe: tuple[bool, ...],
    mel_frames: int,
) -> VideoSample:
    first = int(start / clip.fps * SAMPLE_RATE_HZ)
    end = int((start / clip.fps + _WINDOW_S) * SAMPLE_RATE_HZ)
    return VideoSample(
        name=text.name,
        caption=text.caption,
        frames=clip.frames(plan.frames),
        indices=tuple(min(index, _GRID_FRAMES - 1) for index in plan.conditioned),
        fps=fps,
        is_keyframe=is_keyframe,
        mel=log_mel(clip.sound(first, end - first), num_frames=mel_frames)[0],
    )


def _window_start(clip: CachedClip, draws: np.random.RandomState) -> int:
    """First frame of two seconds, uniform over the clip; 0 for a clip that is hardly longer."""
    last = clip.num_frames - math.ceil(_WINDOW_S * clip.fps)
    return int(draws.randint(0, last + 1)) if last > 0 else 0


def _mean_rate(fps: float, strides: tuple[int, ...]) -> int:
    """Frame rate that strides on the 24 fps grid amount to, rounded down as the release does."""
    return int(np.mean([int(fps / max(stride, 1)) for stride in strides]))


def _required(scores: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float32]:
    if scores is None:
        raise ValueError("keyframes are chosen from motion scores, and there are none")
    return scores
