"""The sync metric finds motion peaks in frames and matches them with events."""

import numpy as np
import pytest

from model.evaluation.sync import SyncScore, match_events, motion_energy, prominent_peaks, score_video


def jumping_square(jumps: list[int], num_frames: int = 48) -> np.ndarray:
    """Frames of a white square that jumps to the side at the given frames."""
    frames = np.zeros((num_frames, 32, 48, 3), dtype=np.uint8)
    for index in range(num_frames):
        left = 4 + 3 * sum(index >= jump for jump in jumps)
        frames[index, 8:20, left : left + 8] = 255
    return frames


def test_peaks_stand_where_the_picture_jumps() -> None:
    """Each jump is one peak, at the first frame that differs."""
    assert prominent_peaks(motion_energy(jumping_square([6, 20, 33]))) == [6, 20, 33]


def test_still_video_has_no_peaks() -> None:
    """A static video is neither right nor rewarded."""
    score = score_video(jumping_square([]), [0.5, 1.0])

    assert (score.matched, score.num_peaks, score.num_events) == (0, 0, 2)
    assert score.f1 == 0.0


def test_jump_in_the_second_frame_is_a_peak() -> None:
    """Motion that starts at once has no rise before it, and still counts."""
    assert prominent_peaks(motion_energy(jumping_square([1])))[0] <= 1


def test_small_ripples_are_not_prominent() -> None:
    """A bump of a fifth of the range is ignored."""
    energy = np.zeros(48)
    energy[10], energy[30] = 1.0, 0.2

    assert prominent_peaks(energy) == [10]


@pytest.mark.parametrize(("late", "expected"), [(2, 1), (-2, 1), (3, 0), (-3, 0)])
def test_match_within_two_frames(late: int, expected: int) -> None:
    """Two frames early or late still match, three do not."""
    assert match_events([24 + late], [1.0]).matched == expected


def test_matching_is_one_to_one() -> None:
    """Two peaks near one event are one match and one false alarm."""
    score = match_events([23, 25], [1.0])

    assert (score.matched, score.precision, score.recall) == (1, 0.5, 1.0)


def test_matching_finds_the_most_pairs() -> None:
    """A greedy choice of the nearest would lose one of these two pairs."""
    score = match_events([12, 14], [13 / 24, 15 / 24])

    assert score.matched == 2
    assert score.lags == (-1.0, -1.0)


def test_scores_of_a_set_add_up() -> None:
    """F1 of a set counts all events alike, not all clips alike."""
    total = match_events([24], [1.0]) + match_events([0, 10, 20], [1.9])

    assert total == SyncScore(1, 4, 2, (0.0,))
    assert total.f1 == pytest.approx(2 / 6)
