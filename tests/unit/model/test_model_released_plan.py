"""Laws of the published keyframe selection."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest

from model.localization.plan import find_peaks_and_valleys
from model.localization.released_plan import inference_plan, training_plan, uniform_training_plan

SEEDS = range(12)


def _curve(seed: int, num_frames: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """A curve with some strong peaks."""
    values = np.random.default_rng(seed).random(num_frames)
    return np.convolve(values, np.ones(4) / 4, mode="same") * 3


@pytest.mark.parametrize("seed", SEEDS)
def test_inference_plans_are_twelve_ascending_frames(seed: int) -> None:
    """Every plan begins with frame 0 and stays within the clip, whatever is drawn."""
    peaks, valleys = find_peaks_and_valleys(_curve(seed, 48))

    plan = inference_plan(peaks, valleys, draws=np.random.RandomState(seed), coins=random.Random(seed))

    assert len(plan.frames) == 12
    assert plan.frames[0] == 0
    assert plan.frames[-1] <= 47
    assert all(left < right for left, right in pairwise(plan.frames))
    assert plan.conditioned == plan.frames


def test_inference_without_peaks_is_uniform() -> None:
    """A sound without events gets every fourth frame."""
    plan = inference_plan((), (), draws=np.random.RandomState(0), coins=random.Random(0))

    assert plan.frames == tuple(range(0, 48, 4))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fps", [24.0, 25.0, 29.97, 30.0])
def test_training_plans_stay_in_their_window(seed: int, fps: float) -> None:
    """Frames do not descend, begin at the start, end within two seconds, and lie on the grid of the clip."""
    peaks, valleys = find_peaks_and_valleys(_curve(seed, 200))

    plan = training_plan(peaks, valleys, start=50, fps=fps, draws=np.random.RandomState(seed))

    assert len(plan.frames) == 12
    assert plan.frames[0] == 50
    assert plan.frames[-1] < 50 + round(2 * fps)
    assert all(left <= right for left, right in pairwise(plan.frames))
    assert plan.conditioned[0] >= 0
    assert plan.conditioned[-1] <= 47


def test_few_peaks_are_all_taken_in_training() -> None:
    """With at most six peaks there is nothing to choose from."""
    plan = training_plan((10, 20, 30), (15, 25), start=5, fps=24.0, draws=np.random.RandomState(1))

    assert {10, 20, 30} <= set(plan.frames)


def test_one_seed_gives_one_plan() -> None:
    """The same generators give the same frames, other ones give others."""
    peaks, valleys = find_peaks_and_valleys(_curve(3, 200))

    plans = [training_plan(peaks, valleys, start=0, fps=60.0, draws=np.random.RandomState(seed)) for seed in (1, 1, 2)]

    assert plans[0] == plans[1]
    assert plans[0] != plans[2]


def test_most_training_clips_are_consecutive_frames() -> None:
    """At 25 fps, twelve neighbours share some slots of the 24 fps grid."""
    plan = uniform_training_plan(start=7, fps=25.0)

    assert plan.frames == tuple(range(7, 19))
    assert plan.conditioned == (0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
