"""Motion and keypoints are compared with the truth, scene by scene and row by row."""

from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.clips import AudioClip, ImageFrame, KeyframePlan
from model.codecs.latent_flow import LatentFlowCodec
from model.config import keyvid_mini, tiny
from model.errors import CheckpointMismatch, CheckpointMissing
from model.evaluation.localization import GRID, LOCALIZER, HeardClip, hear_clips, keypoints, score_frames, score_hearing
from model.evaluation.motion import MotionScore, MotionTruth, correlation, drawn_displacement, score_motion
from model.evaluation.onsets import onset_envelope
from model.evaluation.reading import Reader, score_playback
from model.evaluation.rows import DRAFT, GENERATED, OTHER_SOUND, ROWS, STILL, TRUTH, dense_steps, evenly_spaced
from model.evaluation.rows import join_by_spline as join
from model.evaluation.scenes import Scene, SceneKey, demo_scenes
from model.evaluation.survey import Survey, read_scenes
from model.pipeline import KeyVIDPipeline

CODEC = LatentFlowCodec()


def bumps(*frames: int) -> list[float]:
    """A motion curve with a bump at each frame."""
    time = np.arange(48)
    return sum(np.exp(-((time - frame) ** 2) / 4.0) for frame in frames).tolist()  # type: ignore[union-attr]


def nod(*frames: int, cells: tuple[slice, slice] = (slice(3, 6), slice(5, 9))) -> torch.Tensor:
    """Latents of a block of cells that moves down by about 8 px at each frame and back."""
    latents = torch.zeros(1, 4, 48, 10, 16)
    latents[0, 1, :, cells[0], cells[1]] = torch.tensor(bumps(*frames))[:, None, None]
    return latents


def compared(latents: torch.Tensor, truth: torch.Tensor) -> MotionScore:
    """Score of latents against true ones."""
    return score_motion(drawn_displacement(latents, CODEC), latents, MotionTruth.of(truth, CODEC))


def quick_mini() -> KeyVIDPipeline:
    """keyvid-mini with random weights and one step a stage."""
    config = keyvid_mini()
    stages = {name: replace(getattr(config, name), num_inference_steps=1) for name in ("keyframes", "interpolation")}
    return KeyVIDPipeline.from_config(replace(config, **stages))


def clicking_scene(truth: torch.Tensor | None) -> Scene:
    """A picture of noise, and a click at one second."""
    time = torch.arange(32_000) / 16_000
    click = torch.where((time > 1) & (time < 1.02), torch.ones(()), torch.zeros(()))[None]
    picture = torch.rand(3, 320, 512, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return Scene("click", "impact", ImageFrame(picture), AudioClip(click, 16_000), "hammer", (1.0,), truth)


def test_keypoints_are_where_the_curve_peaks() -> None:
    """Peaks survive smoothing; a flat curve has none."""
    assert keypoints(bumps(8, 24, 40)).tolist() == [8, 24, 40]
    assert keypoints([0.3] * 48).tolist() == []


def test_recall_forgives_three_frames_and_precision_counts_false_alarms() -> None:
    """One peak three frames late is found at 3, one five frames late only at 5; a third is a false alarm."""
    found = score_frames(keypoints(bumps(11, 29, 42)), keypoints(bumps(8, 24)))

    assert (found.recall_at_3, found.recall_at_5) == (0.5, 1.0)
    assert found.precision_at_3 == pytest.approx(1 / 3)
    assert found.f1 == pytest.approx(0.4)


def test_a_grid_finds_everything_and_knows_nothing() -> None:
    """Full recall at half the precision or less; a localizer that is right has both."""
    clip = HeardClip("impact", tuple(bumps(8, 24)), tuple(bumps(8, 24)))

    scores = score_hearing([clip, clip])

    assert scores[LOCALIZER][0].f1 == 1.0
    assert scores[GRID][0].recall_at_3 == 1.0
    assert scores[GRID][0].precision_at_3 <= 0.5


def test_localizer_hears_the_same_clips_in_one_process_as_in_parts(tmp_path: Path) -> None:
    """The first clips of a longer run are those of a shorter one, with curves of 48 scores."""
    quick_mini().save_pretrained(tmp_path)
    done: list[int] = []

    longer = hear_clips(str(tmp_path), 27, on_clips=done.append)

    assert done == [25, 27]
    assert hear_clips(str(tmp_path), 2) == longer[:2]
    assert {len(clip.heard) for clip in longer} == {48}


def test_a_borrowed_localizer_is_not_measured(tmp_path: Path) -> None:
    """A model without a localizer has no numbers of its own, and keyvid-mini's are not told as its."""
    KeyVIDPipeline.from_config(replace(tiny(), localizer=None)).save_pretrained(tmp_path)

    with pytest.raises(CheckpointMissing, match="tiny has no localizer"):
        hear_clips(str(tmp_path), 2)


def test_true_motion_scores_perfectly() -> None:
    """Error 0, correlations and amplitude 1, nothing moves behind."""
    result = compared(nod(10, 30), nod(10, 30))

    assert (result.error, result.endpoint_px, result.background_px) == (0, 0, pytest.approx(0, abs=0.02))
    assert (result.timing, result.placement, result.amplitude) == (pytest.approx(1), pytest.approx(1), pytest.approx(1))


def test_still_video_is_the_baseline_of_the_endpoint_error() -> None:
    """A video that does not move is wrong by exactly what moves."""
    result = compared(torch.zeros(1, 4, 48, 10, 16), nod(10, 30))

    assert result.endpoint_px == pytest.approx(result.still_endpoint_px)
    assert result.still_endpoint_px > 0.1
    assert (result.timing, result.placement, result.background_px) == (0, 0, 0)


def test_motion_at_the_wrong_place_is_seen_in_the_background() -> None:
    """Timing is right, placement is not, and pixels flow where the law moves nothing."""
    result = compared(nod(10, 30, cells=(slice(6, 9), slice(10, 14))), nod(10, 30))

    assert result.timing > 0.95
    assert result.placement < 0.1
    assert result.background_px is not None
    assert result.background_px > 0.05


def test_scene_whose_camera_moves_has_no_background() -> None:
    """Where everything moves, stillness cannot be measured."""
    shaken = nod(10, cells=(slice(None), slice(None)))

    assert compared(shaken, shaken).background_px is None


def test_constant_arrays_do_not_correlate() -> None:
    """A still video has no timing to be right about."""
    assert correlation(np.zeros(5), np.arange(5.0)) == 0


def test_onset_envelope_rises_when_the_sound_begins() -> None:
    """A click at one second is an onset at frame 24, and silence has none."""
    envelope = onset_envelope(clicking_scene(None).audio, num_frames=48, fps=24)

    assert abs(int(envelope.argmax()) - 24) <= 1
    assert envelope[:22].max() == pytest.approx(0, abs=1e-6)


def test_spline_meets_its_keyframes_and_does_not_overshoot() -> None:
    """Between two keyframes of one value nothing moves; after the last one neither."""
    plan = KeyframePlan((0, 10, 20, 40), 48)
    keyframes = torch.tensor([0.0, 1.0, 1.0, 3.0]).view(1, 1, 4, 1, 1)

    joined = join(keyframes, plan)[0, 0, :, 0, 0]

    assert joined[[0, 10, 20, 40]].tolist() == pytest.approx([0, 1, 1, 3])
    assert joined[10:20].tolist() == pytest.approx([1.0] * 10)
    assert joined[40:].tolist() == pytest.approx([3.0] * 8)
    assert bool((joined.diff() >= 0).all())


@pytest.mark.parametrize(("keyframes", "interpolation", "steps"), [(4, 2, 3), (2, 1, 2), (1, 1, 2), (1, 3, 4)])
def test_dense_frames_cost_no_less_than_both_stages(keyframes: int, interpolation: int, steps: int) -> None:
    """12 keyframes in 4 steps and 48 frames in 2 are 144 denoised frames: three passes over all 48."""
    config = keyvid_mini()
    stages = {
        "keyframes": replace(config.keyframes, num_inference_steps=keyframes),
        "interpolation": replace(config.interpolation, num_inference_steps=interpolation),
    }

    assert dense_steps(KeyVIDPipeline.from_config(replace(config, **stages))) == steps


def test_playback_is_scored_against_events_and_true_motion() -> None:
    """A picture that jumps at its event is in time; one that only flickers has no timing."""
    frames = np.zeros((48, 32, 48, 3), np.uint8)
    frames[24:, 8:20, 10:20] = 200
    curve = np.zeros(48)
    curve[24] = 1.0

    played = score_playback(frames, [1.0], curve)
    flickering = score_playback(np.zeros((48, 32, 48, 3), np.uint8), [1.0], curve)

    assert (played.within_one.f1, played.within_two.lags) == (1.0, (0.0,))
    assert played.timing == pytest.approx(1.0)
    assert (flickering.within_two.num_peaks, flickering.timing) == (0, 0.0)


def test_reader_makes_every_row_and_leaves_out_what_needs_an_unknown_truth() -> None:
    """Rows of one scene: the truth is perfect, a still video finds nothing, an unknown law scores no motion."""
    pipeline = quick_mini()
    scene = clicking_scene(nod(24))

    reading = Reader(pipeline, tuple(ROWS)).read(scene, scene.audio, seed=3)
    blind = Reader(pipeline, (DRAFT, TRUTH)).read(clicking_scene(None), scene.audio, seed=3)

    assert set(reading.videos) == set(ROWS)
    truth, still = reading.videos[TRUTH], reading.videos[STILL]
    assert truth.motion is not None
    assert truth.motion.timing == pytest.approx(1)
    assert truth.playback is not None
    assert truth.playback.within_two.f1 > 0
    assert still.playback is not None
    assert still.playback.within_two.num_peaks == 0
    assert set(blind.videos) == {DRAFT}
    assert blind.videos[DRAFT].motion is None
    assert evenly_spaced(pipeline).indices == tuple(range(0, 48, 4))


def test_reader_refuses_models_that_draw_no_latent_flow() -> None:
    """There is nothing to compare with a law."""
    with pytest.raises(CheckpointMismatch, match="latent flow"):
        Reader(KeyVIDPipeline.from_config(tiny()), (GENERATED,))


def test_scenes_are_read_in_order_by_several_processes(tmp_path: Path) -> None:
    """Two processes read what one reads; the other sound comes from half the set away."""
    quick_mini().save_pretrained(tmp_path)
    survey = Survey(str(tmp_path), (STILL, TRUTH))
    keys = [SceneKey("held-out", number) for number in range(2)]
    told: list[None] = []

    together = read_scenes(survey, keys, workers=2, on_scene=lambda: told.append(None))
    alone = read_scenes(survey, keys)

    assert [reading.name for reading in together] == ["held-out 0", "held-out 1"]
    assert len(told) == 2
    for mine, theirs in zip(alone, together, strict=True):
        assert (mine.name, mine.kind, mine.event_times_s) == (theirs.name, theirs.kind, theirs.event_times_s)
        for row in (STILL, TRUTH):
            here, there = mine.videos[row].motion, theirs.videos[row].motion
            assert here is not None
            assert there is not None
            # Sums of another order, by how many cores a machine has, differ in their last digits.
            assert astuple(here) == pytest.approx(astuple(there), rel=1e-6, abs=1e-6)


def test_other_sound_is_another_scenes(tmp_path: Path) -> None:
    """With its own sound in place of another's, and no words, the row moves as generated without a prompt does."""
    pipeline = quick_mini()
    scene = replace(clicking_scene(nod(24)), prompt="")

    reading = Reader(pipeline, (GENERATED, OTHER_SOUND)).read(scene, scene.audio, seed=3)

    assert reading.videos[GENERATED] == reading.videos[OTHER_SOUND]


def test_demo_scenes_have_events_but_no_law() -> None:
    """What the demo set hears is known, how it moves is not."""
    scene = demo_scenes(1)[0]

    assert scene.event_times_s
    assert scene.truth is None
    assert scene.image.size == (320, 512)
