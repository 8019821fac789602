"""What every procedural clip promises, whatever its kind."""

import numpy as np
import pytest

from model.training.procedural.clip import IMPULSIVE_KINDS, KINDS, ProceduralClip, make_clip, render_picture

NUM_CLIPS = 60
MIN_VISIBLE_PX, MAX_DRAWN_PX = 8.0, 35.0  # 99th percentile of displacement on a 320x512 picture


@pytest.fixture(scope="module")
def clips() -> list[ProceduralClip]:
    """Sixty clips of consecutive seeds."""
    return [make_clip(seed) for seed in range(NUM_CLIPS)]


def test_clip_is_the_same_for_the_same_seed() -> None:
    """A seed says everything about a clip."""
    first, again, other = make_clip(7), make_clip(7), make_clip(8)

    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.samples, again.samples)
    assert np.array_equal(first.latents(), again.latents())
    assert first.prompt == again.prompt
    assert not np.array_equal(first.samples, other.samples)


def test_clip_has_the_shapes_that_training_reads(clips: list[ProceduralClip]) -> None:
    """Arrays have their documented shapes and types, and are finite."""
    for clip in clips:
        assert (clip.image.shape, clip.image.dtype) == ((80, 128, 3), np.uint8)
        assert (clip.samples.shape, clip.samples.dtype) == ((32_000,), np.float32)
        assert 1 <= len(clip.bases) <= 4
        assert (clip.bases.shape[1:], clip.bases.dtype) == ((4, 10, 16), np.float16)
        assert (clip.curves.shape, clip.curves.dtype) == ((len(clip.bases), 48), np.float32)
        assert np.isfinite(clip.latents()).all()
        assert 0 < np.abs(clip.samples).max() <= 1


def test_all_kinds_occur(clips: list[ProceduralClip]) -> None:
    """Consecutive seeds draw every law of motion."""
    assert {clip.kind for clip in clips} == set(KINDS)


def test_first_frame_is_the_picture_itself(clips: list[ProceduralClip]) -> None:
    """Latents of frame 0 are zero: motion is relative to the picture."""
    for clip in clips:
        assert not clip.latents()[:, 0].any()
        assert clip.motion_score()[0] == 0


def test_motion_is_visible_and_can_be_drawn(clips: list[ProceduralClip]) -> None:
    """The largest displacement of a clip lies where a viewer sees it and a warp does not tear."""
    for clip in clips:
        flow = clip.latents()[:2]
        length_px = np.hypot(flow[0], flow[1]) / 2.0 * 16.0
        largest_px = np.percentile(length_px.reshape(48, -1), 99, axis=1).max()

        assert MIN_VISIBLE_PX <= largest_px <= MAX_DRAWN_PX, clip.kind


def test_impulsive_motion_peaks_at_the_event(clips: list[ProceduralClip]) -> None:
    """Around the frame that shows an event, no other frame moves more."""
    lags = []
    for clip in clips:
        if clip.kind in IMPULSIVE_KINDS:
            score = clip.motion_score()
            for contact in (min(round(time * 24), 47) for time in clip.event_times_s):
                start = max(1, contact - 1)
                lags.append(start + int(np.argmax(score[start : contact + 2])) - contact)

    assert np.mean(np.array(lags) == 0) > 0.97


def test_sound_starts_at_the_event() -> None:
    """A clean blow is louder just after its onset than just before."""
    louder = []
    for seed in range(NUM_CLIPS):
        clip = make_clip(seed)
        if clip.kind in ("boom", "shot") and clip.event_times_s[0] > 0.1:
            onset = round(clip.event_times_s[0] * 16_000)
            after = np.square(clip.samples[onset : onset + 800]).mean()
            louder.append(after > np.square(clip.samples[onset - 800 : onset]).mean())

    assert len(louder) >= 5
    assert all(louder)


def test_picture_is_the_same_scene_at_any_size() -> None:
    """A large picture, made small again, is the clip's image."""
    small = make_clip(11).image.astype(float)

    large = render_picture(11, 320, 512).astype(float)

    shrunk = large.reshape(80, 4, 128, 4, 3).mean(axis=(1, 3))
    assert np.corrcoef(shrunk.ravel(), small.ravel())[0, 1] > 0.9


def test_prompts_name_the_subject_or_nothing(clips: list[ProceduralClip]) -> None:
    """Most prompts have one to six words, some are empty."""
    lengths = [len(clip.prompt.split()) for clip in clips]

    assert max(lengths) <= 6
    assert 0 < lengths.count(0) < 0.3 * len(clips)
