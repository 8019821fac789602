"""Motion, placement and keypoints are compared with the truth; tables hold every figure."""

import json

import numpy as np
import pytest
import torch
from rich.console import Console

from model.clips import AudioClip, ImageFrame
from model.config import keyvid_mini
from model.evaluation.localization import keypoints, score_keypoints
from model.evaluation.motion import HeldOutClip, correlation, held_out_scores, mean_by_kind, score_motion
from model.evaluation.report import TimedClip, evenly_spaced, sync_report
from model.evaluation.tables import as_json, motion_table, sync_table
from model.pipeline import KeyVIDPipeline
from model.training.recipes import HELD_OUT_SEED


def bumps(*frames: int) -> list[float]:
    """A motion curve with a bump at each frame."""
    time = np.arange(48)
    return sum(np.exp(-((time - frame) ** 2) / 4.0) for frame in frames).tolist()  # type: ignore[union-attr]


def test_keypoints_are_where_the_curve_peaks() -> None:
    """Peaks survive smoothing; a flat curve has none."""
    assert keypoints(bumps(8, 24, 40)).tolist() == [8, 24, 40]
    assert keypoints([0.3] * 48).tolist() == []


def test_recall_forgives_three_frames_and_precision_counts_false_alarms() -> None:
    """One peak three frames late is found at 3, one five frames late only at 5; a third is a false alarm."""
    score = score_keypoints(bumps(11, 29, 42), bumps(8, 24))

    assert (score.recall_at_3, score.recall_at_5) == (0.5, 1.0)
    assert score.precision_at_3 == pytest.approx(1 / 3)


def test_true_motion_scores_perfectly() -> None:
    """Error 0, correlations and amplitude 1."""
    truth = torch.randn(1, 4, 48, 10, 16, generator=torch.Generator().manual_seed(0))

    score = score_motion(truth, truth)

    assert score.error == 0
    assert score.timing == pytest.approx(1)
    assert score.placement == pytest.approx(1)
    assert score.amplitude == pytest.approx(1)


def test_half_the_motion_is_half_the_amplitude_at_the_right_place() -> None:
    """Scaling leaves timing and placement alone."""
    truth = torch.randn(1, 4, 48, 10, 16, generator=torch.Generator().manual_seed(0))

    score = score_motion(truth / 2, truth)

    assert score.amplitude == pytest.approx(0.5)
    assert score.timing == pytest.approx(1)
    assert 0.2 < score.error < 0.25


def test_constant_arrays_do_not_correlate() -> None:
    """A still video has no timing to be right about."""
    assert correlation(np.zeros(5), np.arange(5.0)) == 0


def untrained() -> KeyVIDPipeline:
    """keyvid-mini with random weights."""
    return KeyVIDPipeline.from_config(keyvid_mini())


def test_sync_report_has_a_row_for_every_comparison() -> None:
    """Still videos match nothing; every row counts the same events; uniform keyframes are uniform."""
    pipeline = untrained()
    time = torch.arange(32_000) / 16_000
    click = torch.where((time > 1) & (time < 1.02), torch.ones(()), torch.zeros(()))[None]
    image = ImageFrame(torch.rand(3, 320, 512) * 2 - 1)
    clips = [
        TimedClip(image, AudioClip(click, 16_000), "hammer", (1.0,)),
        TimedClip(image, AudioClip(click, 16_000), "", (1.0,)),
    ]

    rows = {row.name: row for row in sync_report(pipeline, clips)}

    assert rows["still video"].within_two.f1 == 0
    assert {row.within_two.num_events for row in rows.values()} == {2}
    assert evenly_spaced(pipeline).indices == tuple(range(0, 48, 4))
    Console(quiet=True).print(sync_table(list(rows.values())))


def test_held_out_scores_fill_the_table() -> None:
    """Each held-out scene is scored as generated and as drafted, and the numbers can be stored."""
    scores = held_out_scores(untrained(), range(HELD_OUT_SEED, HELD_OUT_SEED + 2))

    assert len(scores) == 2
    assert all(isinstance(clip, HeldOutClip) and clip.generated.error > 0 for clip in scores)
    assert set(mean_by_kind(scores, lambda clip: clip.draft.error)) == {*(clip.kind for clip in scores), "all"}
    json.dumps(as_json([], scores))
    Console(quiet=True).print(motion_table(scores))
