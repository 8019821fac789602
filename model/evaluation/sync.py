"""Does the picture move when the sound says so: motion peaks of decoded frames against known event times.

Symbols: a *peak* is a frame where the smoothed motion energy has a local maximum whose prominence is at least a third
of the clip's range; an *event* is a moment at which something is heard to happen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.signal import find_peaks

if TYPE_CHECKING:
    from collections.abc import Sequence

Curve = npt.NDArray[np.float64]

_SMOOTHING = np.array([0.25, 0.5, 0.25])
_PROMINENCE_OF_RANGE = 1 / 3
_STILL_RANGE = 0.1  # grey levels: a still picture flickers by 0.03 once it is encoded, and has no peaks


@dataclass(frozen=True, slots=True)
class SyncScore:
    """Matched, found and true events of one clip or of many; scores of an empty count are 0.

    `lags` has one entry per match: frames by which the peak comes after its event.
    """

    matched: int
    num_peaks: int
    num_events: int
    lags: tuple[float, ...] = ()

    @property
    def precision(self) -> float:
        """Share of the peaks that belong to an event."""
        return self.matched / self.num_peaks if self.num_peaks else 0.0

    @property
    def recall(self) -> float:
        """Share of the events that have a peak."""
        return self.matched / self.num_events if self.num_events else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        total = self.num_peaks + self.num_events
        return 2 * self.matched / total if total else 0.0

    def __add__(self, other: SyncScore) -> SyncScore:
        return SyncScore(
            self.matched + other.matched,
            self.num_peaks + other.num_peaks,
            self.num_events + other.num_events,
            self.lags + other.lags,
        )


def motion_energy(frames: npt.NDArray[np.uint8]) -> Curve:
    """Mean absolute difference to the frame before, lightly smoothed: `[T, H, W, 3]` to `[T]`, grey levels."""
    energy = np.zeros(len(frames))
    for index in range(1, len(frames)):
        energy[index] = np.abs(frames[index].astype(np.int16) - frames[index - 1]).mean()
    return smooth(energy)


def smooth(energy: npt.NDArray[np.floating[Any]]) -> Curve:
    """Weights 1/4, 1/2, 1/4; edges are repeated."""
    return np.convolve(np.pad(energy.astype(np.float64), 1, mode="edge"), _SMOOTHING, mode="valid")


def is_still(energy: Curve) -> bool:
    """Whether a motion energy says no more than that the video was encoded."""
    return float(energy.max() - energy.min()) < _STILL_RANGE


def prominent_peaks(energy: Curve) -> list[int]:
    """Frames of the peaks with a prominence of at least a third of the curve's range."""
    if is_still(energy):
        return []
    reach = float(energy.max() - energy.min())
    # A rise that starts with the clip is a peak too: zero padding gives it a left side.
    padded = np.concatenate(([energy.min()], energy, [energy.min()]))
    peaks, _ = find_peaks(padded, prominence=_PROMINENCE_OF_RANGE * reach)
    return [int(peak) - 1 for peak in peaks]


def match_events(
    peaks: Sequence[int], event_times_s: Sequence[float], *, fps: float = 24.0, tolerance: float = 2.0
) -> SyncScore:
    """Match peaks and events one to one, as many as lie within `tolerance` frames, then as close as possible."""
    events = np.round(np.asarray(event_times_s, dtype=float) * fps)  # the frame at which it is heard
    if not len(peaks) or not len(events):
        return SyncScore(0, len(peaks), len(events))
    lag = np.asarray(peaks, dtype=float)[:, None] - events[None, :]
    near = np.abs(lag) <= tolerance
    cost = np.where(near, np.abs(lag) - 1000.0, 0.0)
    rows, columns = linear_sum_assignment(cost)
    lags = tuple(float(lag[row, column]) for row, column in zip(rows, columns, strict=True) if near[row, column])
    return SyncScore(len(lags), len(peaks), len(events), lags)


def score_video(
    frames: npt.NDArray[np.uint8], event_times_s: Sequence[float], *, fps: float = 24.0, tolerance: float = 2.0
) -> SyncScore:
    """Sync of decoded frames uint8 `[T, H, W, 3]` with the events of a sound."""
    return match_events(prominent_peaks(motion_energy(frames)), event_times_s, fps=fps, tolerance=tolerance)
