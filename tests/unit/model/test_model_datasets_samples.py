"""What training sees of a clip: the frames, indices and sound that the released loaders would give."""

from __future__ import annotations

import numpy as np
import pytest

from model.datasets.cache import CachedClip, ClipCache, FrameFit
from model.datasets.layout import DataClip
from model.datasets.samples import ClipText, interpolation_sample, keyframe_sample, listening_sample
from tests.films import click_track, moving_frames, write_film

TEXT = ClipText("clip", "hammering")


@pytest.fixture(scope="module", params=[24, 30])
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CachedClip:
    """Four seconds at 24 or 30 fps."""
    folder = tmp_path_factory.mktemp("samples")
    fps = request.param
    samples = click_track(4.0, [0.5, 1.5, 2.5, 3.5])
    write_film(folder / "a.mp4", moving_frames([0] * 4 * fps, height=32, width=48), fps=fps, samples=samples)
    return ClipCache(folder / "cache", FrameFit(32, 48)).load(DataClip("a", folder / "a.mp4", "", "train"))


def beats(clip: CachedClip) -> np.ndarray:
    """A bump of motion every second."""
    scores = np.zeros(clip.num_frames - 1, np.float32)
    for start in range(round(clip.fps / 2), len(scores) - 4, round(clip.fps)):
        scores[start : start + 4] = (1, 4, 2, 1)
    return scores


@pytest.mark.parametrize("rule", ["released", "paper"])
def test_keyframe_samples_hold_twelve_frames_of_two_seconds(clip: CachedClip, rule: str) -> None:
    """Indices lie on the grid of 48 frames, ascending from 0, whatever the clip's own rate; the mel is the window's."""
    for seed in range(8):
        sample = keyframe_sample(
            clip, beats(clip), TEXT, draws=np.random.RandomState(seed), keyframe_share=1.0, rule=rule, mel_frames=204
        )

        assert sample.frames.shape == (12, 32, 48, 3)
        assert sample.indices[0] == 0
        assert list(sample.indices) == sorted(sample.indices)
        assert sample.indices[-1] <= 47
        assert 2 <= sample.fps <= clip.fps
        assert sample.mel.shape == (1, 128, 204)


def test_keyframes_fall_on_the_peaks(clip: CachedClip) -> None:
    """With a window at the clip's start, the smoothed peaks of motion are among the keyframes."""
    for seed in range(40):
        draws = np.random.RandomState(seed)
        sample = keyframe_sample(
            clip, beats(clip), TEXT, draws=draws, keyframe_share=1.0, rule="released", mel_frames=204
        )
        start = int(np.random.RandomState(seed).randint(0, clip.num_frames - int(np.ceil(2 * clip.fps)) + 1))
        peaks = [frame + 1 - start for frame in range(len(beats(clip))) if beats(clip)[frame] == 4]
        near = [frame for frame in peaks if 3 < frame < 2 * clip.fps - 4]
        grid = [round(frame * 24 / clip.fps) for frame in near]
        assert all(min(abs(index - wanted) for index in sample.indices) <= 2 for wanted in grid)


def test_other_keyframe_samples_are_consecutive(clip: CachedClip) -> None:
    """Without keyframes there are twelve frames in a row, for which no motion scores are needed."""
    sample = keyframe_sample(
        clip, None, TEXT, draws=np.random.RandomState(0), keyframe_share=0.0, rule="released", mel_frames=204
    )

    assert sample.indices == tuple(int(frame * 24 / clip.fps) for frame in range(12))
    assert sample.fps == clip.fps


def test_interpolation_samples_mark_at_least_two_keyframes(clip: CachedClip) -> None:
    """Frames run at a stride of one or two; first and last are given where the plan marks fewer than two."""
    spans = set()
    for seed in range(12):
        sample = interpolation_sample(
            clip, beats(clip), TEXT, draws=np.random.RandomState(seed), rule="released", mel_frames=204
        )
        spans.add(sample.indices[-1])
        assert sum(sample.is_keyframe) >= 2
    assert len(spans) == 2


def test_listening_targets_follow_motion_and_loudness(clip: CachedClip) -> None:
    """The curve peaks where the motion is, the loudness where the click is; both are 48 values from 0 to 1."""
    sample = listening_sample(clip, beats(clip), TEXT, draws=None, mel_frames=198)

    assert sample.mel.shape == (1, 128, 198)
    for target in (sample.curve, sample.loudness):
        assert target.shape == (48,)
        assert (float(target.min()), float(target.max())) == (0, 1)
    assert abs(int(sample.curve[:24].argmax()) - 12) <= 2
    assert abs(int(sample.loudness[:24].argmax()) - 12) <= 2


def test_same_draws_give_the_same_sample(clip: CachedClip) -> None:
    """A sample is determined by its generator."""
    one, two = (
        keyframe_sample(
            clip, beats(clip), TEXT, draws=np.random.RandomState(5), keyframe_share=0.5, rule="released", mel_frames=204
        )
        for _ in range(2)
    )

    assert one.indices == two.indices
    assert np.array_equal(one.frames, two.frames)
    assert one.mel.equal(two.mel)
