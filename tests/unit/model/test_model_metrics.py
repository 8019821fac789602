"""Laws of the evaluation's formulas, beyond the published numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from model.evaluation.metrics.average_precision import average_precision, prediction_precision
from model.evaluation.metrics.clip_sampling import clip_starts, sample_frames
from model.evaluation.metrics.frechet import frechet_distance
from model.evaluation.metrics.image_preprocess import for_fid, load_frames
from model.evaluation.metrics.motion_score import measure_motion, motion_score, prepare_for_flow
from model.evaluation.metrics.sync_metrics import aligned_sync, alignment_probability, mean_and_spread, relative_sync
from model.media.reference_compat import join_audio_frames


def _bumps(*frames: int) -> list[float]:
    """A curve of 48 scores with a peak at each of `frames`."""
    return [max(math.exp(-((frame - peak) ** 2) / 4) for peak in frames) for frame in range(48)]


def test_a_curve_finds_its_own_peaks() -> None:
    """Equal curves score 1 both ways."""
    curve = _bumps(8, 24, 40)

    assert average_precision(curve, curve, reach_frames=0) == 1.0
    assert prediction_precision(curve, curve, reach_frames=0) == 1.0


def test_peaks_must_be_within_reach() -> None:
    """A peak three frames off counts at 3 and not at 2."""
    truth, predicted = _bumps(8, 30), _bumps(8, 33)

    assert average_precision(predicted, truth, reach_frames=3) == 1.0
    assert average_precision(predicted, truth, reach_frames=2) == 0.5


def test_ripples_raise_recall_but_not_precision() -> None:
    """A grid of peaks hits every true one, which only the precision gives away."""
    truth, grid = _bumps(12, 36), _bumps(*range(6, 48, 6))

    assert average_precision(grid, truth, reach_frames=2) == 1.0
    assert prediction_precision(grid, truth, reach_frames=2) < 0.5


def test_curves_without_peaks() -> None:
    """Nothing to find scores one half, finding nothing scores 0."""
    flat, peaked = [0.0] * 48, _bumps(20)

    assert average_precision(peaked, flat, reach_frames=3) == 0.5
    assert average_precision(flat, peaked, reach_frames=3) == 0.0


def test_frechet_distance_of_shifted_features_is_the_shift() -> None:
    """Equal spreads leave the squared distance of the means; a set is at distance 0 from itself."""
    features = np.random.default_rng(1).standard_normal((500, 4)).astype(np.float32)

    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(features, features + np.float32([3, 0, 4, 0])) == pytest.approx(25, rel=1e-4)


def test_relative_sync_is_a_half_for_equals_and_never_overflows() -> None:
    """Scores far beyond what exponentials hold still give a share."""
    scores = relative_sync(torch.tensor([2.0, 900.0, -900.0]), torch.tensor([2.0, -900.0, 900.0]))

    assert scores.tolist() == [0.5, 1.0, 0.0]


def test_still_pictures_halve_relative_sync() -> None:
    """Frames that fit the sound as well as the first frame does have an alignment of one half."""
    same = torch.full((3, 11), 0.3)

    aligned = aligned_sync(torch.tensor([0.2, 0.4, 0.6]), alignment_probability(same, same[:, :1]))

    assert aligned.tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert mean_and_spread(aligned).std == pytest.approx(0.1)


def test_motion_score_is_the_mean_length_along_both_axes() -> None:
    """A field of (3, -4) everywhere scores 7."""
    flow = torch.tensor([3.0, -4.0]).view(1, 2, 1, 1).expand(1, 2, 16, 24)

    assert motion_score(flow).tolist() == [7.0]


def test_motion_of_a_video_is_scored_from_frame_to_frame() -> None:
    """A video of T frames has T - 1 scores, measured on padded frames."""
    frames = torch.tensor([0, 10, 30], dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 3, 9, 16)

    def brightening(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        assert first.shape == (1, 3, 16, 16)
        return (second - first)[:, :2]

    assert measure_motion(frames, brightening).tolist() == [20.0, 40.0]


@pytest.mark.parametrize(
    ("size", "expected"), [((90, 161), (96, 168)), ((720, 1280), (360, 856)), ((64, 64), (64, 64))]
)
def test_frames_are_fitted_for_flow(size: tuple[int, int], expected: tuple[int, int]) -> None:
    """Tall videos are squeezed, all sides become multiples of 8, and values stay 0 to 255."""
    frames = torch.full((1, 3, *size), 200, dtype=torch.uint8)

    fitted = prepare_for_flow(frames)

    assert tuple(fitted.shape[2:]) == expected
    assert torch.all(fitted == 200.0)


def test_single_clips_are_centred_and_three_are_spread() -> None:
    """One clip of a video that is too short begins before it."""
    assert clip_starts(10.0, 2.0, 3) == (0.0, 4.0, 8.0)
    assert clip_starts(10.0, 2.0, 1) == (4.0,)
    assert clip_starts(1.5, 2.0, 1) == (-0.25,)


def test_clips_take_the_first_frame_at_or_after_each_time() -> None:
    """Every fourth frame of 24 fps at 6 fps; a short video repeats its last frame; outside there is nothing."""
    times = [number / 24 for number in range(48)]

    assert sample_frames(times, start_s=0.0, fps=6.0, num_frames=3) == (0, 4, 8)
    assert sample_frames(times[:6], start_s=0.0, fps=6.0, num_frames=4) == (0, 4, 4, 4)
    with pytest.raises(ValueError, match="outside"):
        sample_frames(times, start_s=5.0, fps=6.0, num_frames=3)


@pytest.mark.parametrize("size", [(40, 96), (96, 40), (64, 64)])
def test_frames_are_cropped_around_their_centre(size: tuple[int, int]) -> None:
    """A picture that is symmetric stays so, at any proportions."""
    ramp = torch.linspace(-1, 1, 128).abs()
    frames = (ramp[:72, None] * 0 + ramp[None]).expand(1, 3, 72, 128)

    loaded = load_frames(frames, height=size[0], width=size[1])

    assert tuple(loaded.shape[2:]) == size
    torch.testing.assert_close(loaded, loaded.flip(3), atol=1e-5, rtol=0)


def test_white_stays_white_for_inception() -> None:
    """Values in [0, 1] become [-1, 1] at the published 229 pixels."""
    prepared = for_fid(torch.ones(1, 3, 32, 32))

    assert prepared.shape == (1, 3, 229, 229)
    torch.testing.assert_close(prepared, torch.ones_like(prepared))


def test_the_released_reshape_spares_mono_only() -> None:
    """Mono sounds are the same either way; stereo channels are mixed up as published."""
    mono, stereo = torch.arange(6.0).view(6, 1), torch.arange(12.0).view(6, 2)

    assert torch.equal(join_audio_frames([mono], as_released=True), join_audio_frames([mono]))
    assert join_audio_frames([stereo])[0].tolist() == [0, 2, 4, 6, 8, 10]
    assert join_audio_frames([stereo], as_released=True)[0].tolist() == [0, 1, 2, 3, 4, 5]
