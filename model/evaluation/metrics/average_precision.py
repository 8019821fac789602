"""AP@t of the paper: how many true motion peaks the predicted curve has nearby.

`model.evaluation.localization` measures keyvid-mini by a stricter one: there predicted peaks need a prominence too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Curve = Sequence[float] | npt.NDArray[np.float64]

_SMOOTHING_SIGMA = 1.5
_MIN_DISTANCE_FRAMES = 5
_TRUE_PROMINENCE = 0.1
_SCORE_WITHOUT_PEAKS = 0.5


def average_precision(predicted: Curve, truth: Curve, *, reach_frames: int) -> float:
    """Share of true peaks with a predicted one at most `reach_frames` away, in [0, 1].

    It is a recall in spite of its name: one predicted peak may serve several true ones, and any ripple of the
    prediction counts as a peak, while true peaks need a prominence of 0.1. Without true peaks it is 0.5.

    Args:
        predicted: motion curve, one score per frame.
        truth: the labelled curve, of the same length.
        reach_frames: `t`; the paper's "lower than t" is `t - 1` here.
    Source: KeyVID, Appendix D, as released.
    """
    return _share_near(_true_peaks(truth), _predicted_peaks(predicted), reach_frames)


def prediction_precision(predicted: Curve, truth: Curve, *, reach_frames: int) -> float:
    """Share of predicted peaks with a true one at most `reach_frames` away, in [0, 1]; 0.5 without predicted peaks.

    The release computes it as a "recall" and does not report it; together with `average_precision` it tells a curve
    that knows the peaks from one that ripples everywhere.
    """
    return _share_near(_predicted_peaks(predicted), _true_peaks(truth), reach_frames)


def _share_near(points: npt.NDArray[np.int_], others: npt.NDArray[np.int_], reach_frames: int) -> float:
    if not len(points):
        return _SCORE_WITHOUT_PEAKS
    if not len(others):
        return 0.0
    nearest = np.abs(points[:, None] - others[None]).min(axis=1)
    return float((nearest <= reach_frames).mean())


def _true_peaks(curve: Curve) -> npt.NDArray[np.int_]:
    return _peaks(curve, min_prominence=_TRUE_PROMINENCE)


def _predicted_peaks(curve: Curve) -> npt.NDArray[np.int_]:
    return _peaks(curve, min_prominence=0.0)


def _peaks(curve: Curve, *, min_prominence: float) -> npt.NDArray[np.int_]:
    smoothed = gaussian_filter1d(np.asarray(curve, dtype=np.float64), _SMOOTHING_SIGMA, mode="reflect", truncate=4.0)
    peaks, _ = find_peaks(smoothed, distance=_MIN_DISTANCE_FRAMES, prominence=min_prominence)
    return np.asarray(peaks, dtype=np.int_)
