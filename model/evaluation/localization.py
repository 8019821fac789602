"""Does the localizer put its peaks where the motion has them (KeyVID, Appendix D)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

if TYPE_CHECKING:
    from collections.abc import Sequence

_SMOOTHING_SIGMA = 1.5
_MIN_DISTANCE_FRAMES = 5
_MIN_PROMINENCE = 0.1


@dataclass(frozen=True, slots=True)
class KeypointScore:
    """Shares within three and five frames.

    Args:
        recall_at_3, recall_at_5: true peaks with a predicted one near: what the paper calls AP@t.
        precision_at_3: predicted peaks with a true one near. A grid of points has full recall, and no precision.
    """

    recall_at_3: float
    recall_at_5: float
    precision_at_3: float


def score_keypoints(predicted: Sequence[float], truth: Sequence[float]) -> KeypointScore:
    """Compare motion curves of one length by their peaks.

    A curve without true peaks scores one half, as the published measure has it.
    Source: KeyVID, Appendix D, as released, but with one prominence of 0.1 for both curves: without one, any ripple
    of the prediction counts as a hit.
    """
    guesses, peaks = keypoints(predicted), keypoints(truth)
    if not len(peaks):
        return KeypointScore(0.5, 0.5, 0.5)
    if not len(guesses):
        return KeypointScore(0.0, 0.0, 0.0)
    distance = np.abs(guesses[:, None] - peaks[None])
    return KeypointScore(
        recall_at_3=float((distance.min(axis=0) <= 3).mean()),
        recall_at_5=float((distance.min(axis=0) <= 5).mean()),
        precision_at_3=float((distance.min(axis=1) <= 3).mean()),
    )


def keypoints(curve: Sequence[float]) -> np.ndarray[tuple[int], np.dtype[np.int_]]:
    """Frames of the peaks of a curve, smoothed and stretched to [0, 1]."""
    smoothed = gaussian_filter1d(np.asarray(curve, dtype=float), _SMOOTHING_SIGMA, mode="reflect")
    low, high = float(smoothed.min()), float(smoothed.max())
    if high - low < 1e-6:
        return np.zeros(0, dtype=np.int_)
    peaks, _ = find_peaks((smoothed - low) / (high - low), distance=_MIN_DISTANCE_FRAMES, prominence=_MIN_PROMINENCE)
    return np.asarray(peaks, dtype=np.int_)
