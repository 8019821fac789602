"""Keyframe selection as the published code does it, in training and at inference: an option, never the default.

Both draw peaks and valleys at random, from numpy's legacy generator and Python's own; the same seeds give the same
frames. `model.localization.plan` has the paper's rule, which the pipeline uses.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model.localization.plan import NUM_KEYFRAMES

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

_NUM_PEAKS = 6
_WINDOW_S = 2
_TARGET_FPS = 6
_VIDEO_FPS = 24
_NUM_FRAMES = 48


@dataclass(frozen=True, slots=True)
class ReleasedPlan:
    """Twelve keyframes of a video.

    Args:
        frames: frame indices of the video, ascending; very short intervals repeat one in training.
        conditioned: the same on the 24 fps grid of the clip, as the networks are told them.
        strides: distances of neighbours on that grid.
    """

    frames: tuple[int, ...]
    conditioned: tuple[int, ...]
    strides: tuple[int, ...]


def training_plan(
    peaks: Sequence[int], valleys: Sequence[int], *, start: int, fps: float, draws: np.random.RandomState
) -> ReleasedPlan:
    """Choose keyframes of the two seconds from frame `start` of a training video.

    Args:
        peaks: of the smoothed curve of the whole video, as frame indices.
        valleys: likewise.
        start: first frame of the clip.
        fps: the video's own rate.
        draws: numpy's legacy generator.
    Source: released behaviour. Peaks are paired in the random order in which they are drawn, so that many "valleys"
    are midpoints of unrelated peaks; nothing is placed after the last chosen frame.
    """
    length = round(_WINDOW_S * fps)
    here = sorted(peak - start for peak in peaks if start <= peak < start + length)
    low = sorted(valley - start for valley in valleys if start <= valley < start + length)
    if here in ([], [0]):
        base = [0, length - round(fps / _TARGET_FPS)]
    else:
        drawn = _draw(here, min(_NUM_PEAKS, len(here)), draws)
        ordered = drawn if 0 in drawn else [0, *drawn]
        turns = [_turn(left, right, low, draws) for left, right in itertools.pairwise(ordered)]
        base = sorted({*ordered, *turns, *low[-1:]})
    frames = sorted([*base, *_spread_in_proportion(base, NUM_KEYFRAMES - len(base))])[:NUM_KEYFRAMES]
    # numpy rounds halves to even, as the release does.
    conditioned = [int(frame) for frame in np.round(np.array(frames) * _VIDEO_FPS / fps)]
    strides = np.diff(conditioned).tolist()
    return ReleasedPlan(tuple(start + frame for frame in frames), tuple(conditioned), (strides[0], *strides))


def uniform_training_plan(*, start: int, fps: float) -> ReleasedPlan:
    """Twelve consecutive frames of a training video: what most training clips are given. Source: released behaviour."""
    conditioned = [int(frame * _VIDEO_FPS / fps) for frame in range(NUM_KEYFRAMES)]
    strides = np.diff(conditioned).tolist()
    return ReleasedPlan(tuple(range(start, start + NUM_KEYFRAMES)), tuple(conditioned), (*strides, strides[-1]))


def inference_plan(
    peaks: Sequence[int], valleys: Sequence[int], *, draws: np.random.RandomState, coins: random.Random
) -> ReleasedPlan:
    """Choose keyframes of a generated clip of 48 frames.

    Args:
        peaks: of the raw predicted curve.
        valleys: likewise.
        draws: numpy's legacy generator.
        coins: Python's generator.
    Source: released behaviour. Frames that are missing gather before the last peak or valley, and none comes after it.
    """
    if peaks:
        ordered = sorted({0, *_draw(peaks, min(_NUM_PEAKS, len(peaks)), draws)})
        turns: list[int] = []
        for left, right in itertools.pairwise(ordered):
            between = [valley for valley in valleys if left < valley < right]
            turns += [_draw_one(between, draws)] if between else []
        base = sorted({*ordered, *turns})
    else:
        base = [0, _NUM_FRAMES - _VIDEO_FPS // _TARGET_FPS]
    frames = sorted({*base, *_spread_by_coins(base, NUM_KEYFRAMES - len(base), coins)})[:NUM_KEYFRAMES]
    if len(frames) < NUM_KEYFRAMES:
        free = [frame for frame in range(_NUM_FRAMES) if frame not in frames]
        frames = sorted([*frames, *_draw(free, NUM_KEYFRAMES - len(frames), draws)])
    strides = (_VIDEO_FPS // _TARGET_FPS, *np.diff(frames).tolist())
    return ReleasedPlan(tuple(frames), tuple(frames), strides)


def _draw(frames: Sequence[int], count: int, draws: np.random.RandomState) -> list[int]:
    return [int(frame) for frame in draws.choice(np.asarray(frames), count, replace=False)]


def _draw_one(frames: Sequence[int], draws: np.random.RandomState) -> int:
    # A draw with replacement uses up other random bits than one without, also for a single frame.
    return int(draws.choice(np.asarray(frames), 1)[0])


def _turn(left: int, right: int, valleys: Sequence[int], draws: np.random.RandomState) -> int:
    """A random valley between two frames, or their midpoint."""
    between = [valley for valley in valleys if left < valley < right]
    return _draw_one(between, draws) if between else (left + right) // 2


def _spread_in_proportion(base: Sequence[int], count: int) -> list[int]:
    """Place `count` frames between neighbours of `base` by largest remainder; positions may repeat."""
    if count <= 0:
        return []
    gaps = list(itertools.pairwise(base))
    lengths = np.array([right - left for left, right in gaps])
    shares = count * lengths / lengths.sum()
    units = np.floor(shares).astype(int)
    largest_first = np.argsort(-(shares - units), kind="stable")
    units[largest_first[: count - int(units.sum())]] += 1
    return [frame for (left, right), number in zip(gaps, units, strict=True) for frame in _inside(left, right, number)]


def _spread_by_coins(base: Sequence[int], count: int, coins: random.Random) -> list[int]:
    """At most one frame in each gap but the last, which gets all the rest."""
    if count <= 0:
        return []
    *gaps, last = itertools.pairwise(base)
    total = base[-1] - base[0]
    placed: list[int] = []
    for left, right in gaps:
        if coins.random() < (right - left) / total:
            placed += _inside(left, right, 1)
    return [*placed, *_inside(*last, max(count - len(placed), 0))]


def _inside(left: int, right: int, count: int) -> list[int]:
    """`count` evenly spaced frames after `left` and before `right`, rounded down."""
    return [int(frame) for frame in np.linspace(left, right, count + 1, endpoint=False)[1:]]
