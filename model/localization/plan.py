"""Motion curve to keyframe plan: peaks and valleys, then Algorithm 1 of the paper.

Peaks and valleys are found by the paper's rule, or so that each event lies between two of them (docs/decisions/0006).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.signal import find_peaks

from model.clips import KeyframePlan, MotionCurve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.clips import PeakRule

NUM_KEYFRAMES = 12

_SMOOTHING_FRAMES = 5
_MIN_DISTANCE_FRAMES = 5
_MIN_PROMINENCE = 0.1
# By the rule of onsets: a peak that is lower than this share of the curve's range is a ripple of a steady sound, and
# until this share of a rise has happened it is still calm.
_ONSET_SHARE = 0.2
# A curve that hardly varies is a sound without events; stretching it to [0, 1] would turn its ripples into peaks.
_FLAT_RANGE = 0.02

FloatArray = npt.NDArray[np.float64]


def smooth(curve: Sequence[float] | FloatArray) -> FloatArray:
    """Average over 5 frames; outside the curve counts as zero, so the ends droop as they did in training."""
    values = np.asarray(curve, dtype=np.float64)
    smoothed: FloatArray = np.convolve(values, np.ones(_SMOOTHING_FRAMES) / _SMOOTHING_FRAMES, mode="same")
    return smoothed


def find_peaks_and_valleys(
    curve: Sequence[float] | FloatArray, *, min_prominence: float = _MIN_PROMINENCE
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Frame indices of local maxima and minima at least 5 frames apart and at least `min_prominence` high.

    Smooth the curve first where the rule says so. Source: KeyVID, Appendix B.
    """
    values = np.asarray(curve, dtype=np.float64)
    peaks, _ = find_peaks(values, distance=_MIN_DISTANCE_FRAMES, prominence=min_prominence)
    valleys, _ = find_peaks(-values, distance=_MIN_DISTANCE_FRAMES, prominence=min_prominence)
    return tuple(int(peak) for peak in peaks), tuple(int(valley) for valley in valleys)


def motion_curve(scores: Sequence[float] | FloatArray, *, rule: PeakRule = "paper") -> MotionCurve:
    """Motion curve of raw scores, with the peaks and valleys of its min-max normalised form.

    `paper` smooths it first. `onsets` does not, and each peak has one valley: the last calm frame before it. A flat
    curve (range under 0.02) has neither peaks nor valleys. Source: KeyVID, Appendix B.
    """
    values = np.asarray(scores, dtype=np.float64)
    normalised = _normalise(values)
    if rule == "paper":
        peaks, valleys = find_peaks_and_valleys(smooth(normalised))
    else:
        peaks, _ = find_peaks_and_valleys(normalised, min_prominence=_ONSET_SHARE)
        valleys = _onsets(normalised, peaks)
    return MotionCurve(tuple(float(value) for value in values), peaks, valleys, rule)


def _onsets(curve: FloatArray, peaks: Sequence[int]) -> tuple[int, ...]:
    """Before each peak, the last frame whose value is near the lowest one since the peak before."""
    onsets = []
    for left, right in itertools.pairwise([0, *peaks]):
        calm = curve[left:right] - curve[left:right].min()
        height = curve[right] - curve[left:right].min()
        onsets.append(left + int(np.flatnonzero(calm <= _ONSET_SHARE * height)[-1]))
    return tuple(onsets)


@dataclass(frozen=True, slots=True)
class KeyframeChoice:
    """How Algorithm 1 comes to its keyframes.

    Args:
        peaks, valleys: frames chosen for what is heard in them.
        base: frame 0 and these, ascending.
        gaps: frames from each of `base` to the next one, or to the end.
        extra: how many more frames each gap gets.
    """

    peaks: tuple[int, ...]
    valleys: tuple[int, ...]
    base: tuple[int, ...]
    gaps: tuple[int, ...]
    extra: tuple[int, ...]

    def indices(self) -> tuple[int, ...]:
        """All keyframes, ascending: the extra ones evenly spread in their gaps."""
        filling = [
            left + length * step // (number + 1)
            for left, length, number in zip(self.base, self.gaps, self.extra, strict=True)
            for step in range(1, number + 1)
        ]
        return tuple(sorted([*self.base, *filling]))


def plan_keyframes(curve: MotionCurve, *, num_keyframes: int = NUM_KEYFRAMES) -> KeyframePlan:
    """Choose the keyframes: frame 0, the first peaks, the lowest valley between neighbours, the rest in proportion.

    Where valleys are onsets the first peak's is chosen too.

    Raises: ValueError when the curve has fewer frames than keyframes are asked for.
    Source: KeyVID, Algorithm 1.
    """
    return KeyframePlan(choose_keyframes(curve, num_keyframes=num_keyframes).indices(), len(curve.values))


def choose_keyframes(curve: MotionCurve, *, num_keyframes: int = NUM_KEYFRAMES) -> KeyframeChoice:
    """Run Algorithm 1, whose free choices (which peaks, which valley, rounding) are made in the order of time.

    Raises: ValueError when the curve has fewer frames than keyframes are asked for.
    """
    num_frames = len(curve.values)
    if num_frames < num_keyframes:
        raise ValueError(f"{num_frames} frames cannot hold {num_keyframes} keyframes")
    smoothed = smooth(_normalise(np.asarray(curve.values)))
    peaks = [peak for peak in curve.peaks if peak > 0][: num_keyframes // 2 - 1]
    valleys = []
    for left, right in itertools.pairwise(peaks if curve.rule == "paper" else [0, *peaks]):
        between = [valley for valley in curve.valleys if left < valley < right]
        if between:
            valleys.append(min(between, key=lambda frame: smoothed[frame]))
    base = sorted({0, *peaks, *valleys})
    gaps = tuple(right - left for left, right in itertools.pairwise([*base, num_frames]))
    extra = _share_out(num_keyframes - len(base), gaps)
    return KeyframeChoice(tuple(peaks), tuple(valleys), tuple(base), gaps, extra)


def _share_out(count: int, gaps: Sequence[int]) -> tuple[int, ...]:
    """How many of `count` more frames each gap gets: in proportion to its length (largest remainder)."""
    # Whole numbers keep ties exact: shares are lengths * count / number of frames.
    units, remainders = np.divmod(np.array(gaps) * count, sum(gaps))
    largest_first = np.argsort(-remainders, kind="stable")
    units[largest_first[: count - int(units.sum())]] += 1
    return tuple(int(number) for number in _fit_into_gaps(units, [gap - 1 for gap in gaps]))


def _fit_into_gaps(units: npt.NDArray[np.int_], capacities: Sequence[int]) -> npt.NDArray[np.int_]:
    """Hand on what a gap cannot hold to the next one, around the end if need be."""
    fitted = units.copy()
    for index in itertools.cycle(range(len(capacities))):
        if all(fitted <= capacities):
            return fitted
        surplus = max(int(fitted[index]) - capacities[index], 0)
        fitted[index] -= surplus
        fitted[(index + 1) % len(capacities)] += surplus
    raise AssertionError("a plan always has a gap")


def _normalise(values: FloatArray) -> FloatArray:
    low, high = float(values.min()), float(values.max())
    if high - low < _FLAT_RANGE:
        return np.zeros_like(values)
    stretched: FloatArray = (values - low) / (high - low)
    return stretched
